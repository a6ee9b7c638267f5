#include <gtest/gtest.h>

#include "consensus/crc32c.h"
#include "consensus/epoch_store.h"
#include "consensus/log_format.h"
#include "consensus/messages.h"
#include "consensus/snapshot_store.h"
#include "sim/sim_disk.h"
#include "tree/snapshot.h"
#include "unit/put_snapshot.h"

namespace zabfs::consensus {
namespace {

TEST(Crc32c, HasTheKnownValue) {
  EXPECT_EQ(crc32c(0, "123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(crc32c(0, "1234"), "56789"), 0xe3069283u);
}

TEST(EpochStore, KeepsTheEnsembleUntilAnotherIsSaved) {
  sim::SimDisk disk(1);
  EpochStore store(disk);
  static_cast<void>(store.open());
  std::string secret(kSecretBytes, 's');
  EXPECT_TRUE(store.save({1, true, 7, secret}).ok());
  EXPECT_TRUE(store.save({2, false}).ok());
  EpochStore again(disk);
  EXPECT_EQ(again.open().state, EpochStore::State::kIntact);
  EXPECT_EQ(again.promise().ensemble, 7);
  EXPECT_EQ(again.promise().secret, secret);
  EXPECT_FALSE(again.promise().votes);
}

// As an earlier zabfsd wrote it.
TEST(EpochStore, ARecordWithoutASecretIsOne) {
  std::string record(36, '\0');
  log_format::put(&record[0], uint64_t{0x434F50454642415A});
  log_format::put(&record[8], uint64_t{3});
  log_format::put(&record[16], uint32_t{5});
  log_format::put(&record[20], uint32_t{1});
  log_format::put(&record[24], int64_t{77});
  log_format::put(&record[32], crc32c(0, std::string_view(record).substr(0, 32)));
  sim::SimDisk disk(1);
  for (const char* name : {"accepted.0", "accepted.1"}) {
    std::unique_ptr<File> file;
    ASSERT_TRUE(disk.open(name, true, file).ok());
    ASSERT_TRUE(file->write_at(0, record).ok());
  }
  EpochStore store(disk);
  EpochStore::Opened opened = store.open();
  EXPECT_EQ(opened.state, EpochStore::State::kIntact);
  EXPECT_EQ(opened.problem, "");
  EXPECT_EQ(store.promise().accepted_epoch, 5u);
  EXPECT_EQ(store.promise().ensemble, 77);
  EXPECT_EQ(store.promise().secret, "");
  std::string secret(kSecretBytes, 's');
  EXPECT_TRUE(store.save({6, true, std::nullopt, secret}).ok());
  EpochStore again(disk);
  EXPECT_EQ(again.open().state, EpochStore::State::kIntact);
  EXPECT_EQ(again.promise().ensemble, 77);
  EXPECT_EQ(again.promise().secret, secret);
}

TEST(EpochStore, KeepsTheLastPromiseThroughCrashes) {
  for (uint64_t operation = 1; operation < 30; ++operation) {
    sim::SimDisk disk(operation);
    uint32_t saved = 0;
    disk.crash_in(operation);
    try {
      EpochStore store(disk);
      EXPECT_EQ(store.open().state, EpochStore::State::kNew);
      for (uint32_t epoch = 1; epoch <= 4; ++epoch) {
        EXPECT_TRUE(store.save({epoch, true}).ok());
        saved = epoch;
      }
    } catch (const sim::CrashNow&) {
    }
    disk.crash();
    EpochStore store(disk);
    EpochStore::State state = store.open().state;
    EXPECT_EQ(state == EpochStore::State::kIntact || saved == 0, true) << operation;
    EXPECT_GE(store.promise().accepted_epoch, saved) << operation;
    EXPECT_LE(store.promise().accepted_epoch, saved + 1) << operation;
  }
}

TEST(EpochStore, OneRottenCopyNeverHidesAPromise) {
  for (const char* rotten : {"accepted.0", "accepted.1"}) {
    sim::SimDisk disk(1);
    EpochStore store(disk);
    static_cast<void>(store.open());
    for (uint32_t epoch : {3u, 7u}) ASSERT_TRUE(store.save({epoch, true}).ok());
    disk.rot(rotten, 17);
    EpochStore again(disk);
    EpochStore::Opened opened = again.open();
    EXPECT_EQ(opened.state, EpochStore::State::kIntact);
    EXPECT_NE(opened.problem.find(rotten), std::string::npos);
    EXPECT_EQ(again.promise().accepted_epoch, 7u);
    disk.rot("accepted.0", 3);
    disk.rot("accepted.1", 3);
    EXPECT_EQ(EpochStore(disk).open().state, EpochStore::State::kLost);
  }
}

TEST(EpochStore, AFirstSaveThatACrashStoppedHadPromisedNothing) {
  sim::SimDisk disk(1);
  std::unique_ptr<File> first, second;
  ASSERT_TRUE(disk.open("accepted.0", true, first).ok());
  ASSERT_TRUE(first->write_at(0, std::string(36, 'x')).ok());  // and it rotted
  ASSERT_TRUE(disk.open("accepted.1", true, second).ok());
  ASSERT_TRUE(second->write_at(0, std::string(10, 'x')).ok());
  EXPECT_EQ(EpochStore(disk).open().state, EpochStore::State::kNew);
  ASSERT_TRUE(second->write_at(0, std::string(36, 'x')).ok());
  EXPECT_EQ(EpochStore(disk).open().state, EpochStore::State::kLost);
}

TEST(EpochStore, NeverTakesAPromiseBack) {
  sim::SimDisk disk(1);
  EpochStore store(disk);
  ASSERT_TRUE(store.save({5, false}).ok());
  ASSERT_TRUE(store.save({2, true}).ok());
  EXPECT_EQ(store.promise().accepted_epoch, 5u);
}

class SnapshotStoreTest : public testing::Test {
 protected:
  DiskStatus write(tree::Tree& tree) { return put_snapshot(store_, tree::Zxid{7}, tree, 64); }
  sim::SimDisk disk_{1};
  SnapshotStore store_{disk_};
};

TEST_F(SnapshotStoreTest, ComesBack) {
  tree::Tree tree;
  ASSERT_TRUE(write(tree).ok());
  disk_.crash();
  EXPECT_EQ(store_.list(), std::vector<tree::Zxid>{tree::Zxid{7}});
  StatusOr<std::unique_ptr<tree::Tree>> found = store_.load(tree::Zxid{7});
  ASSERT_TRUE(found.ok()) << found.why();
  const std::unique_ptr<tree::Tree>& loaded = *found;
  EXPECT_EQ(loaded->digest(), tree.digest());
  EXPECT_EQ(loaded->last_zxid(), tree::Zxid{7});
}

// Files of an earlier zabfs hold one that was computed otherwise.
TEST_F(SnapshotStoreTest, TheDigestIsComputedFromTheTree) {
  tree::Tree tree;
  ASSERT_TRUE(write(tree).ok());
  std::unique_ptr<File> file;
  ASSERT_TRUE(disk_.open("snapshot.0000000000000007", false, file).ok());
  std::string header;
  ASSERT_TRUE(file->read_at(0, 40, header).ok());
  log_format::put(&header[24], tree.digest() + 1);
  log_format::put(&header[12], crc32c(0, std::string_view(header).substr(16)));
  ASSERT_TRUE(file->write_at(0, header).ok());
  StatusOr<std::unique_ptr<tree::Tree>> found = store_.load(tree::Zxid{7});
  ASSERT_TRUE(found.ok()) << found.why();
  EXPECT_EQ((*found)->digest(), tree.digest());
}

TEST_F(SnapshotStoreTest, DamageAnywhereIsNoticed) {
  tree::Tree tree;
  ASSERT_TRUE(write(tree).ok());
  std::unique_ptr<File> file;
  ASSERT_TRUE(disk_.open("snapshot.0000000000000007", false, file).ok());
  std::string bytes;
  ASSERT_TRUE(file->read_at(0, file->size(), bytes).ok());
  for (size_t at = 0; at < bytes.size(); ++at) {
    if (at >= 32 && at < 40) continue;  // reserved, covered by the header's sum below
    ASSERT_TRUE(file->write_at(at, std::string(1, static_cast<char>(bytes[at] ^ 1))).ok());
    EXPECT_FALSE(store_.load(tree::Zxid{7}).ok()) << at;
    ASSERT_TRUE(file->write_at(at, bytes.substr(at, 1)).ok());
  }
}

TEST_F(SnapshotStoreTest, AnUnfinishedOneHasNoName) {
  tree::Tree tree;
  disk_.crash_in(3);
  EXPECT_THROW(static_cast<void>(write(tree)), sim::CrashNow);
  disk_.crash();
  EXPECT_TRUE(store_.list().empty());
}

}  // namespace
}  // namespace zabfs::consensus
