#include "consensus/kept_history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "consensus/check.h"
#include "consensus/kept_files.h"
#include "consensus/log.h"
#include "consensus/snapshot_store.h"
#include "sim/sim_disk.h"
#include "tree/txn.h"
#include "unit/numbers.h"
#include "unit/put_snapshot.h"

namespace zabfs::consensus {
namespace {

using log_format::RecordType;

constexpr int64_t kHourMs = 3'600'000;
constexpr size_t kSegmentBytes = 4'096;

// Each txn is an hour after the one before, and a segment holds seven or eight of them.
class KeptHistoryTest : public testing::Test {
 protected:
  void open(KeptHistory::Options options) {
    log_.reset();
    history_ = std::make_unique<KeptHistory>(options, log_files_, snapshot_files_);
    log_ = std::make_unique<Log>(history_->log_disk(), Log::Options{kSegmentBytes});
    LogRecovery recovery = log_->open();
    EXPECT_EQ(recovery.error, "");
    EXPECT_TRUE(recovery.damage.empty());
    EXPECT_TRUE(log_->begin().ok());
  }
  DiskStatus write(uint32_t counter) {
    tree::Txn txn;
    std::string data(400, 'x'), body;
    txn.header.zxid = zxid(counter);
    txn.header.type = tree::OpCode::kSetData;
    txn.header.time_ms = counter * kHourMs;
    txn.body = tree::SetDataTxn{"/file", data, 1};
    tree::encode_txn(txn, body);
    return log_->write({{RecordType::kTxn, zxid(counter), 0, make_payload(body)}}, zxid(counter));
  }
  void write_through(uint32_t last) {
    while (written_ < last) ASSERT_TRUE(write(++written_).ok());
  }
  void snapshot() {
    SnapshotStore store(history_->snapshot_disk());
    ASSERT_TRUE(put_snapshot(store, zxid(written_)).ok());
  }
  void snapshots_at(std::initializer_list<uint32_t> all) {
    for (uint32_t last : all) {
      write_through(last);
      snapshot();
    }
  }
  // As LogPipeline::purge.
  void purge(uint32_t oldest) {
    SnapshotStore store(history_->snapshot_disk());
    for (Zxid any : store.list()) {
      if (any < zxid(oldest)) store.retire(any);
    }
    log_->purge(zxid(oldest));
  }
  static std::vector<std::string> kept(sim::SimDisk& disk, const std::string& what) {
    std::vector<std::string> names = disk.list();
    std::erase_if(names,
                  [&](const std::string& name) { return !name.starts_with("history." + what); });
    return names;
  }
  size_t kept_segments() { return kept(log_files_, "log.").size(); }
  size_t kept_snapshots() { return kept(snapshot_files_, "snapshot.").size(); }
  // What a reader of the past finds of the log.
  std::vector<uint32_t> readable() {
    std::vector<uint32_t> counters;
    KeptFiles files(log_files_);
    LogHandlers handlers;
    handlers.record = [&](const FoundRecord& found, size_t) {
      if (found.header.type == RecordType::kTxn) counters.push_back(found.header.zxid.counter());
      return Taken::kYes;
    };
    LogReport report = read_log(files, handlers);
    EXPECT_TRUE(report.damage.empty());
    return counters;
  }

