#include <deque>
#include <map>

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

// Each gets what the other sends until neither says anything more; how often that was.
class ElectionOfTwo : public testing::Test {
 protected:
  void add(ZabConfig config, ZabState state) {
    state.membership = Membership(config.ensemble);
    nodes_.try_emplace(config.me, config, std::move(state));  // a core stays where it is
  }
  void start(int64_t id) {
    Actions out;
    nodes_.at(ServerId{id}).start(now_ms_, out);
    post(ServerId{id}, out);
  }
  void post(ServerId from, const Actions& out) {
    for (const Action& action : out) {
      const auto* vote = std::get_if<action::SendVote>(&action);
      if (vote != nullptr && nodes_.contains(vote->to)) {
        wire_.push_back({vote->to, {from, vote->notification}});
      }
    }
  }
  int talk() {
    int count = 0;
    for (; !wire_.empty() && count < 1'000; ++count) {
      auto [to, vote] = wire_.front();
      wire_.pop_front();
      Actions out;
      nodes_.at(to).step(now_ms_, vote, out);
      post(to, out);
    }
    return count;
  }

  std::map<ServerId, Zab> nodes_;
  std::deque<std::pair<ServerId, event::VoteReceived>> wire_;
  int64_t now_ms_ = 10'000;
};

TEST_F(ElectionOfTwo, AVoterAndAnObserverOfAHigherRoundFallSilent) {
  add(ZabFixture::config(1), {});
  ZabState without;
  without.votes = false;
  add(ZabFixture::config(9), without);
  for (int round = 0; round < 5; ++round) start(9);
  talk();
  start(1);
  start(9);
  EXPECT_LT(talk(), 50);
  // Some time later the same is said again.
  now_ms_ += 1'000;
  wire_.push_back({ServerId{1}, {ServerId{9}, Notification{PeerState::kLooking, {}, 9, "", ""}}});
  EXPECT_GT(talk(), 1);
}

TEST_F(ElectionOfTwo, TwoWithoutVotesFallSilentThoughOneOfThemStartedAgain) {
  ZabState without;
  without.votes = false;
  without.nonce = kFirstNonce + 1;
  add(ZabFixture::config(1), without);
  without.nonce = kFirstNonce + 2;
  add(ZabFixture::config(2), without);
  start(1);
  start(2);
  Notification old_answer{PeerState::kLooking, {ServerId{2}, Zxid{-1}, 1}, kFirstNonce + 3, "", ""};
  wire_.push_back({ServerId{1}, {ServerId{2}, old_answer}});
  EXPECT_LT(talk(), 50);
}

TEST_F(ElectionOfTwo, WhoIsInNoConfigurationOfTheOthersFallsSilent) {
  ZabConfig one = ZabFixture::config(1, 1);
  ZabConfig two = ZabFixture::config(2, 3);
  two.ensemble = Ensemble({{ServerId{2}, two.ensemble.members().at(ServerId{2})}});
  add(one, {});
  add(two, {});
  start(1);
  start(2);
  Notification looking{PeerState::kLooking, {ServerId{2}, Zxid{}, 0}, 1, "", ""};
  wire_.push_back({ServerId{1}, {ServerId{2}, looking}});
  EXPECT_LT(talk(), 50);
}

TEST_F(ElectionTest, WhoHasNoWeightNeverLeads) {
  make(config_with_weights(2), {});
  vote(1, PeerState::kLooking, {ServerId{1}, Zxid::make(3, 3), 3}, 1);
  EXPECT_TRUE(all<action::SendVote>().empty());  // longer, and no better
  vote(3, PeerState::kLooking, {ServerId{3}, Zxid{}, 0}, 1);
  EXPECT_EQ(all<action::SendVote>()[0].notification.vote.leader, ServerId{3});
  // It votes for others itself, whatever it has.
  make(config_with_weights(1), state_with(3, 3));
  vote(2, PeerState::kLooking, {ServerId{2}, Zxid{}, 0}, 1);
  EXPECT_EQ(all<action::SendVote>()[0].notification.vote.leader, ServerId{2});
}

