#include "consensus/measures.h"

#include <gtest/gtest.h>

namespace zabfs::consensus {
namespace {

TEST(Histogram, CountsDurationsInBucketsByTheirUpperBounds) {
  Histogram histogram;
  EXPECT_EQ(histogram.durations().count(), 0u);
  EXPECT_EQ(histogram.durations().min_us, 0);
  histogram.note(10);
  histogram.note(11);
  histogram.note(-5);
  histogram.note(3'600'000'000, 2);
  Durations durations = histogram.durations();
  EXPECT_EQ(durations.count(), 5u);
  EXPECT_EQ(durations.buckets.front(), 2u);
  EXPECT_EQ(durations.buckets[1], 1u);
  EXPECT_EQ(durations.buckets.back(), 2u);
  EXPECT_EQ(durations.sum_us, 7'200'000'021);
  EXPECT_EQ(durations.min_us, 0);
  EXPECT_EQ(durations.max_us, 3'600'000'000);
  histogram.reset();
  EXPECT_EQ(histogram.durations().count(), 0u);
}

TEST(Histogram, QuantilesLieWithinTheirBucketAndBetweenLeastAndMost) {
  Histogram histogram;
  EXPECT_EQ(histogram.durations().quantile_us(0.5), 0);
  histogram.note(700, 99);
  histogram.note(9'000);
  Durations durations = histogram.durations();
  EXPECT_GE(durations.quantile_us(0.5), 700);
  EXPECT_LE(durations.quantile_us(0.5), 1'000);
  EXPECT_GE(durations.quantile_us(0.999), 5'000);
  EXPECT_LE(durations.quantile_us(0.999), 9'000);
}

TEST(Histogram, TwoCanBeAddedUp) {
  Histogram some, others;
  others.note(20);
  Durations all = some.durations();
  all.add(others.durations());
  EXPECT_EQ(all.min_us, 20);
  some.note(30);
  all.add(some.durations());
  EXPECT_EQ(all.count(), 2u);
  EXPECT_EQ(all.sum_us, 50);
  EXPECT_EQ(all.max_us, 30);
  EXPECT_EQ(all.min_us, 20);
}

TEST(ProposalTimes, EachLastsUntilItIsAppliedOrTheRoleIsOver) {
  ProposalTimes times;
  times.proposed(tree::Zxid{1}, 1'000);
  times.proposed(tree::Zxid{2}, 1'100);
  times.applied(tree::Zxid{1}, 1'500);
  EXPECT_EQ(times.durations().count(), 1u);
  EXPECT_EQ(times.durations().sum_us, 500);
  times.leave_role();
  EXPECT_FALSE(times.has_any());
  times.applied(tree::Zxid{2}, 9'000);
  EXPECT_EQ(times.durations().count(), 1u);
}

TEST(ServiceTimes, AnElectionEndsWithALeaderAndUnavailabilityWithService) {
  ServiceTimes times;
  times.looks(1'000);
  times.elected(3'000);
  times.serves(true, 6'000);
  EXPECT_EQ(times.looking_count(), 1u);
  EXPECT_EQ(times.election().sum_us, 2'000);
  EXPECT_EQ(times.unavailable().sum_us, 5'000);
  EXPECT_EQ(times.leader_unavailable().count(), 1u);
  EXPECT_EQ(times.leads_since_us(), 6'000);
  times.leaves_role(10'000);
  EXPECT_FALSE(times.leads_since_us());
  times.looks(11'000);
  times.elected(12'000);
  times.serves(false, 12'500);
  EXPECT_EQ(times.unavailable().sum_us, 7'500);
  EXPECT_EQ(times.leader_unavailable().count(), 1u);
  EXPECT_EQ(times.looking_count(), 2u);
}

TEST(Sizes, AreMinusOneUntilThereIsOne) {
  Sizes sizes;
  EXPECT_EQ(sizes.min, -1);
  sizes.note(20);
  sizes.note(5);
  EXPECT_EQ(sizes.last, 5);
  EXPECT_EQ(sizes.min, 5);
  EXPECT_EQ(sizes.max, 20);
}

}  // namespace
}  // namespace zabfs::consensus