  sim::SimDisk log_files_{1}, snapshot_files_{2};
  std::unique_ptr<KeptHistory> history_;
  std::unique_ptr<Log> log_;
  uint32_t written_ = 0;
};

TEST_F(KeptHistoryTest, WhatIsPurgedStaysReadable) {
  open({1u << 20, 1'000 * kHourMs});
  snapshots_at({10, 20, 30, 40});
  purge(30);
  EXPECT_GE(kept_segments(), 3u);
  EXPECT_EQ(kept_snapshots(), 2u);
  EXPECT_GT(log_->history().base(), Zxid{});
  EXPECT_EQ(readable().size(), 40u);
  KeptFiles files(snapshot_files_);
  EXPECT_EQ(SnapshotStore(files).list().size(), 4u);
  EXPECT_TRUE(SnapshotStore(files).load(zxid(10)).ok());
}

TEST_F(KeptHistoryTest, NothingIsKeptWhenItIsOff) {
  open({1u << 20, 1'000 * kHourMs});
  snapshots_at({10, 20, 30});
  purge(20);
  ASSERT_GT(kept_segments(), 0u);
  open({0, 1'000 * kHourMs});
  history_->trim(30 * kHourMs);
  EXPECT_EQ(kept_segments() + kept_snapshots(), 0u);
  purge(30);
  EXPECT_EQ(kept_segments() + kept_snapshots(), 0u);
  EXPECT_EQ(history_->bytes(), 0u);
}

TEST_F(KeptHistoryTest, GoesByAge) {
  open({1u << 20, 15 * kHourMs});
  snapshots_at({10, 20, 30, 40});
  purge(40);
  ASSERT_EQ(kept_snapshots(), 3u);
  history_->trim(22 * kHourMs);  // the log before the first snapshot is not 15 hours old
  EXPECT_EQ(readable().front(), 1u);
  history_->trim(40 * kHourMs);  // what is behind the snapshot at 20 is younger than 15 hours
  ASSERT_FALSE(readable().empty());
  EXPECT_GT(readable().front(), 10u);
  EXPECT_LE(readable().front(), 21u);
  EXPECT_EQ(kept_snapshots(), 2u);
  history_->trim(1'000 * kHourMs);
  EXPECT_EQ(kept_snapshots() + kept_segments(), 0u);
}

TEST_F(KeptHistoryTest, GoesBySizeOldestFirst) {
  open({4 * kSegmentBytes, 1'000 * kHourMs});
  for (uint32_t last = 10; last <= 100; last += 10) {
    write_through(last);
    snapshot();
    if (last < 30) continue;
    purge(last - 20);
    history_->trim(last * kHourMs);
    EXPECT_LE(history_->bytes(), 4 * kSegmentBytes);
    std::vector<uint32_t> found = readable();
    EXPECT_EQ(found.back(), last);
    EXPECT_EQ(found.size(), found.back() - found.front() + 1) << "a hole";
    // A tree can be made as of the first snapshot that is kept.
    std::vector<std::string> snapshots = kept(snapshot_files_, "snapshot.");
    if (snapshots.empty()) continue;
    uint32_t oldest = static_cast<uint32_t>(std::stoul(snapshots.front().substr(26), nullptr, 16));
    EXPECT_LE(found.front(), oldest + 1);
  }
  EXPECT_GT(readable().front(), 1u);
}

TEST_F(KeptHistoryTest, TheNodesOwnWritesComeFirst) {
  open({1u << 20, 1'000 * kHourMs});
  snapshots_at({10, 20, 30, 40});
  purge(40);
  size_t before = kept_segments();
  ASSERT_GT(before, 2u);
  log_files_.set_capacity(log_files_.used_bytes() + 100);
  write_through(60);  // asserts that each write succeeds
  EXPECT_LT(kept_segments(), before);
  EXPECT_GT(history_->take_given_up(), 0u);
  EXPECT_EQ(history_->take_given_up(), 0u);
  DiskStatus status;
  while (status.ok()) status = write(++written_);
  EXPECT_TRUE(status.is_full());
  EXPECT_EQ(kept_segments(), 0u);
  EXPECT_FALSE(history_->give_up_oldest());
}

TEST_F(KeptHistoryTest, ALackOfDescriptorsCostsNoHistory) {
  class NoDescriptors : public sim::SimDisk {
   public:
    using SimDisk::SimDisk;
    DiskStatus open(const std::string& name, bool create, std::unique_ptr<File>& file) override {
      if (create) return DiskStatus{ENOSPC, "open " + name, false, true};
      return SimDisk::open(name, create, file);
    }
  };
  NoDescriptors disk(1);
  std::unique_ptr<File> file;
  ASSERT_TRUE(disk.SimDisk::open("history.log.0000000000000001", true, file).ok());
  KeptHistory history({}, disk, snapshot_files_);
  EXPECT_TRUE(history.log_disk().open("log.0000000000000002", true, file).is_full());
  EXPECT_EQ(disk.list().size(), 1u);
}

// A file is the node's or is kept, whatever a crash leaves of the renames; and the log is whole.
TEST_F(KeptHistoryTest, ACrashBetweenTheRenamesLosesNothing) {
  for (uint64_t operation = 1; operation < 60; ++operation) {
    log_files_.wipe();
    snapshot_files_.wipe();
    written_ = 0;
    open({1u << 20, 1'000 * kHourMs});
    for (uint32_t last : {10u, 20u, 30u, 40u}) {
      write_through(last);
      snapshot();
    }
    log_files_.crash_in(operation);
    snapshot_files_.crash_in(operation / 8 + 1);
    try {
      purge(30);
    } catch (const sim::CrashNow&) {
    }
    log_files_.crash();
    snapshot_files_.crash();
    open({1u << 20, 1'000 * kHourMs});
    EXPECT_EQ(readable().size(), 40u) << operation;
    KeptFiles files(snapshot_files_);
    EXPECT_EQ(SnapshotStore(files).list().size(), 4u) << operation;
    purge(30);
    EXPECT_EQ(kept_snapshots(), 2u);
  }
}

TEST_F(KeptHistoryTest, ANewLogTakesNoNameThatIsKept) {
  open({1u << 20, 1'000 * kHourMs});
  snapshots_at({10, 20, 30});
  purge(30);
  std::string newest = kept(log_files_, "log.").back();
  for (const LogSegment& live : list_log_segments(log_files_)) {
    ASSERT_TRUE(log_files_.remove(live.name).ok());
  }
  open({1u << 20, 1'000 * kHourMs});
  ASSERT_EQ(list_log_segments(log_files_).size(), 1u);
  EXPECT_GT("history." + list_log_segments(log_files_)[0].name, newest);
}

TEST_F(KeptHistoryTest, DamageInItIsNoDamageOfTheNode) {
  open({1u << 20, 1'000 * kHourMs});
  snapshots_at({10, 20, 30});
  purge(30);
  log_files_.rot(kept(log_files_, "log.").front(), 200);
  CheckResult result = check_storage(log_files_, snapshot_files_);
  EXPECT_TRUE(std::any_of(result.found.begin(), result.found.end(), [](const std::string& line) {
    return line.starts_with("history has a gap: history.log.");
  }));
  EXPECT_TRUE(std::none_of(result.damage.begin(), result.damage.end(), [](const std::string& line) {
    return line.find("history") != std::string::npos;
  }));
}

}  // namespace
}  // namespace zabfs::consensus
