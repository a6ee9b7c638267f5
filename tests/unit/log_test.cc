#include "consensus/log.h"

#include <gtest/gtest.h>

#include "sim/sim_disk.h"

namespace zabfs::consensus {
namespace {

using log_format::RecordType;

class LogTest : public testing::Test {
 protected:
  static LogEntry txn(uint32_t epoch, uint32_t counter, size_t bytes = 20) {
    return {RecordType::kTxn, Zxid::make(epoch, counter), 0,
            make_payload(std::string(bytes, static_cast<char>('a' + counter % 26)))};
  }
  static LogEntry begin(SyncMode mode, Zxid zxid) {
    return {RecordType::kBeginSync, zxid, static_cast<uint32_t>(mode), nullptr};
  }
  static LogEntry end(uint32_t epoch) { return {RecordType::kEndSync, Zxid{}, epoch, nullptr}; }

  std::unique_ptr<Log> open() {
    auto log = std::make_unique<Log>(disk_, Log::Options{4'096});
    LogRecovery recovery = log->open();
    EXPECT_TRUE(log->begin().ok());
    error_ = recovery.damage.empty() ? recovery.error : recovery.damage.front();
    notes_ = recovery.note;
    return log;
  }
  void write(Log& log, const std::vector<LogEntry>& batch, Zxid committed = {}) {
    ASSERT_TRUE(log.write(batch, committed).ok());
  }
  // Read in pieces, each as small as can be.
  std::string zxids(const Log& log, Zxid after = {}, Zxid through = Zxid{INT64_MAX}) {
    std::string text;
    while (after < std::min(through, log.history().last())) {
      std::deque<LogTxn> txns;
      if (!Log::read(disk_, log.history(), after, through, 1, txns)) return "unreadable";
      EXPECT_EQ(txns.size(), 1u);
      after = txns.back().zxid;
      text += std::to_string(after.epoch()) + "." + std::to_string(after.counter()) + " ";
    }
    return text;
  }
  std::string last_segment() {
    std::string last;
    for (const std::string& name : disk_.list()) {
      if (name.starts_with("log.")) last = name;
    }
    return last;
  }
  void damage(const std::string& name, uint64_t offset) {
    std::unique_ptr<File> file;
    ASSERT_TRUE(disk_.open(name, false, file).ok());
    std::string byte;
    ASSERT_TRUE(file->read_at(offset, 1, byte).ok());
    byte[0] = static_cast<char>(byte[0] ^ 0xff);
    ASSERT_TRUE(file->write_at(offset, byte).ok());
    ASSERT_TRUE(file->sync().ok());
  }

  sim::SimDisk disk_{1};
  std::string error_, notes_;
};

TEST_F(LogTest, WhatWasWrittenIsThereAfterACrash) {
  auto log = open();
  write(*log, {begin(SyncMode::kDiff, {}), end(1)});
  write(*log, {txn(1, 1), txn(1, 2)});
  write(*log, {txn(1, 3)}, Zxid::make(1, 2));
  disk_.crash();
  log = open();
  EXPECT_EQ(error_, "");
  EXPECT_EQ(log->history().last(), Zxid::make(1, 3));
  EXPECT_EQ(log->current_epoch(), 1u);
  EXPECT_EQ(log->committed(), Zxid::make(1, 2));
  EXPECT_EQ(zxids(*log), "1.1 1.2 1.3 ");
  EXPECT_EQ(zxids(*log, Zxid::make(1, 1), Zxid::make(1, 2)), "1.2 ");
}

TEST_F(LogTest, RollsOverSegments) {
  auto log = open();
  for (uint32_t i = 1; i <= 40; ++i) write(*log, {txn(1, i, 300)});
  EXPECT_GT(disk_.list().size(), 3u);
  write(*log, {txn(1, 41, 20'000)});  // larger than a segment
  log = open();
  EXPECT_EQ(error_, "");
  EXPECT_EQ(log->history().last(), Zxid::make(1, 41));
  Zxid base = log->purge(Zxid::make(1, 20));
  EXPECT_GT(base, Zxid{});
  EXPECT_LE(base, Zxid::make(1, 20));
  log = open();
  EXPECT_EQ(log->history().base(), base);
  EXPECT_EQ(zxids(*log, Zxid{}), "unreadable");
  EXPECT_NE(zxids(*log, base), "unreadable");
}

TEST_F(LogTest, ASynchronisationCountsWholeOrNotAtAll) {
  auto log = open();
  write(*log, {begin(SyncMode::kDiff, {}), end(1)});
  write(*log, {txn(1, 1), txn(1, 2), txn(1, 3)});
  write(*log, {begin(SyncMode::kTrunc, Zxid::make(1, 1)), txn(2, 1)});
  EXPECT_EQ(log->history().last(), Zxid::make(2, 1));
  log = open();  // the end of the group was never written
  EXPECT_EQ(log->history().last(), Zxid::make(1, 3));
  EXPECT_EQ(log->current_epoch(), 1u);
  write(*log, {begin(SyncMode::kTrunc, Zxid::make(1, 1)), txn(2, 1), end(2)});
  log = open();
  EXPECT_EQ(log->history().last(), Zxid::make(2, 1));
  EXPECT_EQ(log->current_epoch(), 2u);
  EXPECT_EQ(zxids(*log), "1.1 2.1 ");
}

TEST_F(LogTest, AGroupOverSeveralSegmentsIsRolledBack) {
  auto log = open();
  write(*log, {begin(SyncMode::kDiff, {}), end(1), txn(1, 1)});
  write(*log, {begin(SyncMode::kSnap, Zxid::make(2, 7))});
  for (uint32_t i = 8; i <= 40; ++i) write(*log, {txn(2, i, 300)});
  ASSERT_TRUE(log->roll_back_group().ok());
  EXPECT_EQ(log->history().last(), Zxid::make(1, 1));
  write(*log, {txn(1, 2)});
  log = open();
  EXPECT_EQ(error_, "");
  EXPECT_EQ(zxids(*log), "1.1 1.2 ");
}

TEST_F(LogTest, ASnapshotBecomesTheBase) {
  auto log = open();
  write(*log, {txn(1, 1)});
  write(*log, {begin(SyncMode::kSnap, Zxid::make(3, 5)), txn(3, 6), end(4)});
  log = open();
  EXPECT_EQ(log->history().base(), Zxid::make(3, 5));
  EXPECT_EQ(zxids(*log, Zxid::make(3, 5)), "3.6 ");
}

TEST_F(LogTest, ATornTailIsDroppedAndNeverComesBack) {
  auto log = open();
  write(*log, {txn(1, 1)});
  disk_.crash_in(1);
  EXPECT_THROW(static_cast<void>(log->write({txn(1, 2, 2'000), txn(1, 3, 1'000)}, {})),
               sim::CrashNow);
  disk_.crash();
  log = open();
  EXPECT_EQ(error_, "");
  EXPECT_GE(log->history().last(), Zxid::make(1, 1));
  uint32_t next = log->history().last().counter() + 1;
  write(*log, {txn(1, next)});
  log = open();
  EXPECT_EQ(error_, "");
  EXPECT_EQ(log->history().last(), Zxid::make(1, next));
}

TEST_F(LogTest, CorruptionOfWhatWasSyncedIsNamedAndNotTruncated) {
  auto log = open();
  for (uint32_t i = 1; i <= 5; ++i) write(*log, {txn(1, i)});
  damage(last_segment(), log_format::kSegmentHeaderBytes + 72 + log_format::kRecordHeaderBytes);
  open();
  EXPECT_NE(error_.find("had been synced is corrupt"), std::string::npos) << error_;
  EXPECT_NE(error_.find(last_segment()), std::string::npos);
}

TEST_F(LogTest, AMissingSegmentIsNoticed) {
  auto log = open();
  for (uint32_t i = 1; i <= 40; ++i) write(*log, {txn(1, i, 300)});
  ASSERT_TRUE(disk_.remove("log.0000000000000002").ok());
  open();
  EXPECT_NE(error_.find("log.0000000000000002 is missing"), std::string::npos) << error_;
}

TEST_F(LogTest, WhatRottedIsMendedWithAPeersTxns) {
  for (int victim = 2; victim <= 39; ++victim) {
    disk_.wipe();
    auto log = open();
    write(*log, {begin(SyncMode::kDiff, {}), end(1)});
    for (uint32_t i = 1; i <= 40; ++i) write(*log, {txn(1, i, 300)});
    LogReport report = read_log(disk_, {});
    std::vector<FoundRecord> records;
    LogHandlers collect;
    collect.record = [&](const FoundRecord& found, size_t) {
      records.push_back(found);
      return Taken::kYes;
    };
    read_log(disk_, collect);
    const FoundRecord& record = records[static_cast<size_t>(victim) + 1];  // behind the group
    ASSERT_EQ(record.header.zxid.counter(), static_cast<uint32_t>(victim));
    disk_.rot(log_segment_name(record.segment), record.offset + 20 + static_cast<uint64_t>(victim));
    log = open();
    ASSERT_NE(error_, "") << victim;
    ASSERT_TRUE(log->missing()) << victim;
    ASSERT_EQ(log->missing()->size(), 1u);
    EXPECT_EQ(log->missing()->front().through, record.header.zxid);
    LogEntry lost = txn(1, static_cast<uint32_t>(victim), 300);
    ASSERT_TRUE(log->mend({{lost.zxid, lost.txn}}).ok());
    log = open();
    ASSERT_EQ(error_, "") << victim;
    EXPECT_EQ(log->history().last(), Zxid::make(1, 40));
    write(*log, {txn(1, 41, 300)});
    log = open();
    EXPECT_EQ(error_, "");
    EXPECT_EQ(log->history().last(), Zxid::make(1, 41));
  }
}

TEST_F(LogTest, ACrashWhileMendingLosesNothing) {
  for (uint64_t operation = 1; operation < 12; ++operation) {
    disk_.wipe();
    auto log = open();
    for (uint32_t i = 1; i <= 30; ++i) write(*log, {txn(1, i, 300)});
    disk_.rot("log.0000000000000002", log_format::kSegmentHeaderBytes + 100);
    log = open();
    ASSERT_TRUE(log->missing());
    std::map<Zxid, Payload> found;
    for (const Log::Range& range : *log->missing()) {
      for (Zxid zxid = range.after.next(); zxid <= range.through; zxid = zxid.next()) {
        found[zxid] = txn(1, zxid.counter(), 300).txn;
      }
    }
    disk_.crash_in(operation);
    try {
      static_cast<void>(log->mend(found));
      static_cast<void>(open());
    } catch (const sim::CrashNow&) {
    }
    disk_.crash();
    log = open();
    if (error_ != "") {
      ASSERT_TRUE(log->missing()) << error_ << " after a crash at " << operation;
      ASSERT_TRUE(log->mend(found).ok());
      log = open();
    }
    EXPECT_EQ(error_, "") << operation;
    EXPECT_EQ(log->history().last(), Zxid::make(1, 30)) << operation;
  }
}

TEST_F(LogTest, TheEndOfAnEpochCannotBeMendedButAtTheLeaders) {
  auto log = open();
  write(*log, {begin(SyncMode::kDiff, {}), end(1), txn(1, 1), txn(1, 2)});
  write(*log, {begin(SyncMode::kDiff, Zxid::make(1, 2))});
  write(*log, {end(2)});
  write(*log, {txn(2, 1)});
  LogHandlers rot;
  rot.record = [&](const FoundRecord& found, size_t) {
    if (found.header.extra == 2) disk_.rot(log_segment_name(found.segment), found.offset);
    return Taken::kYes;
  };
  read_log(disk_, rot);
  log = open();
  EXPECT_NE(error_, "");
  EXPECT_FALSE(log->missing());
  ASSERT_TRUE(log->restart_at(Zxid::make(1, 1), 1).ok());
  log = open();
  EXPECT_EQ(error_, "");
  EXPECT_EQ(log->history().base(), Zxid::make(1, 1));
  EXPECT_TRUE(disk_.list().front().starts_with("damaged."));
  log->forget_damaged();
  EXPECT_FALSE(disk_.list().front().starts_with("damaged."));
}

TEST_F(LogTest, AnUnreadableSectorIsDamageOfItsRecordsOnly) {
  auto log = open();
  for (uint32_t i = 1; i <= 20; ++i) write(*log, {txn(1, i, 300)});
  disk_.break_sector("log.0000000000000001", 2'048);
  log = open();
  EXPECT_NE(error_, "");
  ASSERT_TRUE(log->missing());
  EXPECT_LT(log->missing()->front().through, Zxid::make(1, 19));
}

TEST_F(LogTest, AnUnreadableTailIsNoTornWrite) {
  auto log = open();
  write(*log, {txn(1, 1), txn(1, 2)});
  disk_.break_sector(last_segment(), 100);  // both txns, and nothing behind them
  open();
  EXPECT_NE(error_, "");
}

TEST_F(LogTest, ASealTellsARottenLastRecordFromATornOne) {
  auto log = open();
  write(*log, {txn(1, 1)});
  write(*log, {{RecordType::kSeal, Zxid{}, 0, nullptr}});
  disk_.rot(last_segment(), log_format::kSegmentHeaderBytes + 50);
  open();
  EXPECT_NE(error_.find("had been synced is corrupt"), std::string::npos) << error_;
}

TEST_F(LogTest, AFullDiskLeavesTheLogAsItWas) {
  auto log = open();
  write(*log, {txn(1, 1)});
  disk_.set_capacity(disk_.used_bytes() + 1'000);
  uint32_t next = 2;
  DiskStatus status;
  for (; status.ok(); ++next) status = log->write({txn(1, next, 300)}, {});
  --next;
  EXPECT_TRUE(status.is_full());
  EXPECT_TRUE(log->make_room().is_full());
  disk_.set_capacity(0);
  EXPECT_TRUE(log->make_room().ok());
  write(*log, {txn(1, next, 300)});
  log = open();
  EXPECT_EQ(error_, "");
  EXPECT_EQ(log->history().last(), Zxid::make(1, next));
}

TEST_F(LogTest, RefusesToAppendOutOfOrder) {
  auto log = open();
  write(*log, {txn(1, 1)});
  EXPECT_FALSE(log->write({txn(1, 3)}, {}).ok());
}

TEST_F(LogTest, ALogThatWasOnlyBegunHoldsNothing) {
  for (uint64_t operation = 1; operation < 12; ++operation) {
    sim::SimDisk disk(operation);
    disk.crash_in(operation);
    try {
      Log log(disk, Log::Options{2'048});
      ASSERT_EQ(log.open().error, "");
      EXPECT_TRUE(log.is_new());
      EXPECT_TRUE(disk.list().empty());  // looking changes nothing
      ASSERT_TRUE(log.begin().ok());
    } catch (const sim::CrashNow&) {
    }
    disk.crash();
    Log log(disk, Log::Options{2'048});
    LogRecovery recovery = log.open();
    EXPECT_EQ(recovery.error, "") << operation;
    EXPECT_TRUE(recovery.damage.empty()) << operation;
    EXPECT_TRUE(log.holds_nothing()) << operation;
    ASSERT_TRUE(log.begin().ok());
    write(log, {txn(1, 1)});
    EXPECT_FALSE(log.holds_nothing());
  }
}

TEST_F(LogTest, SurvivesACrashAtEveryOperation) {
  for (uint64_t operation = 1; operation < 60; ++operation) {
    sim::SimDisk disk(operation);
    uint32_t acknowledged = 0;
    disk.crash_in(operation);
    try {
      Log log(disk, Log::Options{2'048});
      ASSERT_EQ(log.open().error, "");
      ASSERT_TRUE(log.begin().ok());
      for (uint32_t i = 1; i <= 20; ++i) {
        ASSERT_TRUE(log.write({txn(1, i, 200)}, {}).ok());
        acknowledged = i;
      }
    } catch (const sim::CrashNow&) {
    }
    disk.crash();
    Log log(disk, Log::Options{2'048});
    LogRecovery recovery = log.open();
    EXPECT_EQ(recovery.error, "") << "crash at operation " << operation;
    EXPECT_TRUE(recovery.damage.empty()) << "crash at operation " << operation;
    EXPECT_GE(log.history().last().counter(), acknowledged) << operation;
  }
}

}  // namespace
}  // namespace zabfs::consensus
