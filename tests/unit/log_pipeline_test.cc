#include "consensus/log_pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <initializer_list>
#include <memory>
#include <string>

#include "sim/sim_disk.h"
#include "unit/hand_lanes.h"
#include "unit/numbers.h"

namespace zabfs::consensus {
namespace {

using log_format::RecordType;

constexpr size_t kLongTxnBytes = 500;

class LogPipelineTest : public testing::Test {
 protected:
  LogPipelineTest() { open(); }

  void open() {
    pipeline_ = std::make_unique<LogPipeline>(
        LogPipeline::Options{4u << 10, 1'000}, lanes_, log_disk_, snapshots_,
        LogPipeline::Outcomes{
            [this](const LogPipeline::Written& written) {
              written_.push_back(written.last);
              for (uint32_t epoch : written.ended_epochs) ended_epochs_.push_back(epoch);
            },
            [this](const DiskStatus&) {
              pipeline_->note_full(0);
              pipeline_->leave_role();
            },
            [this](LogPipeline::Settled settled) { settled_.push_back(std::move(settled)); },
            [this]() -> LogPipeline::ReadPlan {
              return [after = lacks_after_](const History&) { return after; };
            },
            [this](bool held) { holds_.push_back(held); }});
    ASSERT_EQ(pipeline_->at_rest().open().error, "");
    ASSERT_TRUE(pipeline_->at_rest().begin().ok());
  }
  void append(std::initializer_list<uint32_t> counters) {
    for (uint32_t counter : counters) {
      pipeline_->append(
          {RecordType::kTxn, zxid(counter), 0, make_payload(std::string(kLongTxnBytes, 'x'))});
    }
  }
  void begin_group(SyncMode mode, Zxid at) {
    pipeline_->append({RecordType::kBeginSync, at, static_cast<uint32_t>(mode), nullptr});
  }
  void end_group(uint32_t epoch) {
    pipeline_->append({RecordType::kEndSync, Zxid{}, epoch, nullptr});
  }
  void end_batch() { pipeline_->end_of_batch(Zxid{}); }
  void write(std::initializer_list<uint32_t> counters) {
    append(counters);
    run();
  }
  // Everything that is due now.
  void run() {
    end_batch();
    while (!lanes_.io_.empty() || !lanes_.background_.empty()) {
      lanes_.run_all();
      end_batch();
    }
  }
  // The next job of the log's disk, and a batch of the strand with what came of it.
  void run_one() {
    HandLanes::run_one(lanes_.io_);
    end_batch();
  }
  void pass(int64_t ms) {
    lanes_.now_ms_ += ms;
    pipeline_->on_timer();
    end_batch();
  }
  // The log has no room for another segment, nor for what is written to it next.
  void fill() { log_disk_.set_capacity(log_disk_.used_bytes() + 1); }
  // Appends until that finds no room, and the role has ended.
  void find_no_room() {
    fill();
    for (uint32_t counter = 1; !pipeline_->is_full(); ++counter) {
      ASSERT_LT(counter, 100u);
      write({counter});
    }
    ASSERT_TRUE(settled_.empty());
  }
  std::vector<uint32_t> read_back() {
    std::vector<uint32_t> counters;
    for (const LogTxn& txn : settled_.back().reading.txns) counters.push_back(txn.zxid.counter());
    return counters;
  }
  size_t segments() {
    std::vector<std::string> names = log_disk_.list();
    return static_cast<size_t>(std::count_if(
        names.begin(), names.end(), [](const auto& name) { return name.starts_with("log."); }));
  }

  HandLanes lanes_;
  sim::SimDisk log_disk_{1}, snapshot_disk_{2};
  SnapshotStore snapshots_{snapshot_disk_};
  std::unique_ptr<LogPipeline> pipeline_;
  std::optional<Zxid> lacks_after_;  // as ReadPlan says
  std::vector<Zxid> written_;
  std::vector<uint32_t> ended_epochs_;
  std::vector<LogPipeline::Settled> settled_;
  std::vector<bool> holds_;
};

// ---- writing

TEST_F(LogPipelineTest, WhatComesDuringAWriteSharesTheNext) {
  append({1});
  end_batch();
  append({2});
  end_batch();
  append({3});
  end_batch();
  ASSERT_EQ(lanes_.io_.size(), 1u);
  run_one();
  EXPECT_EQ(written_, (std::vector<Zxid>{zxid(1)}));
  ASSERT_EQ(lanes_.io_.size(), 1u);
  run_one();
  EXPECT_EQ(written_, (std::vector<Zxid>{zxid(1), zxid(3)}));
  EXPECT_TRUE(lanes_.io_.empty());
}

TEST_F(LogPipelineTest, OnlyManyEntriesAreWrittenBeforeTheEndOfABatch) {
  append({1, 2, 3, 4});
  pipeline_->write_many(Zxid{});
  EXPECT_TRUE(lanes_.io_.empty());
  append({5});
  pipeline_->write_many(Zxid{});
  EXPECT_EQ(lanes_.io_.size(), 1u);
}

TEST_F(LogPipelineTest, NamesTheSynchronisationsThatEnd) {
  begin_group(SyncMode::kDiff, Zxid{});
  append({1});
  end_group(1);
  run();
  EXPECT_EQ(written_, (std::vector<Zxid>{zxid(1)}));
  EXPECT_EQ(ended_epochs_, (std::vector<uint32_t>{1}));
}

TEST_F(LogPipelineTest, HoldsLinksWhileTheQueueIsTooLong) {
  append({1, 2});
  end_batch();  // they are being written, and do not wait any more
  EXPECT_TRUE(holds_.empty());
  append({3, 4, 5});
  end_batch();
  EXPECT_EQ(holds_, (std::vector<bool>{true}));
  EXPECT_TRUE(pipeline_->holds_links());
  EXPECT_EQ(pipeline_->queue_bytes(), 3 * kLongTxnBytes);
  run();
  EXPECT_EQ(holds_, (std::vector<bool>{true, false}));
  EXPECT_EQ(pipeline_->queue_bytes(), 0u);
}

TEST_F(LogPipelineTest, AFailedSyncEndsTheNode) {
  append({1});
  end_batch();
  log_disk_.fail_next_sync();
  HandLanes::run_one(lanes_.io_);
  EXPECT_EQ(lanes_.deaths_.size(), 1u);
  EXPECT_TRUE(written_.empty());
}

// ---- sealing

TEST_F(LogPipelineTest, SealsTheLastBatchOfAnIdleLogOnce) {
  write({1});
  EXPECT_EQ(pipeline_->wake_ms(), lanes_.now_ms_ + LogPipeline::kSealAfterMs);
  pass(LogPipeline::kSealAfterMs - 1);
  EXPECT_TRUE(lanes_.io_.empty());
  pass(1);
  EXPECT_EQ(lanes_.io_.size(), 1u);
  run();
  EXPECT_EQ(written_.back(), Zxid{});
  EXPECT_EQ(pipeline_->wake_ms(), INT64_MAX);
  pass(10 * LogPipeline::kSealAfterMs);
  EXPECT_TRUE(lanes_.io_.empty());
}

TEST_F(LogPipelineTest, DoesNotSealALogThatIsWritten) {
  write({1});
  pass(LogPipeline::kSealAfterMs - 1);
  append({2});
  end_batch();
  pass(1);
  run_one();
  EXPECT_TRUE(lanes_.io_.empty());
  EXPECT_EQ(pipeline_->wake_ms(), lanes_.now_ms_ + LogPipeline::kSealAfterMs);
}

// ---- the end of a role

TEST_F(LogPipelineTest, ARoleThatEndsForgetsWhatNoJobHas) {
  append({1});
  end_batch();
  append({2});
  pipeline_->leave_role();
  EXPECT_EQ(pipeline_->queue_bytes(), 0u);
  run();
  EXPECT_TRUE(written_.empty());  // of a role that is over
  ASSERT_EQ(settled_.size(), 1u);
  EXPECT_EQ(settled_.back().history.last(), zxid(1));
}

TEST_F(LogPipelineTest, ARoleThatEndsWaitsForTheWriteUnderWay) {
  append({1});
  end_batch();
  pipeline_->leave_role();
  end_batch();
  EXPECT_EQ(lanes_.io_.size(), 1u);
  run_one();
  EXPECT_TRUE(settled_.empty());
  EXPECT_EQ(lanes_.io_.size(), 1u);
  run_one();
  EXPECT_EQ(settled_.size(), 1u);
}

TEST_F(LogPipelineTest, AGroupWithoutItsEndIsRolledBack) {
  write({1});
  begin_group(SyncMode::kSnap, zxid(7));
  append({8});
  end_batch();
  pipeline_->leave_role();
  run();
  ASSERT_EQ(settled_.size(), 1u);
  EXPECT_EQ(settled_.back().history.base(), Zxid{});
  EXPECT_EQ(settled_.back().history.last(), zxid(1));
}

TEST_F(LogPipelineTest, WhatMemoryLacksIsReadOnTheLane) {
  write({1, 2, 3});
  lacks_after_ = zxid(1);
  pipeline_->leave_role();
  end_batch();
  ASSERT_EQ(lanes_.io_.size(), 1u);
  HandLanes::run_job(lanes_.io_);
  log_disk_.wipe();  // so that nothing is left to read for the strand
  run_one();
  ASSERT_EQ(settled_.size(), 1u);
  EXPECT_EQ(settled_.back().read_after, zxid(1));
  EXPECT_TRUE(settled_.back().reading.is_whole);
  EXPECT_EQ(read_back(), (std::vector<uint32_t>{2, 3}));
}

// A purge that the last role has begun comes before what ends the role, on the same lane. So the
// history that is handed over is the one that is left, and what memory lacks of it is there.
TEST_F(LogPipelineTest, APurgeUnderWayIsOverBeforeTheHistoryIsHandedOver) {
  for (uint32_t counter = 1; counter <= 20; ++counter) write({counter});
  Zxid base;
  pipeline_->purge(zxid(15), false, [&](Zxid now) { base = now; });
  lacks_after_ = zxid(15);
  pipeline_->leave_role();
  end_batch();
  ASSERT_EQ(lanes_.io_.size(), 2u);
  run();
  EXPECT_GT(base, Zxid{});
  EXPECT_LE(base, zxid(15));
  ASSERT_EQ(settled_.size(), 1u);
  EXPECT_EQ(settled_.back().history.base(), base);
  EXPECT_TRUE(settled_.back().reading.is_whole);
  EXPECT_EQ(read_back(), (std::vector<uint32_t>{16, 17, 18, 19, 20}));
}

TEST_F(LogPipelineTest, SaysSoIfTheLogDoesNotHoldWhatMemoryLacks) {
  for (uint32_t counter = 1; counter <= 20; ++counter) write({counter});
  pipeline_->purge(zxid(15), false, [](Zxid) {});
  lacks_after_ = Zxid{};
  pipeline_->leave_role();
  run();
  ASSERT_EQ(settled_.size(), 1u);
  EXPECT_FALSE(settled_.back().reading.is_whole);
}

// ---- a full disk

TEST_F(LogPipelineTest, AFullDiskHandsNothingOverBeforeThereIsRoom) {
  find_no_room();
  for (int i = 0; i < 5; ++i) {
    pass(LogPipeline::kRoomProbeMs);
    run();
  }
  EXPECT_TRUE(pipeline_->is_full());
  EXPECT_TRUE(settled_.empty());
  log_disk_.set_capacity(0);
  pass(LogPipeline::kRoomProbeMs);
  run();
  EXPECT_FALSE(pipeline_->is_full());
  ASSERT_EQ(settled_.size(), 1u);
  EXPECT_TRUE(settled_.back().found_room);
  EXPECT_EQ(settled_.back().history.last(), written_.back());
}

TEST_F(LogPipelineTest, IsSilentBetweenTwoProbes) {
  write({1});
  find_no_room();
  int64_t found_ms = lanes_.now_ms_;
  pass(LogPipeline::kSealAfterMs);  // for a seal there would be room
  EXPECT_TRUE(lanes_.io_.empty());
  EXPECT_EQ(pipeline_->wake_ms(), found_ms + LogPipeline::kRoomProbeMs);
  pass(LogPipeline::kRoomProbeMs - LogPipeline::kSealAfterMs - 1);
  EXPECT_TRUE(lanes_.io_.empty());
  pass(1);
  EXPECT_EQ(lanes_.io_.size(), 1u);
}

TEST_F(LogPipelineTest, RoomIsLookedForOnTheDiskOfSnapshotsToo) {
  constexpr size_t kSnapshotBytes = 10'000;
  snapshot_disk_.set_capacity(kSnapshotBytes - 1);
  EXPECT_TRUE(pipeline_->note_full(kSnapshotBytes));
  EXPECT_FALSE(pipeline_->note_full(1));
  pipeline_->leave_role();
  run();
  pass(LogPipeline::kRoomProbeMs);
  run();
  EXPECT_TRUE(pipeline_->is_full());
  snapshot_disk_.set_capacity(2 * kSnapshotBytes);
  pass(LogPipeline::kRoomProbeMs);
  run();
  EXPECT_FALSE(pipeline_->is_full());
  EXPECT_EQ(settled_.size(), 1u);
}

// The example of log_pipeline.h.
TEST_F(LogPipelineTest, AProbeWaitsUntilTheGroupIsRolledBack) {
  write({1});
  begin_group(SyncMode::kSnap, zxid(7));
  end_batch();  // and takes long
  pipeline_->note_full(100);
  pipeline_->leave_role();
  end_batch();
  pass(LogPipeline::kRoomProbeMs);
  EXPECT_EQ(pipeline_->wake_ms(), INT64_MAX);
  EXPECT_EQ(lanes_.io_.size(), 1u);
  run_one();
  pass(LogPipeline::kRoomProbeMs);
  EXPECT_EQ(lanes_.io_.size(), 1u);
  run_one();
  EXPECT_TRUE(settled_.empty());
  pass(0);
  run();
  ASSERT_EQ(settled_.size(), 1u);
  EXPECT_TRUE(settled_.back().found_room);
  EXPECT_EQ(settled_.back().history.base(), Zxid{});
  EXPECT_EQ(settled_.back().history.last(), zxid(1));
}

// ---- what was set aside

TEST_F(LogPipelineTest, WhatWasSetAsideGoesOnTheLane) {
  write({1});
  ASSERT_TRUE(pipeline_->at_rest().restart_at(Zxid{}, 1).ok());
  auto is_there = [this] {
    std::vector<std::string> names = log_disk_.list();
    return std::any_of(names.begin(), names.end(),
                       [](const auto& name) { return name.starts_with("damaged."); });
  };
  ASSERT_TRUE(is_there());
  pipeline_->forget_damaged();
  EXPECT_TRUE(is_there());
  write({1});
  EXPECT_FALSE(is_there());
}

// ---- reading

TEST_F(LogPipelineTest, ReadsAndFindsTxnsInTheBackground) {
  write({1, 2, 3});
  std::vector<Zxid> read;
  size_t found = 0;
  pipeline_->read_in_background(pipeline_->at_rest().history(), zxid(1), zxid(3), SIZE_MAX,
                                [&](const LogPipeline::Reading& reading) {
                                  EXPECT_TRUE(reading.is_whole);
                                  for (const LogTxn& txn : reading.txns) read.push_back(txn.zxid);
                                });
  pipeline_->find_in_background({{Zxid{}, zxid(2)}}, SIZE_MAX,
                                [&](const std::map<Zxid, Payload>& txns) { found = txns.size(); });
  EXPECT_EQ(lanes_.background_.size(), 2u);
  run();
  EXPECT_EQ(read, (std::vector<Zxid>{zxid(2), zxid(3)}));
  EXPECT_EQ(found, 2u);
}

}  // namespace
}  // namespace zabfs::consensus
