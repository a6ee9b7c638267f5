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

// Where a Java leader's snapshot ends that has yet to make a txn.
TEST(History, BeginsAtTheStartOfAnEpoch) {
  History history;
  history.reset(Zxid::make(4, 0));
  EXPECT_TRUE(history.contains(Zxid::make(4, 0)));
  EXPECT_EQ(history.last(), Zxid::make(4, 0));
  history.append(Zxid::make(4, 1));
  history.append(Zxid::make(5, 1));
  history.truncate(Zxid::make(4, 0));
  EXPECT_EQ(history.last(), Zxid::make(4, 0));
  EXPECT_TRUE(history.follows(Zxid::make(4, 1)));
}

TEST(History, KnowsTheLastZxidUpToAnother) {
  History history;
  EXPECT_EQ(history.last_through(Zxid::make(3, 0)), Zxid{});
  history.reset(Zxid::make(2, 9));
  for (Zxid zxid : {Zxid::make(2, 10), Zxid::make(4, 1), Zxid::make(4, 2)}) history.append(zxid);
  EXPECT_EQ(history.last_through(Zxid::make(2, 8)), Zxid{});  // before the log
  EXPECT_EQ(history.last_through(Zxid::make(2, 9)), Zxid::make(2, 9));
  EXPECT_EQ(history.last_through(Zxid::make(3, 0)), Zxid::make(2, 10));
  EXPECT_EQ(history.last_through(Zxid::make(4, 0)), Zxid::make(2, 10));
  EXPECT_EQ(history.last_through(Zxid::make(4, 1)), Zxid::make(4, 1));
  EXPECT_EQ(history.last_through(Zxid::make(9, 9)), Zxid::make(4, 2));
}

}  // namespace
}  // namespace zabfs::consensus