TEST_F(ElectionTest, VotesWithoutWeightElectNobody) {
  make(config_with_weights(2), {});
  vote(1, PeerState::kLooking, {ServerId{2}, Zxid{}, 0}, 1);
  now_ms_ += 500;
  step(event::Tick{});
  EXPECT_EQ(zab_->role(), Role::kLooking);
  vote(3, PeerState::kLooking, {ServerId{2}, Zxid{}, 0}, 1);
  now_ms_ += 500;
  step(event::Tick{});
  EXPECT_EQ(zab_->role(), Role::kLeading);
}

TEST_F(ElectionTest, WhoDoesNotUnderstandAConfigurationHasNoVote) {
  make(config(2), state_with(1, 3));
  Notification strange{PeerState::kLooking, {ServerId{3}, Zxid::make(1, 3), 1}, 1, "", ""};
  strange.config = "server.1=h:1:2:participant\noracle.2=1\nversion=100000003";
  step(event::VoteReceived{ServerId{3}, strange});
  EXPECT_FALSE(zab_->has_vote());
  for (const auto& sent : all<action::SendVote>()) {
    EXPECT_EQ(sent.notification.vote.zxid, Zxid{-1});
  }
  vote(1, PeerState::kLooking, {ServerId{2}, Zxid::make(1, 3), 1}, 1);
  vote(3, PeerState::kLooking, {ServerId{2}, Zxid::make(1, 3), 1}, 1);
  now_ms_ += 500;
  step(event::Tick{});
  EXPECT_EQ(zab_->role(), Role::kLooking);
  // It observes whom a quorum of what it knows follows.
  vote(1, PeerState::kFollowing, {ServerId{3}, Zxid::make(1, 3), 2}, 2);
  vote(3, PeerState::kLeading, {ServerId{3}, Zxid::make(1, 3), 2}, 2);
  EXPECT_EQ(zab_->role(), Role::kObserving);
  step(event::LinkUp{all<action::Dial>()[0].link});
  ASSERT_EQ(sent(), "OBSERVERINFO");
  auto info = decode_learner_info(all<action::Send>()[0].packet.bytes());
  EXPECT_EQ(info->id, without_vote(ServerId{2}));
}

TEST_F(ElectionTest, AFollowerThatIsSentWhatItDoesNotUnderstandAcknowledgesNothing) {
  make(config(2), state_with(1, 3));
  vote(1, PeerState::kFollowing, {ServerId{3}, Zxid::make(1, 3), 2}, 2);
  vote(3, PeerState::kLeading, {ServerId{3}, Zxid::make(1, 3), 2}, 2);
  ASSERT_EQ(zab_->role(), Role::kFollowing);
  LinkId link = all<action::Dial>()[0].link;
  step(event::LinkUp{link});
  receive(link, Packet(PacketType::kLeaderInfo, Zxid::make(2, 0), encode_leader_info(0, "")));
  step(event::AcceptedEpochSaved{2, true});
  receive(link, Packet(PacketType::kDiff, Zxid::make(1, 3)));
  receive(link, Packet(PacketType::kNewLeader, Zxid::make(2, 0),
                       std::string("server.1=h:1:2:participant;x\nversion=200000001")));
  EXPECT_EQ(zab_->role(), Role::kSettling);
  EXPECT_EQ(sent(), "");
  EXPECT_FALSE(zab_->has_vote());
}

TEST_F(ElectionTest, SettledNodesAnswerThoseWhoLook) {
  make(config(1, 1), {});
  vote(9, PeerState::kLooking, {ServerId{9}, Zxid{}, 0}, 1);
  EXPECT_EQ(all<action::SendVote>()[0].notification.state, PeerState::kLeading);
}

}  // namespace
}  // namespace zabfs::consensus
