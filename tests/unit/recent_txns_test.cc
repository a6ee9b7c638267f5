#include "consensus/recent_txns.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace zabfs::consensus {
namespace {

constexpr size_t kNoLimit = SIZE_MAX;

Payload payload(size_t bytes) { return make_payload(std::string(bytes, 'x')); }

class RecentTxnsTest : public testing::Test {
 protected:
  // Txns of epoch 1.
  void append(std::initializer_list<uint32_t> counters, size_t bytes = 10) {
    for (uint32_t counter : counters) {
      static_cast<void>(recent_.append(Zxid::make(1, counter), payload(bytes), kNoLimit));
    }
  }
  std::vector<uint32_t> counters() const {
    std::vector<uint32_t> all;
    for (const LogTxn& txn : recent_.txns()) all.push_back(txn.zxid.counter());
    return all;
  }
  static constexpr size_t kMaxTxns = 3;
  RecentTxns recent_{kMaxTxns};
};

TEST_F(RecentTxnsTest, EndsAtItsBaseWhereItIsEmpty) {
  EXPECT_EQ(recent_.last(), Zxid{});
  recent_.restart(Zxid::make(1, 7));
  EXPECT_EQ(recent_.base(), Zxid::make(1, 7));
  EXPECT_EQ(recent_.last(), Zxid::make(1, 7));
  append({8});
  EXPECT_EQ(recent_.last(), Zxid::make(1, 8));
  EXPECT_EQ(recent_.base(), Zxid::make(1, 7));
}

TEST_F(RecentTxnsTest, FindsTxnsByTheirZxid) {
  append({1, 2});
  Payload third = payload(3);
  static_cast<void>(recent_.append(Zxid::make(2, 1), third, kNoLimit));
  EXPECT_EQ(recent_.find(Zxid::make(2, 1)), third);
  EXPECT_EQ(recent_.find(Zxid::make(1, 3)), nullptr);
  EXPECT_EQ(recent_.find(Zxid::make(2, 2)), nullptr);
  EXPECT_EQ(recent_.after(Zxid{})->zxid, Zxid::make(1, 1));
  EXPECT_EQ(recent_.after(Zxid::make(1, 2))->zxid, Zxid::make(2, 1));
  EXPECT_EQ(recent_.after(Zxid::make(1, 9))->zxid, Zxid::make(2, 1));
  EXPECT_EQ(recent_.after(Zxid::make(2, 1)), recent_.txns().end());
}

// ---- TRUNC

TEST_F(RecentTxnsTest, TruncTakesBackWhatIsLater) {
  append({1, 2, 3, 4});
  recent_.truncate(Zxid::make(1, 2));
  EXPECT_EQ(counters(), (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(recent_.bytes(), 20u);
  EXPECT_EQ(recent_.last(), Zxid::make(1, 2));
}

TEST_F(RecentTxnsTest, TruncToTheLastTxnChangesNothing) {
  append({1, 2});
  recent_.truncate(Zxid::make(1, 2));
  EXPECT_EQ(counters(), (std::vector<uint32_t>{1, 2}));
}

TEST_F(RecentTxnsTest, TruncToTheBaseLeavesNoTxn) {
  recent_.restart(Zxid::make(1, 5));
  append({6, 7});
  recent_.truncate(Zxid::make(1, 5));
  EXPECT_TRUE(recent_.txns().empty());
  EXPECT_EQ(recent_.bytes(), 0u);
  EXPECT_EQ(recent_.last(), Zxid::make(1, 5));
}

TEST_F(RecentTxnsTest, WhatNeverReachedTheDiskIsForgotten) {
  append({1, 2, 3});
  recent_.forget_unwritten(Zxid::make(1, 1));
  EXPECT_EQ(counters(), (std::vector<uint32_t>{1}));
  EXPECT_EQ(recent_.bytes(), 10u);
}

// ---- SNAP

TEST_F(RecentTxnsTest, SnapReplacesAllTxns) {
  append({1, 2, 3});
  recent_.restart(Zxid::make(4, 9));
  EXPECT_TRUE(recent_.txns().empty());
  EXPECT_EQ(recent_.bytes(), 0u);
  EXPECT_EQ(recent_.base(), Zxid::make(4, 9));
  EXPECT_EQ(recent_.find(Zxid::make(1, 2)), nullptr);
}

TEST_F(RecentTxnsTest, ASnapshotMayBeOfAnEarlierZxidThanTheTxnsWere) {
  append({5, 6});
  recent_.restart(Zxid::make(1, 3));
  append({4});
  EXPECT_EQ(recent_.base(), Zxid::make(1, 3));
  EXPECT_EQ(counters(), (std::vector<uint32_t>{4}));
}

TEST_F(RecentTxnsTest, BeginsWithWhatTheLogHoldsBehindTheSnapshot) {
  append({1});
  recent_.restart(Zxid::make(1, 5),
                  {{Zxid::make(1, 6), payload(3)}, {Zxid::make(1, 7), payload(4)}});
  EXPECT_EQ(counters(), (std::vector<uint32_t>{6, 7}));
  EXPECT_EQ(recent_.bytes(), 7u);
}

// ---- trimming

TEST_F(RecentTxnsTest, TrimForgetsTheOldestWhereThereAreTooMany) {
  append({1, 2, 3, 4, 5});
  recent_.trim(Zxid::make(1, 5));
  EXPECT_EQ(counters(), (std::vector<uint32_t>{3, 4, 5}));
  EXPECT_EQ(recent_.base(), Zxid::make(1, 2));
  EXPECT_EQ(recent_.bytes(), 30u);
}

TEST_F(RecentTxnsTest, TrimKeepsAsManyAsAreAllowed) {
  append({1, 2, 3});
  recent_.trim(Zxid::make(1, 3));
  EXPECT_EQ(counters(), (std::vector<uint32_t>{1, 2, 3}));
  EXPECT_EQ(recent_.base(), Zxid{});
}

TEST_F(RecentTxnsTest, TrimNeverForgetsWhatIsNotAppliedYet) {
  append({1, 2, 3, 4, 5});
  recent_.trim(Zxid::make(1, 1));
  EXPECT_EQ(counters(), (std::vector<uint32_t>{2, 3, 4, 5}));
  recent_.trim(Zxid::make(1, 1));
  EXPECT_EQ(counters(), (std::vector<uint32_t>{2, 3, 4, 5}));
}

TEST_F(RecentTxnsTest, TrimForgetsLargeTxnsEvenWhereTheyAreFew) {
  append({1, 2}, RecentTxns::kMaxBytes);
  recent_.trim(Zxid::make(1, 2));
  EXPECT_EQ(counters(), (std::vector<uint32_t>{2}));
  append({3}, 1);
  recent_.trim(Zxid::make(1, 3));
  EXPECT_EQ(counters(), (std::vector<uint32_t>{3}));
}

// ---- the log or a snapshot for a learner

constexpr size_t kMaxDiffBytes = 160;

class LongLog : public testing::Test {
 protected:
  std::optional<Zxid> append(uint32_t counter, size_t bytes = 10) {
    return recent_.append(Zxid::make(1, counter), payload(bytes), kMaxDiffBytes);
  }
  RecentTxns recent_{1'000};
};

TEST_F(LongLog, LearnersAreSentTheLogWhileItIsShorterThanASnapshot) {
  for (uint32_t counter = 1; counter <= 17; ++counter) EXPECT_EQ(append(counter), std::nullopt);
}

TEST_F(LongLog, ASnapshotIsShorterForWhomTheLogHasGrownTooLong) {
  for (uint32_t counter = 1; counter <= 17; ++counter) static_cast<void>(append(counter));
  EXPECT_EQ(append(18), Zxid::make(1, 1));
  EXPECT_EQ(append(19), Zxid::make(1, 2));
}

TEST_F(LongLog, OneLargeTxnMakesASnapshotShorterForAllWhoLackIt) {
  static_cast<void>(append(1));
  static_cast<void>(append(2));
  EXPECT_EQ(append(3, 1'000), Zxid::make(1, 2));
  EXPECT_EQ(append(4), std::nullopt);
}

TEST_F(LongLog, TrimmedTxnsStillCountAsALogOnTheDisk) {
  RecentTxns few{1};
  for (uint32_t counter = 1; counter <= 17; ++counter) {
    static_cast<void>(few.append(Zxid::make(1, counter), payload(10), kMaxDiffBytes));
  }
  few.trim(Zxid::make(1, 17));
  ASSERT_EQ(few.txns().size(), 1u);
  EXPECT_EQ(few.append(Zxid::make(1, 18), payload(10), kMaxDiffBytes), Zxid::make(1, 1));
}

TEST_F(LongLog, NoSnapshotIsShorterBecauseOfTxnsThatTruncTookBack) {
  static_cast<void>(append(1));
  static_cast<void>(append(2));
  recent_.truncate(Zxid::make(1, 1));
  EXPECT_EQ(append(3, 1'000), Zxid::make(1, 1));
}

TEST_F(LongLog, TruncThatTakesBackEveryMarkBeginsAnew) {
  recent_.restart(Zxid::make(1, 1));
  static_cast<void>(append(2));
  recent_.truncate(Zxid::make(1, 1));
  EXPECT_EQ(append(3, 1'000), std::nullopt);
}

}  // namespace
}  // namespace zabfs::consensus
