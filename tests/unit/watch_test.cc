#include "fsd/recipes/watch.h"

#include <gtest/gtest.h>

#include <set>

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
  void create(tree::Tree& tree, std::string_view path, int64_t zxid,
              const tree::AclList& acl = tree::open_acl()) {
    tree::Txn txn;
    txn.header.type = tree::OpCode::kCreate;
    txn.header.zxid = Zxid{zxid};
    txn.body = tree::CreateTxn{path, "", acl, false, -1, 0};
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

TEST_F(WatchTest, DoesNotTellOfContenders) {
  create(tree_, "/d", 1);
  Watch watch(tree_, "/d");
  lines(watch);
  const char* contender = "/d/_c_6f1c7c6a-0d4b-4a57-8a3c-0a4a7a1c8e11-lock-0000000001";
  watch.published(tree_, {{ChangeType::kCreated, contender, Zxid{2}},
                          {ChangeType::kDeleted, contender, Zxid{3}},
                          {ChangeType::kCreated, "/d/file", Zxid{4}}});
  EXPECT_EQ(lines(watch), "0x4 created file\n");
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

// A reader that may list what `closed_` doesn't name.
class ReaderTest : public WatchTest {
 protected:
  NodeTest may_list() {
    return [this](const tree::ZNode&, const std::string& path) { return !closed_.contains(path); };
  }
  std::set<std::string> closed_;
};

TEST_F(ReaderTest, HearsOfNothingBelowAClosedDirectory) {
  for (const char* path : {"/d", "/d/a", "/d/a/b", "/d/a/b/c"}) create(tree_, path, 1);
  closed_ = {"/d/a"};
  Watch watch(tree_, "/d", true, may_list());
  lines(watch);
  EXPECT_FALSE(watch.published(tree_, {{ChangeType::kDataChanged, "/d/a/b", Zxid{2}},
                                       {ChangeType::kAclChanged, "/d/a/b/c", Zxid{3}},
                                       {ChangeType::kCreated, "/d/a/new", Zxid{4}},
                                       {ChangeType::kDeleted, "/d/a/new", Zxid{5}}}));
  EXPECT_FALSE(watch.has_line());
  watch.published(tree_, {{ChangeType::kDataChanged, "/d/a", Zxid{6}}});
  EXPECT_EQ(lines(watch), "0x6 changed a\n");
  watch.tree_replaced(tree_);
  EXPECT_EQ(lines(watch), "0x1 resync .\n");
}

TEST_F(ReaderTest, HearsAgainOnceItIsOpened) {
  for (const char* path : {"/d", "/d/a", "/d/a/b"}) create(tree_, path, 1);
  closed_ = {"/d/a"};
  Watch watch(tree_, "/d", true, may_list());
  lines(watch);
  closed_ = {};
  watch.published(tree_, {{ChangeType::kAclChanged, "/d/a", Zxid{2}},
                          {ChangeType::kDeleted, "/d/a/b", Zxid{3}}});
  EXPECT_EQ(lines(watch), "0x2 acl a\n0x3 deleted a/b\n");
  closed_ = {"/d/a"};
  watch.published(tree_, {{ChangeType::kAclChanged, "/d/a", Zxid{4}},
                          {ChangeType::kCreated, "/d/a/c", Zxid{5}}});
  EXPECT_EQ(lines(watch), "0x4 acl a\n");
}

// What goes as a whole is told of as long as its directories were open when they went.
TEST_F(ReaderTest, HearsOfASubtreeThatGoes) {
  create(tree_, "/d", 1);
  for (const char* path : {"/d/a", "/d/a/b", "/d/s", "/d/s/t"}) create(tree_, path, 1);
  closed_ = {"/d/s"};
  Watch watch(tree_, "/d", true, may_list());
  lines(watch);
  tree::Tree after;
  create(after, "/d", 1);
  watch.published(after, {{ChangeType::kDeleted, "/d/a/b", Zxid{2}},
                          {ChangeType::kDeleted, "/d/a", Zxid{3}},
                          {ChangeType::kDeleted, "/d/s/t", Zxid{4}},
                          {ChangeType::kDeleted, "/d/s", Zxid{5}}});
  EXPECT_EQ(lines(watch), "0x2 deleted a/b\n0x3 deleted a\n0x5 deleted s\n");
}

}  // namespace
}  // namespace zabfs::fsd
