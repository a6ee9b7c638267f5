#include "unit/zab_fixture.h"

namespace zabfs::consensus {
namespace {

class ElectionTest : public ZabFixture {};

TEST_F(ElectionTest, AloneItElectsItselfAtOnce) {
  make(config(1, 1), {});
  EXPECT_EQ(zab_->role(), Role::kLeading);
}

TEST_F(ElectionTest, UnanimityNeedsNoWait) {
  make(config(3), {});
  vote(1, PeerState::kLooking, {ServerId{3}, Zxid{}, 0}, 1);
  EXPECT_EQ(zab_->role(), Role::kLooking);
  vote(2, PeerState::kLooking, {ServerId{3}, Zxid{}, 0}, 1);
  EXPECT_EQ(zab_->role(), Role::kLeading);
}

TEST_F(ElectionTest, AQuorumWaitsForABetterVoteFirst) {
  make(config(2), {});
  vote(1, PeerState::kLooking, {ServerId{2}, Zxid{}, 0}, 1);
  EXPECT_EQ(zab_->role(), Role::kLooking);
  now_ms_ += 199;
  step(event::Tick{});
  EXPECT_EQ(zab_->role(), Role::kLooking);
  vote(3, PeerState::kLooking, {ServerId{3}, Zxid::make(1, 1), 1}, 1);  // a better one
  EXPECT_EQ(all<action::SendVote>()[0].notification.vote.leader, ServerId{3});
  now_ms_ += 250;
  step(event::Tick{});
  EXPECT_EQ(zab_->role(), Role::kFollowing);
  EXPECT_EQ(zab_->leader(), ServerId{3});
}

TEST_F(ElectionTest, EpochBeatsZxidBeatsNumber) {
  make(config(2), state_with(2, 5));
  vote(3, PeerState::kLooking, {ServerId{3}, Zxid::make(2, 4), 2}, 1);
  EXPECT_TRUE(all<action::SendVote>().empty());  // ours is better: no change
  vote(1, PeerState::kLooking, {ServerId{1}, Zxid::make(1, 99), 3}, 1);
  EXPECT_EQ(all<action::SendVote>()[0].notification.vote.leader, ServerId{1});
}

TEST_F(ElectionTest, ALaterRoundClearsOldVotes) {
  make(config(2), {});
  vote(1, PeerState::kLooking, {ServerId{2}, Zxid{}, 0}, 1);
  vote(3, PeerState::kLooking, {ServerId{1}, Zxid{}, 0}, 7);
  EXPECT_EQ(all<action::SendVote>()[0].notification.round, 7);
  now_ms_ += 1'000;
  step(event::Tick{});
  EXPECT_EQ(zab_->role(), Role::kLooking);
}

TEST_F(ElectionTest, AnOldRoundIsAnswered) {
  make(config(2), {});
  vote(3, PeerState::kLooking, {ServerId{2}, Zxid{}, 0}, 9);
  vote(1, PeerState::kLooking, {ServerId{1}, Zxid{}, 0}, 4);
  ASSERT_EQ(all<action::SendVote>().size(), 1u);
  EXPECT_EQ(all<action::SendVote>()[0].to, ServerId{1});
}

TEST_F(ElectionTest, AJoinerNeedsAQuorumAndTheLeadersOwnWord) {
  make(config(1), {});
  Vote settled{ServerId{3}, Zxid::make(2, 2), 3};
  vote(2, PeerState::kFollowing, settled, 5);
  EXPECT_EQ(zab_->role(), Role::kLooking);
  vote(3, PeerState::kLeading, settled, 5);
  EXPECT_EQ(zab_->role(), Role::kFollowing);
}

TEST_F(ElectionTest, ANodeWithoutAVoteIsNotCounted) {
  make(config(2), {});
  vote(1, PeerState::kLooking, {ServerId{2}, Zxid{-1}, 0}, 1);
  now_ms_ += 500;
  step(event::Tick{});
  EXPECT_EQ(zab_->role(), Role::kLooking);
}

TEST_F(ElectionTest, SettledNodesAnswerThoseWhoLook) {
  make(config(1, 1), {});
  vote(9, PeerState::kLooking, {ServerId{9}, Zxid{}, 0}, 1);
  EXPECT_EQ(all<action::SendVote>()[0].notification.state, PeerState::kLeading);
}

}  // namespace
}  // namespace zabfs::consensus
