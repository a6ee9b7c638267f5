#include "consensus/committed_log.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "consensus/kept_files.h"
#include "consensus/kept_history.h"
#include "consensus/log.h"
#include "sim/sim_disk.h"

namespace zabfs::consensus {
namespace {

using log_format::RecordType;

constexpr Zxid kAll{INT64_MAX};

class CommittedLogTest : public testing::Test {
 protected:
  CommittedLogTest() { open(); }
  void open() {
    log_ = std::make_unique<Log>(disk_, Log::Options{4'096});
    recovery_ = log_->open();
    ASSERT_TRUE(log_->begin().ok());
  }
  static LogEntry txn(uint32_t epoch, uint32_t counter, size_t bytes = 20) {
    return {RecordType::kTxn, Zxid::make(epoch, counter), 0, make_payload(std::string(bytes, 'x'))};
  }
  static LogEntry begin(SyncMode mode, Zxid zxid) {
    return {RecordType::kBeginSync, zxid, static_cast<uint32_t>(mode), nullptr};
  }
  static LogEntry end(uint32_t epoch) { return {RecordType::kEndSync, Zxid{}, epoch, nullptr}; }
  void write(const std::vector<LogEntry>& batch, Zxid committed = {}) {
    ASSERT_TRUE(log_->write(batch, committed).ok());
  }
  // `<base`, a txn as `epoch.counter`, `|base` for a gap.
  std::string told(Zxid through = Zxid{}, Zxid after = Zxid{}) {
    auto text = [](Zxid zxid) {
      return std::to_string(zxid.epoch()) + "." + std::to_string(zxid.counter()) + " ";
    };
    std::string all;
    CommittedLogVisitor visitor;
    visitor.begin = [&](Zxid base) {
      all += "<" + text(base);
      return true;
    };
    visitor.txn = [&](Zxid zxid, std::string_view) {
      all += text(zxid);
      return true;
    };
    visitor.gap = [&](const std::string& why, Zxid base) {
      EXPECT_FALSE(why.empty());
      all += "|" + text(base);
      return true;
    };
    KeptFiles files(disk_);
    read_committed(files, after, through, visitor);
    return all;
  }

  sim::SimDisk disk_{1};
  std::unique_ptr<Log> log_;
  LogRecovery recovery_;
};

TEST_F(CommittedLogTest, TellsWhatALaterRecordSaysOrTheCallerKnows) {
  write({begin(SyncMode::kDiff, {}), end(1)});
  write({txn(1, 1), txn(1, 2), txn(1, 3)});
  EXPECT_EQ(told(), "<0.0 ");
  EXPECT_EQ(told(Zxid::make(1, 1)), "<0.0 1.1 ");
  write({txn(1, 4)}, Zxid::make(1, 2));
  EXPECT_EQ(told(), "<0.0 1.1 1.2 ");
  EXPECT_EQ(told(kAll), "<0.0 1.1 1.2 1.3 1.4 ");
}

TEST_F(CommittedLogTest, WhatWasTakenBackWasNeverThere) {
  write({begin(SyncMode::kDiff, {}), end(1)});
  write({txn(1, 1), txn(1, 2), txn(1, 3)});
  write({begin(SyncMode::kTrunc, Zxid::make(1, 1)), txn(2, 1), end(2)}, Zxid::make(1, 1));
  write({txn(2, 2)}, Zxid::make(2, 1));
  EXPECT_EQ(told(kAll), "<0.0 1.1 2.1 2.2 ");
}

TEST_F(CommittedLogTest, WhatWasCommittedAndTakenBackIsABreak) {
  write({begin(SyncMode::kDiff, {}), end(1)});
  write({txn(1, 1), txn(1, 2), txn(1, 3)});
  write({txn(1, 4)}, Zxid::make(1, 3));
  write({begin(SyncMode::kTrunc, Zxid::make(1, 1)), txn(2, 1), end(2)}, Zxid::make(1, 3));
  write({txn(2, 2)}, Zxid::make(2, 1));
  EXPECT_EQ(told(kAll), "<0.0 1.1 1.2 1.3 |1.1 2.1 2.2 ");
}

TEST_F(CommittedLogTest, ASynchronisationThatDidNotEndWasNone) {
  write({begin(SyncMode::kDiff, {}), end(1)});
  write({txn(1, 1), txn(1, 2)}, {});
  write({begin(SyncMode::kSnap, Zxid::make(2, 7)), txn(2, 8)});
  EXPECT_EQ(told(kAll), "<0.0 1.1 1.2 ");
  ASSERT_TRUE(log_->roll_back_group().ok());
  write({txn(1, 3)}, Zxid::make(1, 2));
  EXPECT_EQ(told(kAll), "<0.0 1.1 1.2 1.3 ");
}

TEST_F(CommittedLogTest, ALeadersSnapshotIsABreak) {
  write({begin(SyncMode::kDiff, {}), end(1)});
  write({txn(1, 1)});
  write({txn(1, 2)}, Zxid::make(1, 1));
  write({begin(SyncMode::kSnap, Zxid::make(2, 7)), txn(2, 8), end(2)}, Zxid::make(1, 1));
  EXPECT_EQ(told(), "<0.0 1.1 ");  // nobody knows yet whether that was committed
  write({txn(2, 9)}, Zxid::make(2, 8));
  EXPECT_EQ(told(), "<0.0 1.1 |2.7 2.8 ");
}

TEST_F(CommittedLogTest, DamageIsABreakAndNothingIsInvented) {
  write({begin(SyncMode::kDiff, {}), end(1)});
  for (uint32_t i = 1; i <= 30; ++i) write({txn(1, i, 300)}, Zxid::make(1, i - 1));
  std::vector<LogSegment> segments = list_log_segments(disk_);
  ASSERT_GT(segments.size(), 2u);
  disk_.rot(segments[1].name, 200);
  std::string all = told(kAll);
  EXPECT_NE(all.find("|0.0 "), std::string::npos) << all;
  EXPECT_EQ(all.find("|0.0 "), all.rfind("|0.0 "));
  EXPECT_TRUE(all.starts_with("<0.0 1.1 ")) << all;
  EXPECT_TRUE(all.ends_with("1.29 1.30 ")) << all;
  ASSERT_TRUE(disk_.remove(segments[1].name).ok());
  EXPECT_NE(told(kAll).find("|0.0 "), std::string::npos);
}

TEST_F(CommittedLogTest, KeptAndLiveSegmentsAreOneLog) {
  log_.reset();
  disk_.wipe();
  KeptHistory history({}, disk_, disk_);
  log_ = std::make_unique<Log>(history.log_disk(), Log::Options{4'096});
  ASSERT_EQ(log_->open().error, "");
  ASSERT_TRUE(log_->begin().ok());
  write({begin(SyncMode::kDiff, {}), end(1)});
  std::string wanted = "<0.0 ";
  for (uint32_t i = 1; i <= 40; ++i) {
    write({txn(1, i, 300)}, Zxid::make(1, i - 1));
    wanted += "1." + std::to_string(i) + " ";
  }
  log_->purge(Zxid::make(1, 30));
  EXPECT_EQ(told(kAll), wanted);
  // From the middle on.
  std::string rest = told(kAll, Zxid::make(1, 20));
  EXPECT_LT(rest.size(), wanted.size());
  EXPECT_NE(rest.find(" 1.21 "), std::string::npos);
}

// The records of a mended segment are written when it is mended, and more was committed by then.
TEST_F(CommittedLogTest, AMendedSegmentTellsNoMoreThanBefore) {
  write({begin(SyncMode::kDiff, {}), end(1)});
  for (uint32_t i = 1; i <= 3; ++i) write({txn(1, i)}, {});
  write({txn(1, 4), txn(1, 5)}, Zxid::make(1, 3));
  write({begin(SyncMode::kTrunc, Zxid::make(1, 3)), txn(2, 1), end(2)}, Zxid::make(1, 3));
  write({txn(2, 2)}, Zxid::make(2, 1));
  write({txn(2, 3)}, Zxid::make(2, 2));
  std::string wanted = told(kAll);
  EXPECT_EQ(wanted, "<0.0 1.1 1.2 1.3 2.1 2.2 2.3 ");
  disk_.rot(list_log_segments(disk_)[0].name, 64 + 48 + 48 + (48 + 24) + 48 + 5);  // of 1.2
  log_ = std::make_unique<Log>(disk_, Log::Options{4'096});
  ASSERT_FALSE(log_->open().damage.empty());
  ASSERT_TRUE(log_->missing().has_value());
  std::map<Zxid, Payload> missing;
  for (const Log::Range& range : *log_->missing()) {
    for (uint32_t i = range.after.counter() + 1; i <= range.through.counter(); ++i) {
      missing[Zxid::make(1, i)] = make_payload(std::string(20, 'x'));
    }
  }
  ASSERT_TRUE(log_->mend(missing).ok());
  EXPECT_EQ(told(kAll), wanted);
}

}  // namespace
}  // namespace zabfs::consensus
