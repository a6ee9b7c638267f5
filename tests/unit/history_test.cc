#include "consensus/history.h"

#include <gtest/gtest.h>

namespace zabfs::consensus {
namespace {

TEST(History, KnowsWhatFollowsAndWhatItHolds) {
  History history;
  EXPECT_TRUE(history.follows(Zxid::make(1, 1)));
  EXPECT_FALSE(history.follows(Zxid::make(1, 2)));
  for (uint32_t i = 1; i <= 5; ++i) history.append(Zxid::make(1, i));
  EXPECT_FALSE(history.follows(Zxid::make(1, 7)));
  EXPECT_TRUE(history.follows(Zxid::make(3, 1)));
  history.append(Zxid::make(3, 1));
  EXPECT_TRUE(history.contains(Zxid::make(1, 5)));
  EXPECT_FALSE(history.contains(Zxid::make(1, 6)));
  EXPECT_FALSE(history.contains(Zxid::make(2, 1)));
  EXPECT_EQ(history.last_of_epoch(1), Zxid::make(1, 5));
  history.truncate(Zxid::make(1, 3));
  EXPECT_EQ(history.last(), Zxid::make(1, 3));
  EXPECT_FALSE(history.contains(Zxid::make(3, 1)));
}

TEST(History, BeginsAfterASnapshot) {
  History history;
  history.reset(Zxid::make(2, 9));
  EXPECT_EQ(history.last(), Zxid::make(2, 9));
  EXPECT_TRUE(history.follows(Zxid::make(2, 10)));
  EXPECT_EQ(history.base(), Zxid::make(2, 9));
}

}  // namespace
}  // namespace zabfs::consensus
