#include "tree/posix.h"

#include <gtest/gtest.h>

namespace zabfs::tree {
namespace {

TEST(Posix, TheEntryCarriesAllButOthersReadAndWrite) {
  PosixEntry posix{Kind::kDirectory, 02757, 10, 20, Time{1'600'000'000, 5}, 3};
  AclList acl = with_posix({}, posix);
  ASSERT_EQ(acl.size(), 2u);
  EXPECT_EQ(acl[0], (Acl{kPermRead | kPermWrite | kPermCreate | kPermDelete, {"world", "anyone"}}));
  EXPECT_EQ(acl[1], (Acl{0, {"digest", "zabfs-posix,d,2751,10,20,1600000000.000000005@3:x"}}));
  EXPECT_EQ(find_posix(acl), posix);
}

TEST(Posix, EveryKindHasItsLetter) {
  for (auto [kind, letter] : {std::pair(Kind::kFile, 'f'), std::pair(Kind::kDirectory, 'd'),
                              std::pair(Kind::kSymlink, 'l'), std::pair(Kind::kFifo, 'p'),
                              std::pair(Kind::kSocket, 's')}) {
    AclList acl = with_posix({}, PosixEntry{kind, 0600, 0, 0, {}, 0});
    ASSERT_EQ(acl.size(), 1u);
    EXPECT_EQ(acl[0].who.id, std::string("zabfs-posix,") + letter + ",600,0,0:x");
    EXPECT_EQ(find_posix(acl)->kind, kind);
  }
}

TEST(Posix, OthersFollowTheWorldEntryWhicheverChanged) {
  AclList acl = with_posix({}, PosixEntry{Kind::kFile, 0644, 0, 0, {}, 0});
  acl[0].perms = kPermWrite | kPermCreate | kPermDelete;
  EXPECT_EQ(find_posix(acl)->mode, 0642u);
  acl.erase(acl.begin());
  EXPECT_EQ(find_posix(acl)->mode, 0640u);
}

TEST(Posix, AgreeingWorldEntriesAreLeftAlone) {
  PosixEntry posix{Kind::kFile, 0666, 0, 0, {}, 0};
  EXPECT_EQ(with_posix(open_acl(), posix)[0].perms, kPermAll);
  posix.mode = 0644;  // taking w away takes ADMIN too: nobody gets in by the other door
  EXPECT_EQ(with_posix(open_acl(), posix)[0].perms, kPermRead);
  posix.mode = 0600;
  EXPECT_EQ(with_posix(open_acl(), posix).size(), 1u);
}

TEST(Posix, ForeignAndMalformedEntriesAreNotTaken) {
  EXPECT_FALSE(find_posix(open_acl()));
  for (const char* id : {"zabfs-posix,f:x", "zabfs-posix,q,644,0,0:x", "zabfs-posix,f,9,0,0:x",
                         "zabfs-posix,f,644,0,0,1.2:x", "zabfs-posix,f,644,0,0,1.-2@3:x",
                         "zabfs-posix,f,10644,0,0:x", "zabfs-posix,f,644,4294967295,0:x",
                         "zabfs-posix,f,644,0,4294967295:x", "zabfs-posix,f,644,0,0,1.2@3,4:x"}) {
    EXPECT_FALSE(find_posix({{0, {"digest", id}}})) << id;
    EXPECT_FALSE(is_valid_posix({{0, {"digest", id}}})) << id;
  }
  Acl good{0, {"digest", "zabfs-posix,f,7777,4294967294,0:x"}};
  EXPECT_TRUE(is_valid_posix({good}));
  EXPECT_FALSE(is_valid_posix({good, {0, {"digest", "zabfs-posix,f,644,1,1:x"}}}));
  // With permissions it would be somebody's credential.
  EXPECT_FALSE(find_posix({{kPermRead, {"digest", "zabfs-posix,f,644,0,0:x"}}}));
}

}  // namespace
}  // namespace zabfs::tree
