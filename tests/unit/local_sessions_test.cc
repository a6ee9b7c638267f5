#include "fsd/wire/local_sessions.h"

#include <gtest/gtest.h>

#include <vector>

namespace zabfs::fsd::wire {
namespace {

using tree::OpCode;
using tree::SessionId;
using Course = LocalSessions::Course;

constexpr SessionId kLocal{5}, kOther{6};

tree::Request request(SessionId session, OpCode type, std::string body = "") {
  tree::Request made;
  made.session = session;
  made.type = type;
  made.body = std::move(body);
  return made;
}
tree::Request create(SessionId session, int32_t flags) {
  return request(session, OpCode::kCreate,
                 tree::create_body("/a", std::nullopt, tree::open_acl(), flags));
}

TEST(LocalSessions, OnlyTheEndOfALocalSessionAndItsEphemeralsAreSpecial) {
  LocalSessions sessions(false);
  sessions.open(kLocal, 1'000, 0);
  EXPECT_EQ(sessions.course(create(kLocal, tree::kCreatePersistent)), Course::kToLeader);
  EXPECT_EQ(sessions.course(create(kLocal, tree::kCreateEphemeral)), Course::kRefuse);
  EXPECT_EQ(sessions.course(request(kLocal, OpCode::kCloseSession)), Course::kClose);
  EXPECT_EQ(sessions.course(create(kOther, tree::kCreateEphemeral)), Course::kToLeader);
  EXPECT_EQ(sessions.course(request(kOther, OpCode::kCloseSession)), Course::kToLeader);
}

TEST(LocalSessions, ASessionIsUpgradedWithItsFirstEphemeralAndIsLocalNoMore) {
  LocalSessions sessions(true);
  sessions.open(kLocal, 1'000, 0);
  tree::Request ephemeral = create(kLocal, tree::kCreateEphemeralSequential);
  EXPECT_EQ(sessions.course(ephemeral), Course::kUpgrade);
  EXPECT_EQ(sessions.take(kLocal), 1'000);
  EXPECT_EQ(sessions.course(ephemeral), Course::kToLeader);
  EXPECT_EQ(sessions.course(request(kLocal, OpCode::kCloseSession)), Course::kToLeader);
  EXPECT_FALSE(sessions.touch(kLocal, 1));
}

TEST(LocalSessions, ASessionExpiresOnceItWasNotHeardOfForItsTimeout) {
  LocalSessions sessions(false);
  sessions.open(kLocal, 1'000, 0);
  sessions.open(kOther, 5'000, 0);
  EXPECT_TRUE(sessions.touch(kLocal, 500));
  EXPECT_TRUE(sessions.take_expired(1'500).empty());
  EXPECT_EQ(sessions.take_expired(1'501), std::vector{kLocal});
  EXPECT_FALSE(sessions.touch(kLocal, 1'501));
  EXPECT_TRUE(sessions.touch(kOther, 1'501));
}

TEST(LocalSessions, AClientThatComesBackHasItsNewTimeoutFromThenOn) {
  LocalSessions sessions(false);
  EXPECT_FALSE(sessions.reopen(kLocal, 3'000, 0));
  sessions.open(kLocal, 1'000, 0);
  EXPECT_TRUE(sessions.reopen(kLocal, 3'000, 900));
  EXPECT_TRUE(sessions.take_expired(3'900).empty());
  EXPECT_EQ(sessions.take_expired(3'901), std::vector{kLocal});
}

}  // namespace
}  // namespace zabfs::fsd::wire
