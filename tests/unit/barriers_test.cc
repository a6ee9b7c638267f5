#include "consensus/barriers.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace zabfs::consensus {
namespace {

constexpr LinkId kLearner = 8;

class BarriersTest : public testing::Test {
 protected:
  // Its completion notes the name.
  void add(const std::string& name, SessionId session = {}) {
    barriers_.add(session, [this, name](const tree::Outcome&) { done_.push_back(name); });
  }
  void apply(Zxid zxid) {
    while (std::optional<Completion> done = barriers_.take_applied(zxid)) (*done)(tree::Outcome{});
  }
  void serve(uint32_t epoch) {
    for (const Completion& done : barriers_.take_older_than(epoch)) done(tree::Outcome{});
  }
  // The links to which something leaves then.
  std::vector<LinkId> commit(Zxid zxid) {
    std::vector<LinkId> links;
    while (std::optional<Barriers::Reply> reply = barriers_.take_committed(zxid)) {
      links.push_back(reply->link);
      types_.push_back(reply->packet.type);
    }
    return links;
  }
  using Names = std::vector<std::string>;
  using Links = std::vector<LinkId>;
  Barriers barriers_;
  Names done_;
  std::vector<PacketType> types_;
};

// ---- as a learner

TEST_F(BarriersTest, IsDoneOnceAllThatWasCommittedAtTheAnswerIsApplied) {
  add("a", SessionId{5});
  EXPECT_TRUE(barriers_.has_waiting());
  EXPECT_EQ(barriers_.send_next(), SessionId{5});
  EXPECT_FALSE(barriers_.has_waiting());
  apply(Zxid::make(1, 9));
  EXPECT_EQ(done_, Names{});
  barriers_.answered(Zxid::make(1, 10));
  EXPECT_FALSE(barriers_.has_applied(Zxid::make(1, 9)));
  apply(Zxid::make(1, 9));
  EXPECT_EQ(done_, Names{});
  EXPECT_TRUE(barriers_.has_applied(Zxid::make(1, 10)));
  apply(Zxid::make(1, 10));
  EXPECT_EQ(done_, Names{"a"});
  apply(Zxid::make(1, 11));
  EXPECT_EQ(done_, Names{"a"});
}

TEST_F(BarriersTest, AnAnswerIsForTheOldestThatWasSent) {
  add("a");
  add("b");
  add("c");
  barriers_.send_next();
  barriers_.send_next();
  barriers_.answered(Zxid::make(1, 1));
  apply(Zxid::make(1, 1));
  EXPECT_EQ(done_, Names{"a"});
  barriers_.answered(Zxid::make(1, 1));
  apply(Zxid::make(1, 1));
  EXPECT_EQ(done_, (Names{"a", "b"}));
  EXPECT_TRUE(barriers_.has_waiting());
}

TEST_F(BarriersTest, AnAnswerThatNobodyAskedForDoesNothing) {
  add("a");
  barriers_.answered(Zxid::make(1, 1));
  apply(Zxid::make(9, 9));
  EXPECT_EQ(done_, Names{});
  EXPECT_TRUE(barriers_.has_waiting());
}

TEST_F(BarriersTest, ThoseThatWaitForOneZxidAreDoneInTheirOrder) {
  for (const char* name : {"a", "b", "c"}) add(name);
  for (int i = 0; i < 3; ++i) {
    barriers_.send_next();
    barriers_.answered(Zxid::make(1, 1));
  }
  apply(Zxid::make(1, 1));
  EXPECT_EQ(done_, (Names{"a", "b", "c"}));
}

// ---- as the leader

TEST_F(BarriersTest, WaitsForAQuorumAndThenForAllThatWasProposed) {
  add("a", SessionId{5});
  Barriers::Question question = barriers_.ask_next();
  EXPECT_EQ(question.session, SessionId{5});
  apply(Zxid::make(1, 9));
  EXPECT_EQ(done_, Names{});
  barriers_.confirmed(question.token, Zxid::make(1, 10));
  apply(Zxid::make(1, 9));
  EXPECT_EQ(done_, Names{});
  apply(Zxid::make(1, 10));
  EXPECT_EQ(done_, Names{"a"});
}

TEST_F(BarriersTest, OneConfirmationIsForOneBarrier) {
  add("a");
  add("b");
  Barriers::Question first = barriers_.ask_next();
  Barriers::Question second = barriers_.ask_next();
  EXPECT_NE(first.token, second.token);
  barriers_.confirmed(second.token, Zxid::make(1, 1));
  barriers_.confirmed(second.token, Zxid::make(1, 1));
  apply(Zxid::make(1, 1));
  EXPECT_EQ(done_, Names{"b"});
}

TEST_F(BarriersTest, ALearnerIsSentSyncOnceAllThatWasProposedIsCommitted) {
  Barriers::Token token = barriers_.ask_for(kLearner);
  EXPECT_EQ(commit(Zxid::make(1, 10)), Links{});
  barriers_.confirmed(token, Zxid::make(1, 10));
  EXPECT_EQ(commit(Zxid::make(1, 9)), Links{});
  EXPECT_EQ(commit(Zxid::make(1, 10)), Links{kLearner});
  EXPECT_EQ(types_, std::vector<PacketType>{PacketType::kSync});
  EXPECT_EQ(commit(Zxid::make(1, 10)), Links{});
}

TEST_F(BarriersTest, RepliesLeaveInTheOrderOfTheirZxidsAndThenInWhichTheyCame) {
  Packet packet(PacketType::kRevalidate, Zxid{-1});
  barriers_.reply_when_committed(Zxid::make(1, 4), {4, packet});
  barriers_.reply_when_committed(Zxid::make(1, 3), {2, packet});
  barriers_.reply_when_committed(Zxid::make(1, 3), {1, packet});
  EXPECT_EQ(commit(Zxid::make(1, 4)), (Links{2, 1, 4}));
}

// ---- from one role to the next

TEST_F(BarriersTest, WhatTheLeaderDidNotAnswerGoesToTheNext) {
  add("a");
  add("b");
  barriers_.send_next();
  barriers_.leave_role();
  barriers_.answered(Zxid::make(1, 1));  // to a question of the last role
  apply(Zxid::make(1, 1));
  EXPECT_EQ(done_, Names{});
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(barriers_.has_waiting());
    barriers_.send_next();
    barriers_.answered(Zxid::make(2, 1));
  }
  EXPECT_FALSE(barriers_.has_waiting());
  apply(Zxid::make(2, 1));
  EXPECT_EQ(done_, (Names{"b", "a"}));
}

