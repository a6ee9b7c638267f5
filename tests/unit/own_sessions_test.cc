#include "consensus/own_sessions.h"

#include <gtest/gtest.h>

#include <set>

namespace zabfs::consensus {
namespace {

constexpr int64_t kYear2026Ms = 1'790'000'000'000;
const ServerId kServer{5};

OwnSessions started(int64_t wall_ms, uint64_t random) {
  OwnSessions sessions;
  sessions.begin(kServer, wall_ms, [random] { return random; });
  return sessions;
}

TEST(OwnSessions, IdsSayWhichServerMadeThem) {
  OwnSessions sessions = started(kYear2026Ms, 7);
  SessionId client = sessions.new_id();
  SessionId mount = sessions.new_mount_id();
  EXPECT_EQ(client.value >> 56, 5);
  EXPECT_FALSE(tree::is_mounts(client));
  EXPECT_TRUE(tree::is_mounts(mount));
  EXPECT_EQ(mount.value >> 48, 5);
}

TEST(OwnSessions, IdsDoNotComeAgainAfterARestart) {
  std::set<SessionId> all;
  for (int64_t start = 0; start < 10; ++start) {
    OwnSessions sessions = started(kYear2026Ms + start, 0);
    EXPECT_TRUE(all.insert(sessions.new_id()).second) << start;
    EXPECT_TRUE(all.insert(sessions.new_mount_id()).second) << start;
  }
}

TEST(OwnSessions, CxidsOfAttachesSayToWhichServer) {
  OwnSessions sessions = started(kYear2026Ms, 7);
  int32_t first = sessions.new_attach_cxid(ServerId{3});
  EXPECT_EQ(first, tree::attach_cxid(7, tree::server_byte(ServerId{3})));
  EXPECT_NE(sessions.new_attach_cxid(ServerId{3}), first);
}

TEST(OwnSessions, CxidsOfAttachesSayWhatPasswordTheClientHas) {
  OwnSessions sessions = started(kYear2026Ms, 0x7ffff);  // the number is at its largest
  int32_t with = sessions.new_attach_cxid(ServerId{3}, true);
  int32_t without = sessions.new_attach_cxid(ServerId{3}, false);
  EXPECT_TRUE(tree::is_with_secret(with));
  EXPECT_FALSE(tree::is_with_secret(without));
  EXPECT_EQ(tree::attached_to(with), tree::server_byte(ServerId{3}));
  EXPECT_EQ(tree::attached_to(without), tree::server_byte(ServerId{3}));
  EXPECT_TRUE(tree::is_with_secret(tree::kCreatedWithSecret));
  EXPECT_EQ(tree::attached_to(tree::kCreatedWithSecret), tree::kAnywhere);
  for (int32_t of_a_client : {0, 1, -1, -11, INT32_MAX, INT32_MIN}) {
    EXPECT_FALSE(tree::is_with_secret(of_a_client));
  }
}

TEST(OwnSessions, TheNewestAttachmentCountsUntilTheSessionIsOver) {
  OwnSessions sessions;
  SessionId session{9}, other{10};
  EXPECT_EQ(sessions.attachment(session), std::nullopt);
  sessions.attached(session, Zxid::make(1, 4));
  sessions.attached(session, Zxid::make(1, 6));
  sessions.attached(other, Zxid::make(1, 5));
  EXPECT_EQ(sessions.attachment(session), Zxid::make(1, 6));
  sessions.closed(session);
  EXPECT_EQ(sessions.attachment(session), std::nullopt);
  sessions.keep_only([](SessionId) { return false; });
  EXPECT_EQ(sessions.attachment(other), std::nullopt);
}

}  // namespace
}  // namespace zabfs::consensus
