// Owner, group, mode and time of files that are open, as transcripts (DESIGN.md, "Reads and
// writes").
#include "unit/files_fixture.h"

namespace zabfs::fsd {
namespace {

TEST_F(FilesTest, ATimeThatIsSetBeforeTheCloseGoesWithTheData) {
  uint64_t handle = create("/f");
  write(handle, "text", 0);
  tree::PosixChange change;
  change.mtime = tree::Time{1'000, 5};
  EXPECT_TRUE(set(handle, change));
  EXPECT_EQ(close_handle(handle), "0");
  const tree::Tree& tree = replica_->tree();
  View shown = reader_.view(tree, *tree.find("/f"), "/f");
  EXPECT_EQ(shown.mtime.seconds, 1'000);
  EXPECT_EQ(shown.size, 4u);
}

// ---- owner, mode and time of a new file

// As cp -a and tar -x do it.
TEST_F(FilesTest, ACopyIsTwoCommits) {
  replies_->who = kRoot;
  size_t before = zxid();
  uint64_t handle = create("/f", O_WRONLY | O_EXCL);
  EXPECT_EQ(zxid(), before + 1);
  write(handle, "text", 0);
  tree::PosixChange time;
  time.mtime = tree::Time{1'000, 5};
  EXPECT_TRUE(set(handle, time));
  EXPECT_TRUE(set(handle, to_owner(1'001)));
  EXPECT_TRUE(set(handle, to_mode(0664)));
  EXPECT_EQ(shown("/f"), "664 1001 1000");
  EXPECT_EQ(everywhere("/f"), "644 0 -");
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/f"), "664 1001 1000");
  EXPECT_EQ(content("/f"), "text");
  EXPECT_EQ(zxid(), before + 3);  // ZooKeeper has no txn of an ACL and data
}

TEST_F(FilesTest, FsyncAndTheCommitThatNobodyAskedForTakeThemAlong) {
  uint64_t handle = create("/f");
  write(handle, "one", 0);
  EXPECT_TRUE(set(handle, to_mode(0664)));
  EXPECT_EQ(fsync(handle), "done 0");
  EXPECT_EQ(everywhere("/f"), "664 1000 -");
  write(handle, ", two", 3);
  EXPECT_TRUE(set(handle, to_mode(0666)));
  pass(800);
  EXPECT_EQ(everywhere("/f"), "666 1000 -");
  EXPECT_EQ(content("/f"), "one, two");
  EXPECT_FALSE(set(handle, to_mode(0777)));  // there is no data that it could go with
  EXPECT_EQ(everywhere("/f"), "777 1000 -");
}

TEST_F(FilesTest, AModeThatTakesRightsAwayIsCommittedAtOnceAndBeforeTheData) {
  uint64_t handle = create("/f");
  write(handle, "secret", 0);
  EXPECT_TRUE(set(handle, to_mode(0664)));
  EXPECT_FALSE(set(handle, to_mode(0600)));
  EXPECT_EQ(everywhere("/f"), "600 1000 -");
  EXPECT_EQ(shown("/f"), "600 1000 -");
  EXPECT_EQ(content("/f"), "");
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/f"), "600 1000 -");
  EXPECT_EQ(content("/f"), "secret");
}

TEST_F(FilesTest, WhatIsDeferredGoesAlongWithARename) {
  replies_->who = kRoot;
  uint64_t handle = create("/f");
  write(handle, "text", 0);
  tree::PosixChange change = to_owner(1'001);
  change.mode = 0664;
  change.mtime = tree::Time{1'000, 5};
  EXPECT_TRUE(set(handle, change));
  rename("/f", "/g");
  EXPECT_EQ(shown("/g"), "664 1001 1000");
  EXPECT_FALSE(nodes_.is_stable("/g"));  // the kernel is not to keep these attributes
  EXPECT_TRUE(nodes_.is_stable("/f"));
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/g"), "664 1001 1000");
  EXPECT_EQ(content("/g"), "text");
  EXPECT_TRUE(nodes_.is_stable("/g"));
}

TEST_F(FilesTest, WhatSomebodyElseSetsSinceStays) {
  replies_->who = kRoot;
  uint64_t handle = create("/f");
  write(handle, "text", 0);
  tree::PosixChange change = to_owner(1'001);
  change.mode = 0664;
  EXPECT_TRUE(set(handle, change));
  others_set_mode("/f", 0400);
  EXPECT_EQ(shown("/f"), "400 1001 -");
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/f"), "400 1001 -");
}

TEST_F(FilesTest, ACloseTellsThatTheyWereNotCommitted) {
  uint64_t handle = create("/f", O_WRONLY | O_EXCL);
  write(handle, "text", 0);
  EXPECT_TRUE(set(handle, to_mode(0664)));
  uint64_t other = open("/f", O_WRONLY);
  write(other, "other", 0);
  EXPECT_EQ(close_handle(other), "0");
  EXPECT_EQ(shown("/f"), "664 1000 -");
  EXPECT_EQ(everywhere("/f"), "644 1000 -");
  EXPECT_EQ(close_handle(handle), std::to_string(ESTALE));
  EXPECT_EQ(shown("/f"), "644 1000 -");
  EXPECT_EQ(content("/f"), "other");
}

// The kernel has two nodes of one file if a thread took its answer late.
TEST_F(FilesTest, TheyAreDeferredAndShownByWhateverNodeOfTheFile) {
  uint64_t handle = create("/f");
  write(handle, "text", 0);
  nodes_.set_aside(node_of(handle));
  uint64_t reader = open("/f", O_RDONLY);
  ASSERT_NE(node_of(reader), node_of(handle));
  EXPECT_TRUE(set(reader, to_mode(0664)));
  EXPECT_EQ(shown("/f"), "664 1000 -");
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/f"), "664 1000 -");
}

TEST_F(FilesTest, AFileThatIsRemovedKeepsThemForItsHandles) {
  uint64_t handle = create("/f");
  write(handle, "text", 0);
  EXPECT_TRUE(set(handle, to_mode(0664)));
  others_remove("/f");
  EXPECT_EQ(nodes_.find(node_of(handle))->last->st_mode, S_IFREG | 0664u);
  EXPECT_EQ(close_handle(handle), "0");
}

TEST_F(FilesTest, AWriteTakesADeferredSetuidAwayWithoutACommit) {
  uint64_t handle = create("/f");
  write(handle, "te", 0);
  EXPECT_TRUE(set(handle, to_mode(04755)));
  size_t before = zxid();
  write(handle, "xt", 2);
  EXPECT_EQ(shown("/f"), "755 1000 -");
  EXPECT_EQ(zxid(), before);
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/f"), "755 1000 -");
}

TEST_F(FilesTest, AWriteTakesACommittedSetuidAwayBeforeItIsAnswered) {
  uint64_t handle = create("/f");
  EXPECT_FALSE(set(handle, to_mode(04755)));
  Asked asked = begin_write(handle, "text", 0, O_WRONLY);
  settle();
  EXPECT_EQ(asked.answer(), "written 4");
  EXPECT_EQ(everywhere("/f"), "755 1000 -");
  EXPECT_EQ(content("/f"), "");
  EXPECT_TRUE(set(handle, to_mode(04755)));
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/f"), "4755 1000 -");
}

}  // namespace
}  // namespace zabfs::fsd
