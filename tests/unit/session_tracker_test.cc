#include "tree/session_tracker.h"

#include <gtest/gtest.h>

namespace zabfs::tree {
namespace {

TEST(SessionTracker, ExpiresAtTheTickAfterTheTimeout) {
  SessionTracker tracker(1'000);
  tracker.touch(SessionId{1}, 2'500, 0);
  EXPECT_TRUE(tracker.take_expired(2'999).empty());
  EXPECT_EQ(tracker.take_expired(3'000).size(), 1u);
  EXPECT_TRUE(tracker.take_expired(9'000).empty());  // handed out once
}

TEST(SessionTracker, ATouchRenewsAndAnExpiringSessionStaysSo) {
  SessionTracker tracker(1'000);
  tracker.touch(SessionId{1}, 2'000, 0);
  EXPECT_TRUE(tracker.touch(SessionId{1}, 1'900));
  EXPECT_TRUE(tracker.take_expired(3'000).empty());
  EXPECT_EQ(tracker.take_expired(4'000).size(), 1u);
  tracker.touch(SessionId{1}, 4'000);
  EXPECT_TRUE(tracker.take_expired(99'000).empty());
  EXPECT_FALSE(tracker.touch(SessionId{2}, 0));
}

}  // namespace
}  // namespace zabfs::tree