TEST_F(BarriersTest, AConfirmationOfTheLastLeadershipProvesNothingInTheNext) {
  add("a");
  Barriers::Question question = barriers_.ask_next();
  barriers_.leave_role();
  barriers_.confirmed(question.token, Zxid::make(1, 1));
  apply(Zxid::make(9, 9));
  EXPECT_EQ(done_, Names{});
  ASSERT_TRUE(barriers_.has_waiting());
  Barriers::Question again = barriers_.ask_next();
  EXPECT_NE(again.token, question.token);
  barriers_.confirmed(again.token, Zxid::make(2, 1));
  apply(Zxid::make(2, 1));
  EXPECT_EQ(done_, Names{"a"});
}

TEST_F(BarriersTest, ThoseOfLearnersEndWithTheLeadership) {
  Barriers::Token asked = barriers_.ask_for(kLearner);
  barriers_.confirmed(barriers_.ask_for(kLearner), Zxid::make(1, 1));
  barriers_.leave_role();
  barriers_.confirmed(asked, Zxid::make(1, 1));
  EXPECT_EQ(commit(Zxid::make(9, 9)), Links{});
  EXPECT_FALSE(barriers_.has_waiting());
}

TEST_F(BarriersTest, AnAnsweredBarrierKeepsItsAnswerWhenTheRoleEnds) {
  add("a");
  barriers_.send_next();
  barriers_.answered(Zxid::make(3, 5));
  barriers_.leave_role();
  EXPECT_FALSE(barriers_.has_waiting());
  apply(Zxid::make(3, 5));
  EXPECT_EQ(done_, Names{"a"});
}

// The next leader's history ends at (3,5).
TEST_F(BarriersTest, NoneWaitsForGoodForATxnThatNoLaterLeaderHas) {
  add("a");
  add("b");
  barriers_.confirmed(barriers_.ask_next().token, Zxid::make(3, 7));
  barriers_.ask_next();
  barriers_.leave_role();
  apply(Zxid::make(3, 5));
  barriers_.send_next();
  barriers_.answered(Zxid::make(4, 2));
  serve(3);
  EXPECT_EQ(done_, Names{});
  serve(4);
  EXPECT_EQ(done_, Names{"a"});
  apply(Zxid::make(4, 2));
  EXPECT_EQ(done_, (Names{"a", "b"}));
}

}  // namespace
}  // namespace zabfs::consensus
