#include "consensus/history_files.h"

#include <gtest/gtest.h>

#include "consensus/check.h"
#include "consensus/epoch_store.h"
#include "consensus/log.h"
#include "consensus/snapshot_store.h"
#include "sim/sim_disk.h"
#include "tree/txn.h"

namespace zabfs::consensus {
namespace {

using log_format::RecordType;

Payload create(Zxid zxid, std::string_view path) {
  tree::Txn txn;
  txn.header = {tree::SessionId{1}, 1, zxid, 1'000, tree::OpCode::kCreate};
  txn.body = tree::CreateTxn{path, "data", tree::open_acl(), false, -1, 0};
  std::string bytes;
  tree::encode_txn(txn, bytes);
  return make_payload(std::move(bytes));
}

WholeHistory history_at(Zxid zxid) {
  WholeHistory history;
  history.tree = std::make_unique<tree::Tree>();
  history.tree->apply(*tree::decode_txn(*create(zxid, "/a")), nullptr);
  history.current_epoch = 3;
  history.accepted_epoch = 4;
  return history;
}

class HistoryFilesTest : public testing::Test {
 protected:
  void write(Zxid zxid) {
    WholeHistory history = history_at(zxid);
    uint64_t bytes = 0;
    ASSERT_TRUE(write_history(log_disk_, snapshot_disk_, history, [&bytes](uint64_t so_far) {
                  EXPECT_GE(so_far, bytes);
                  bytes = so_far;
                }).ok());
    EXPECT_GT(bytes, 0u);
  }
  sim::SimDisk log_disk_{1}, snapshot_disk_{2};
};

TEST_F(HistoryFilesTest, WhatIsWrittenIsReadAgain) {
  write(Zxid::make(3, 7));
  StatusOr<WholeHistory> history = read_history(log_disk_, snapshot_disk_);
  ASSERT_TRUE(history.ok()) << history.why();
  EXPECT_EQ(history->tree->last_zxid(), Zxid::make(3, 7));
  EXPECT_EQ(history->tree->digest(), history_at(Zxid::make(3, 7)).tree->digest());
  EXPECT_EQ(history->current_epoch, 3u);
  EXPECT_EQ(history->accepted_epoch, 4u);
  EXPECT_TRUE(check_storage(log_disk_, snapshot_disk_).damage.empty());
}

TEST_F(HistoryFilesTest, ItIsToldHowMuchIsRead) {
  write(Zxid::make(3, 7));
  std::string told;
  uint64_t total = 0, last = 0;
  ReadingHistory reading;
  auto end = [&] { told += last == 0 ? " nothing;" : last <= total ? " within;" : " more;"; };
  reading.begins = [&](const std::string& what, uint64_t bytes) {
    if (!told.empty()) end();
    told += what;
    total = bytes;
    last = 0;
  };
  reading.at = [&](uint64_t bytes) {
    EXPECT_GE(bytes, last);
    last = bytes;
  };
  ASSERT_TRUE(read_history(log_disk_, snapshot_disk_, reading).ok());
  end();
  EXPECT_EQ(told,
            "the log within;snapshot.0000000300000007 within;the log behind the snapshot nothing;");
}

TEST_F(HistoryFilesTest, ItIsTheHistoryOfAVoterThatDoesNotKnowWhetherItWasCommitted) {
  write(Zxid::make(3, 7));
  EpochStore epochs(snapshot_disk_);
  EXPECT_EQ(epochs.open().state, EpochStore::State::kIntact);
  EXPECT_TRUE(epochs.promise().votes);
  EXPECT_EQ(epochs.promise().accepted_epoch, 4u);
  Log log(log_disk_, {});
  EXPECT_TRUE(log.open().damage.empty());
  EXPECT_EQ(log.history().last(), Zxid::make(3, 7));
  EXPECT_FALSE(log.knows_committed(log.history().base()));
}

TEST_F(HistoryFilesTest, WhatIsReadIsAllOfTheLogAndChangesNothing) {
  write(Zxid::make(3, 7));
  Log log(log_disk_, {});
  ASSERT_TRUE(log.open().damage.empty());
  ASSERT_TRUE(log.write({{RecordType::kTxn, Zxid::make(3, 8), 0, create(Zxid::make(3, 8), "/b")},
                         {RecordType::kTxn, Zxid::make(3, 9), 0, create(Zxid::make(3, 9), "/c")}},
                        Zxid::make(3, 7))
                  .ok());
  // A synchronisation that did not end.
  ASSERT_TRUE(log.write({{RecordType::kBeginSync, Zxid::make(3, 8), 1, nullptr}}, Zxid{}).ok());
  std::unique_ptr<File> file;
  std::string before, after;
  std::string name = log_disk_.list().front();
  ASSERT_TRUE(log_disk_.open(name, false, file).ok());
  ASSERT_TRUE(file->read_at(0, file->size(), before).ok());
  StatusOr<WholeHistory> history = read_history(log_disk_, snapshot_disk_);
  ASSERT_TRUE(history.ok()) << history.why();
  EXPECT_EQ(history->tree->last_zxid(), Zxid::make(3, 9));
  EXPECT_NE(history->tree->find("/c"), nullptr);
  ASSERT_TRUE(file->read_at(0, file->size(), after).ok());
  EXPECT_EQ(before, after);
}

TEST_F(HistoryFilesTest, TheTailCanStayApart) {
  write(Zxid::make(3, 7));
  Log log(log_disk_, {});
  ASSERT_TRUE(log.open().damage.empty());
  std::string large(9u << 20, 'x');
  auto write_large = [&](uint32_t counter) {
    tree::Txn txn;
    txn.header = {tree::SessionId{1}, 1, Zxid::make(3, counter), 1'000, tree::OpCode::kSetData};
    txn.body = tree::SetDataTxn{"/a", large, static_cast<int32_t>(counter)};
    std::string bytes;
    tree::encode_txn(txn, bytes);
    return log.write({{RecordType::kTxn, Zxid::make(3, counter), 0, make_payload(bytes)}}, Zxid{})
        .ok();
  };
  for (uint32_t counter = 8; counter <= 15; ++counter) {
    ASSERT_TRUE(write_large(counter));
    StatusOr<WholeHistory> history = read_history(log_disk_, snapshot_disk_, {}, Tail::kApart);
    ASSERT_TRUE(history.ok()) << history.why();
    ASSERT_FALSE(history->tail.empty());
    EXPECT_EQ(history->tail.back().zxid, Zxid::make(3, counter));
    EXPECT_EQ(history->tail.front().zxid.value, history->tree->last_zxid().value + 1);
    // At least 16 MiB, and no more than memory has place for.
    size_t count = history->tail.size();
    EXPECT_GE(count, std::min<size_t>(counter - 7, 2));
    EXPECT_LE(count, 4u);
  }
}

TEST_F(HistoryFilesTest, ANodeWithoutItsSnapshotHasNoWholeHistory) {
  write(Zxid::make(3, 7));
  SnapshotStore(snapshot_disk_).remove(Zxid::make(3, 7));
  EXPECT_EQ(read_history(log_disk_, snapshot_disk_).why(),
            "there is no snapshot at or after 0x300000007, where the log begins");
}

TEST_F(HistoryFilesTest, ANewNodeHasAnEmptyTree) {
  StatusOr<WholeHistory> history = read_history(log_disk_, snapshot_disk_);
  ASSERT_TRUE(history.ok());
  EXPECT_EQ(history->tree->last_zxid(), Zxid{});
  EXPECT_EQ(history->tree->node_count(), 4u);
}

}  // namespace
}  // namespace zabfs::consensus
