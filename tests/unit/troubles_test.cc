#include "consensus/troubles.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace zabfs::consensus {
namespace {

using Sentences = std::vector<std::string>;

const Sentences kNobody{"nobody is there"};
const Sentences kSome{"some are there"};

TEST(Troubles, WhatLastsFromOneLookToTheNextIsTold) {
  Troubles troubles;
  EXPECT_TRUE(troubles.is_look_due(0));
  EXPECT_EQ(troubles.look(kNobody, 0), Sentences{});
  EXPECT_FALSE(troubles.is_look_due(Troubles::kLookMs - 1));
  EXPECT_TRUE(troubles.is_look_due(Troubles::kLookMs));
  EXPECT_EQ(troubles.look(kNobody, 3'000), kNobody);
}

TEST(Troubles, WhatComesAndGoesIsNotTold) {
  Troubles troubles;
  for (int64_t now_ms = 0; now_ms < 60'000; now_ms += 6'000) {
    EXPECT_EQ(troubles.look(kNobody, now_ms), Sentences{});
    EXPECT_EQ(troubles.look({}, now_ms + 3'000), Sentences{});
  }
}

TEST(Troubles, IsToldAgainMuchLaterOrWhenItIsSomethingElse) {
  Troubles troubles;
  troubles.look(kNobody, 0);
  EXPECT_EQ(troubles.look(kNobody, 3'000), kNobody);
  EXPECT_EQ(troubles.look(kNobody, 6'000), Sentences{});
  EXPECT_EQ(troubles.look(kSome, 9'000), Sentences{});
  EXPECT_EQ(troubles.look(kSome, 12'000), kSome);
  EXPECT_EQ(troubles.look(kSome, 12'000 + Troubles::kTellAgainMs - 1), Sentences{});
  EXPECT_EQ(troubles.look(kSome, 12'000 + Troubles::kTellAgainMs), kSome);
}

TEST(Troubles, TwoServersWithOneNumberAreToldNowAndThenAndLast) {
  Troubles troubles;
  EXPECT_TRUE(troubles.doubled(ServerId{2}, "a and b", 0));
  EXPECT_FALSE(troubles.doubled(ServerId{2}, "a and c", 9'999));
  EXPECT_EQ(troubles.doubles(9'999), (Sentences{"a and c"}));
  EXPECT_TRUE(troubles.doubled(ServerId{3}, "d and e", 9'999));
  EXPECT_TRUE(troubles.doubled(ServerId{2}, "a and b", Troubles::kDoubleTellMs));
  EXPECT_EQ(troubles.doubles(20'000), (Sentences{"a and b", "d and e"}));
  EXPECT_EQ(troubles.doubles(9'999 + Troubles::kDoubleLastsMs), (Sentences{"a and b"}));
  EXPECT_EQ(troubles.doubles(10'000 + Troubles::kDoubleLastsMs), Sentences{});
}

TEST(Troubles, UnprovenIdentitiesAreToldOnceAWhile) {
  Troubles troubles;
  EXPECT_TRUE(troubles.unproven(1));
  EXPECT_FALSE(troubles.unproven(Troubles::kTellAgainMs));
  EXPECT_TRUE(troubles.unproven(1 + Troubles::kTellAgainMs));
}

}  // namespace
}  // namespace zabfs::consensus
