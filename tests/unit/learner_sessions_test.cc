#include "consensus/learner_sessions.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tree/jute.h"

namespace zabfs::consensus {
namespace {

using Touched = std::vector<std::pair<int64_t, int32_t>>;

Touched decode(const std::string& data) {
  Touched sessions;
  tree::jute::Reader in(data);
  while (!in.at_end()) {
    int64_t session = in.i64();
    int32_t timeout_ms = in.i32();
    EXPECT_TRUE(in.ok());
    if (!in.ok()) break;
    sessions.emplace_back(session, timeout_ms);
  }
  return sessions;
}

TEST(LearnerSessions, NamesEachSessionThatWasHeardOfOnce) {
  LearnerSessions sessions;
  sessions.touch(SessionId{7}, 3'000);
  sessions.touch(SessionId{5}, 4'000);
  sessions.touch(SessionId{7}, 6'000);
  EXPECT_EQ(decode(sessions.take_touched()), (Touched{{5, 4'000}, {7, 6'000}}));
  EXPECT_EQ(sessions.take_touched(), "");
}

TEST(LearnerSessions, WhatDoesNotFitAnAnswerGoesWithTheNext) {
  LearnerSessions sessions;
  for (int64_t id : {1, 2, 3}) sessions.touch(SessionId{id}, 1'000);
  EXPECT_EQ(decode(sessions.take_touched(2)), (Touched{{1, 1'000}, {2, 1'000}}));
  EXPECT_EQ(decode(sessions.take_touched(2)), (Touched{{3, 1'000}}));
}

class Revalidating : public testing::Test {
 protected:
  std::string ask(SessionId session, int who) {
    return sessions_.revalidate(session, 3'000,
                                [this, who](const tree::Outcome&) { answered_.push_back(who); });
  }
  bool answer(SessionId session) {
    std::optional<Completion> done = sessions_.take_revalidated(session);
    if (done) (*done)(tree::Outcome{});
    return done.has_value();
  }
  LearnerSessions sessions_;
  std::vector<int> answered_;
};

TEST_F(Revalidating, AsksForTheSessionWithItsTimeout) {
  EXPECT_EQ(decode(ask(SessionId{5}, 1)), (Touched{{5, 3'000}}));
}

TEST_F(Revalidating, AnAnswerIsForWhoAskedFirstOfThatSession) {
  ask(SessionId{5}, 1);
  ask(SessionId{6}, 2);
  ask(SessionId{5}, 3);
  EXPECT_TRUE(answer(SessionId{5}));
  EXPECT_TRUE(answer(SessionId{5}));
  EXPECT_FALSE(answer(SessionId{5}));
  EXPECT_EQ(answered_, (std::vector<int>{1, 3}));
}

TEST_F(Revalidating, AnAnswerThatNobodyWaitsForDoesNothing) {
  ask(SessionId{5}, 1);
  EXPECT_FALSE(answer(SessionId{4}));
  EXPECT_FALSE(answer(SessionId{6}));
  EXPECT_TRUE(answered_.empty());
}

TEST_F(Revalidating, AllWhoWaitAreGivenBackOnceWhenTheLeaderIsGone) {
  ask(SessionId{5}, 1);
  ask(SessionId{6}, 2);
  for (const Completion& done : sessions_.take_revalidating()) done(tree::Outcome{});
  EXPECT_EQ(answered_, (std::vector<int>{1, 2}));
  EXPECT_TRUE(sessions_.take_revalidating().empty());
  EXPECT_FALSE(answer(SessionId{5}));
}

}  // namespace
}  // namespace zabfs::consensus
