#include "fsd/recipes/watch.h"

#include <gtest/gtest.h>

namespace zabfs::fsd {
namespace {

using tree::Change;
using tree::ChangeType;
using tree::Zxid;

class WatchTest : public testing::Test {
 protected:
  std::string lines(Watch& watch) {
    std::string text;
    while (watch.has_line()) text += watch.read(1'000);
    return text;
  }
  void create(tree::Tree& tree, std::string_view path, int64_t zxid) {
    tree::Txn txn;
    txn.header.type = tree::OpCode::kCreate;
    txn.header.zxid = Zxid{zxid};
    txn.body = tree::CreateTxn{path, "", tree::open_acl(), false, -1, 0};
    tree.apply(txn, nullptr);
  }
  tree::Tree tree_;
};

TEST_F(WatchTest, BeginsWithTheZxidItStartsFrom) {
  create(tree_, "/d", 5);
  Watch watch(tree_, "/d");
  EXPECT_EQ(lines(watch), "0x5\n");
}

TEST_F(WatchTest, TellsOfTheDirectoryAndItsChildrenOnly) {
  create(tree_, "/d", 1);
  Watch watch(tree_, "/d");
  lines(watch);
  EXPECT_TRUE(watch.published(tree_, {{ChangeType::kCreated, "/d/a", Zxid{2}},
                                      {ChangeType::kDataChanged, "/d", Zxid{3}},
                                      {ChangeType::kCreated, "/d/a/deep", Zxid{4}},
                                      {ChangeType::kCreated, "/d/@", Zxid{5}},
                                      {ChangeType::kAclChanged, "/d/a", Zxid{6}},
                                      {ChangeType::kDeleted, "/other", Zxid{7}}}));
  EXPECT_EQ(lines(watch), "0x2 created a\n0x3 changed .\n0x6 acl a\n");
}

TEST_F(WatchTest, ASubtreeIsToldOfByRelativePath) {
  create(tree_, "/d", 1);
  create(tree_, "/d/a", 2);
  Watch watch(tree_, "/d", true);
  lines(watch);
  watch.published(tree_, {{ChangeType::kCreated, "/d/a/b", Zxid{3}},
                          {ChangeType::kDataChanged, "/d/a", Zxid{4}},
                          {ChangeType::kCreated, "/d/a/@/next", Zxid{5}},
                          {ChangeType::kCreated, "/dd", Zxid{6}},
                          {ChangeType::kAclChanged, "/d", Zxid{7}}});
  EXPECT_EQ(lines(watch), "0x3 created a/b\n0x4 changed a\n0x7 acl .\n");
  Watch top(tree_, "/", true);
  lines(top);
  top.published(tree_, {{ChangeType::kCreated, "/d/a/b", Zxid{8}}});
  EXPECT_EQ(lines(top), "0x8 created d/a/b\n");
}

TEST_F(WatchTest, OneLineAZxidAndName) {
  create(tree_, "/d", 1);
  Watch watch(tree_, "/d");
  lines(watch);
  watch.published(
      tree_, {{ChangeType::kDeleted, "/d/a", Zxid{2}}, {ChangeType::kCreated, "/d/a", Zxid{2}}});
  EXPECT_EQ(lines(watch), "0x2 deleted a\n");
}

TEST_F(WatchTest, AReadGivesOneLineOrItsRest) {
  Watch watch(tree_, "/");
  watch.published(tree_, {{ChangeType::kCreated, "/abc", Zxid{1}}});
  EXPECT_EQ(watch.read(100), "0x0\n");
  EXPECT_EQ(watch.read(5), "0x1 c");
  EXPECT_EQ(watch.read(100), "reated abc\n");
  EXPECT_FALSE(watch.has_line());
}

TEST_F(WatchTest, EndsWithTheDirectory) {
  create(tree_, "/d", 1);
  Watch watch(tree_, "/d");
  lines(watch);
  watch.published(tree_, {{ChangeType::kDeleted, "/d", Zxid{2}}});
  EXPECT_FALSE(watch.at_end());
  EXPECT_EQ(lines(watch), "0x2 deleted .\n");
  EXPECT_TRUE(watch.at_end());
}

TEST_F(WatchTest, AfterASnapshotItTellsTheDifference) {
  create(tree_, "/stays", 1);
  create(tree_, "/goes", 2);
  Watch watch(tree_, "/");
  lines(watch);
  tree::Tree other;
  create(other, "/stays", 1);
  create(other, "/comes", 9);
  EXPECT_TRUE(watch.tree_replaced(other));
  EXPECT_EQ(lines(watch), "0x9 resync .\n0x9 created comes\n0x9 deleted goes\n");
}

}  // namespace
}  // namespace zabfs::fsd
