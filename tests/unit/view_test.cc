#include "fsd/view/view.h"

#include <gtest/gtest.h>

#include "fsd/view/contenders.h"
#include "fsd/view/control.h"

namespace zabfs::fsd {
namespace {

using tree::Kind;

class ViewTest : public testing::Test {
 protected:
  void create(std::string_view path, std::string_view data, const tree::AclList& acl,
              int64_t session = 0) {
    tree::Txn txn;
    txn.header.type = tree::OpCode::kCreate;
    txn.header.session = tree::SessionId{session};
    txn.header.zxid = zxid_ = zxid_.next();
    txn.header.time_ms = time_ms_;
    txn.body = tree::CreateTxn{path, data, acl, session != 0, -1, 0};
    tree_.apply(txn, nullptr);
  }
  View view(std::string_view path) {
    return view_of(tree_, *tree_.find(path), path, ViewOptions{100, 200});
  }
  tree::Tree tree_;
  tree::Zxid zxid_;
  int64_t time_ms_ = 1'500;
};

TEST_F(ViewTest, ClientsZnodesAreShownByWhatTheyHold) {
  create("/dir", "", tree::open_acl());
  create("/file", "x", tree::open_acl());
  create("/parent", "data", tree::open_acl());
  create("/parent/child", "", tree::open_acl());
  create("/eph", "", tree::open_acl(), 5);
  EXPECT_EQ(view("/dir").kind, Kind::kDirectory);
  EXPECT_EQ(view("/file").kind, Kind::kFile);
  EXPECT_EQ(view("/parent").kind, Kind::kDirectory);
  EXPECT_EQ(view("/eph").kind, Kind::kFile);
  EXPECT_EQ(view("/dir").mode, 0777u);
  EXPECT_EQ(view("/file").mode, 0666u);
  EXPECT_EQ(view("/file").uid, 100u);
}

TEST_F(ViewTest, WithoutAWorldEntryItIsRootsAlone) {
  create("/f", "x", {{tree::kPermAll, {"digest", "bob:hash"}}});
  EXPECT_EQ(view("/f").mode, 0600u);
  EXPECT_EQ(view("/f").uid, 0u);
}

TEST_F(ViewTest, ReadForAllMakesADirectoryEnterable) {
  create("/d", "", {{tree::kPermRead, {"world", "anyone"}}});
  EXPECT_EQ(view("/d").mode, 0555u);
}

TEST_F(ViewTest, MountedZnodesAreWhatTheyWereMadeAs) {
  create("/empty-file", "", acl_for_new(Kind::kFile, 0640, 7, 8));
  create("/link", "target", acl_for_new(Kind::kSymlink, 0777, 7, 8));
  View file = view("/empty-file");
  EXPECT_EQ(file.kind, Kind::kFile);
  EXPECT_EQ(file.mode, 0640u);
  EXPECT_EQ(file.uid, 7u);
  EXPECT_EQ(view("/link").kind, Kind::kSymlink);
  EXPECT_EQ(view("/link").size, 6u);
}

TEST_F(ViewTest, EntriesThatNoMountMakesAreNotBelieved) {
  tree::AclList acl{{tree::kPermRead, {"world", "anyone"}}, {}};
  int n = 0;
  for (const char* id : {"zabfs-posix,f,6755,4294967295,0:x", "zabfs-posix,f,6755,0,4294967295:x",
                         "zabfs-posix,b,6755,0,0:x", "zabfs-posix,f,106755,0,0:x"}) {
    acl[1] = {0, {"digest", id}};
    std::string path = "/" + std::to_string(n++);
    create(path, "x", acl);
    EXPECT_EQ(view(path).kind, Kind::kFile) << id;
    EXPECT_EQ(view(path).mode, 0444u) << id;
    EXPECT_EQ(view(path).uid, 100u) << id;
    EXPECT_EQ(view(path).gid, 200u) << id;
  }
  create("/long", std::string(4'096, 't'), acl_for_new(Kind::kSymlink, 0755, 7, 8));
  EXPECT_EQ(view("/long").kind, Kind::kFile);
  EXPECT_EQ(view("/long").mode, 0755u);
}

TEST_F(ViewTest, TimesSetHoldForTheirVersionOnly) {
  tree::PosixEntry posix{Kind::kFile, 0644, 0, 0, tree::Time{9, 8}, 0};
  create("/now", "", tree::with_posix({}, posix));
  posix.mtime_version = 3;
  create("/past", "", tree::with_posix({}, posix));
  EXPECT_EQ(view("/now").mtime, (tree::Time{9, 8}));
  EXPECT_EQ(view("/past").mtime.seconds, 1);
}

TEST_F(ViewTest, TimesOfADirectoryFollowItsEntriesAndItsAcl) {
  tree::AclList acl = acl_for_new(Kind::kDirectory, 0755, 7, 8);
  create("/d", "", acl);
  View made = view("/d");
  EXPECT_EQ(made.mtime, made.ctime);
  time_ms_ = 6'500;
  create("/d/entry", "", acl);
  View changed = view("/d");
  EXPECT_EQ(changed.mtime.seconds, 6);
  EXPECT_EQ(changed.ctime, changed.mtime);
  tree::Txn txn;
  txn.header = {{}, 0, zxid_.next(), 8'500, tree::OpCode::kSetAcl};
  txn.body = tree::SetAclTxn{"/d", acl, 1};
  tree_.apply(txn, nullptr);
  EXPECT_EQ(view("/d").mtime, changed.mtime);
  EXPECT_EQ(view("/d").ctime.seconds, 8);
}

TEST_F(ViewTest, NumbersFollowFromIdentity) {
  EXPECT_EQ(tree::inode_number(tree::Zxid{5}, "/a"), tree::inode_number(tree::Zxid{5}, "/a"));
  EXPECT_NE(tree::inode_number(tree::Zxid{5}, "/a"), tree::inode_number(tree::Zxid{6}, "/a"));
  EXPECT_NE(tree::inode_number(tree::Zxid{5}, "/a"), tree::inode_number(tree::Zxid{5}, "/b"));
  EXPECT_EQ(tree::inode_number(tree::Zxid{5}, "/"), 1u);
}

Caller caller(uid_t uid, const std::vector<gid_t>& groups) { return {{uid, groups}, groups[0]}; }

TEST_F(ViewTest, CallersAreWhatTheirFirstMatchingClassSays) {
  create("/f", "x", acl_for_new(Kind::kFile, 0046, 7, 8));
  View file = view("/f");
  EXPECT_FALSE(may(file, caller(7, {8}), kMayRead));  // the owner, whatever the groups
  EXPECT_TRUE(may(file, caller(9, {8}), kMayRead));
  EXPECT_TRUE(may(file, caller(9, {1, 2, 8}), kMayRead));
  EXPECT_FALSE(may(file, caller(9, {1, 2, 8}), kMayWrite));
  EXPECT_TRUE(may(file, caller(9, {1, 2}), kMayRead | kMayWrite));
  EXPECT_FALSE(may(file, caller(9, {1, 2}), kMaySearch));
  EXPECT_TRUE(may(file, caller(0, {0}), kMayRead | kMayWrite | kMaySearch));
}

TEST_F(ViewTest, EntriesAreRemovedByWhoMayWriteTheDirectoryAndOfStickyOnesByTheirOwners) {
  create("/d", "", acl_for_new(Kind::kDirectory, 0775, 7, 8));
  create("/t", "", acl_for_new(Kind::kDirectory, 01777, 7, 8));
  create("/f", "x", acl_for_new(Kind::kFile, 0600, 5, 8));
  View file = view("/f");
  EXPECT_EQ(may_remove(view("/d"), file, caller(9, {9, 8})), FileError::kOk);
  EXPECT_EQ(may_remove(view("/d"), file, caller(5, {9})), FileError::kNoAccess);
  EXPECT_EQ(may_remove(view("/t"), file, caller(9, {9, 8})), FileError::kNotPermitted);
  for (uid_t uid : {0u, 5u, 7u})
    EXPECT_EQ(may_remove(view("/t"), file, caller(uid, {9})), FileError::kOk);
}

TEST(Control, PeriodsHaveANumberAndAUnit) {
  EXPECT_EQ(period_ms("90s"), 90'000);
  EXPECT_EQ(period_ms("15m"), 900'000);
  EXPECT_EQ(period_ms("12h"), 43'200'000);
  EXPECT_EQ(period_ms("3650d"), int64_t{3650} * 86'400'000);
  for (const char* name : {"", "s", "1", "0s", "-1s", "+1s", "1x", "1.5h", "1hh", " 1h", "3651d",
                           "9223372036854775807d", "92233720368547758070s"}) {
    EXPECT_EQ(period_ms(name), 0) << name;
  }
}

TEST(Contenders, OnlyThoseThatAreNobodysOwnNamesAreUnlisted) {
  const char* uuid = "6f1c7c6a-0d4b-4a57-8a3c-0a4a7a1c8e11";
  EXPECT_TRUE(is_unlisted(std::string("_c_") + uuid + "-lock-0000000001", "anything"));
  EXPECT_TRUE(is_unlisted(std::string("_c_") + uuid + "-latch-0000000001", ""));
  EXPECT_TRUE(is_unlisted(std::string("_c_") + uuid + "-__READ__0000000001", ""));
  EXPECT_FALSE(is_unlisted("the-lock-of-the-door", ""));
  EXPECT_TRUE(is_unlisted(uuid, "1 4711 bash"));
  for (const char* data : {"", "10.0.0.1:8080", "1 2", "1 2 ", "{}", "1  bash", "a 1 b", "12"}) {
    EXPECT_FALSE(is_unlisted(uuid, data)) << data;
  }
}

}  // namespace
}  // namespace zabfs::fsd
