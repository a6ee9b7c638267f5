#include <gtest/gtest.h>

#include <string>

#include "fsd/history/access.h"
#include "tree/txn.h"

namespace zabfs::fsd {
namespace {

constexpr uint32_t kOwner = 1'000, kOther = 2'000;

class PastAccessTest : public testing::Test {
 protected:
  static void make(tree::Tree& tree, const std::string& path, uint32_t mode,
                   tree::Kind kind = tree::Kind::kDirectory) {
    tree::Txn txn;
    txn.header.type = tree::OpCode::kCreate;
    txn.header.zxid = tree.last_zxid().next();
    txn.body = tree::CreateTxn{path, "", acl_for_new(kind, mode, kOwner, kOwner), false, -1, 0};
    tree.apply(txn, nullptr);
  }
  static void change(tree::Tree& tree, const std::string& path, uint32_t mode,
                     tree::Kind kind = tree::Kind::kDirectory) {
    tree::Txn txn;
    txn.header.type = tree::OpCode::kSetAcl;
    txn.header.zxid = tree.last_zxid().next();
    txn.body = tree::SetAclTxn{path, acl_for_new(kind, mode, kOwner, kOwner), 1};
    tree.apply(txn, nullptr);
  }
  static void remove(tree::Tree& tree, const std::string& path) {
    tree::Txn txn;
    txn.header.type = tree::OpCode::kDelete;
    txn.header.zxid = tree.last_zxid().next();
    txn.body = tree::DeleteTxn{path};
    tree.apply(txn, nullptr);
  }
  static Caller caller(uint32_t uid) { return Caller{{uid, {uid}}, uid}; }
  static FileVersion version_of(const tree::Tree& tree, const std::string& path) {
    FileVersion version;
    version.what = What::kChanged;
    version.view = view_of(tree, *tree.find(path), path, {});
    version.above = above_of(tree, path, {});
    return version;
  }
  bool reads(const FileVersion& version, uint32_t uid) {
    return may_read(version, tree_, "/d/f", caller(uid), {});
  }
  void SetUp() override {
    change(tree_, "/", 0755);
    make(tree_, "/d", 0755);
    make(tree_, "/d/f", 0644, tree::Kind::kFile);
  }
  tree::Tree tree_;
};

TEST_F(PastAccessTest, WhoMayReadItNowAndCouldThen) {
  FileVersion version = version_of(tree_, "/d/f");
  EXPECT_TRUE(reads(version, kOther));
  change(tree_, "/d/f", 0600, tree::Kind::kFile);
  EXPECT_FALSE(reads(version, kOther));
  EXPECT_TRUE(reads(version, kOwner));
  EXPECT_TRUE(reads(version, 0));
  FileVersion closed = version_of(tree_, "/d/f");
  change(tree_, "/d/f", 0644, tree::Kind::kFile);
  EXPECT_TRUE(reads(version, kOther));
  EXPECT_FALSE(reads(closed, kOther));
}

TEST_F(PastAccessTest, TheDirectoriesAboveCountThenAndNow) {
  FileVersion version = version_of(tree_, "/d/f");
  change(tree_, "/d", 0700);
  EXPECT_FALSE(reads(version, kOther));
  FileVersion closed = version_of(tree_, "/d/f");
  change(tree_, "/d", 0755);
  EXPECT_TRUE(reads(version, kOther));
  EXPECT_FALSE(reads(closed, kOther));
  change(tree_, "/", 0700);
  EXPECT_FALSE(reads(version, kOther));
}

TEST_F(PastAccessTest, WhatWasRemovedIsAsItsDirectory) {
  FileVersion version = version_of(tree_, "/d/f");
  remove(tree_, "/d/f");
  EXPECT_TRUE(reads(version, kOther));
  change(tree_, "/d", 0711);  // may be entered, and not listed
  EXPECT_FALSE(reads(version, kOther));
  EXPECT_TRUE(reads(version, kOwner));
  change(tree_, "/d", 0755);
  make(tree_, "/d/f", 0600, tree::Kind::kFile);  // another one
  EXPECT_FALSE(reads(version, kOther));
}

TEST_F(PastAccessTest, WhatCouldNotBeListedThenIsNotFoundNowThatItIsGone) {
  change(tree_, "/d", 0711);
  FileVersion version = version_of(tree_, "/d/f");
  EXPECT_TRUE(reads(version, kOther));  // by its name, as then
  change(tree_, "/d", 0755);
  remove(tree_, "/d/f");
  EXPECT_FALSE(reads(version, kOther));
  EXPECT_TRUE(reads(version, kOwner));
}

TEST_F(PastAccessTest, BelowADirectoryThatIsGoneTheLastOneThatIsThereCounts) {
  EXPECT_TRUE(may_read_now(tree_, "/d/gone/deep/f", caller(kOther), {}));
  change(tree_, "/d", 0711);
  EXPECT_FALSE(may_reach_now(tree_, "/d/gone/deep/f", caller(kOther), {}));
  EXPECT_TRUE(may_reach_now(tree_, "/d/f", caller(kOther), {}));
  EXPECT_TRUE(may_reach_now(tree_, "/d/gone/deep/f", caller(kOwner), {}));
  EXPECT_TRUE(may_read_now(tree_, "/", caller(kOther), {}));
}

TEST_F(PastAccessTest, OfWhatIsGoneNothingIsKnownToWhoMayNotListItsDirectory) {
  FileVersion version = version_of(tree_, "/d/f");
  change(tree_, "/d", 0711);
  EXPECT_TRUE(may_see(version.above, tree_, "/d/f", caller(kOther), {}));  // by its name
  remove(tree_, "/d/f");
  EXPECT_FALSE(may_see(version.above, tree_, "/d/f", caller(kOther), {}));
  EXPECT_TRUE(may_see(version.above, tree_, "/d/f", caller(kOwner), {}));
}

}  // namespace
}  // namespace zabfs::fsd
