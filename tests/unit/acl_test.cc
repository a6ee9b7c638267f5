#include "tree/acl.h"

#include <gtest/gtest.h>

namespace zabfs::tree {
namespace {

TEST(Acl, WorldIpAndDigestEntriesMatch) {
  AclList acl{{kPermRead, {"ip", "192.168.0.0/16"}}, {kPermWrite, {"digest", "bob:hash"}}};
  EXPECT_TRUE(acl_allows(acl, kPermRead, {{"ip", "192.168.3.4"}}));
  EXPECT_FALSE(acl_allows(acl, kPermRead, {{"ip", "192.169.3.4"}}));
  EXPECT_TRUE(acl_allows(acl, kPermWrite, {{"digest", "bob:hash"}}));
  EXPECT_FALSE(acl_allows(acl, kPermDelete, {{"digest", "bob:hash"}}));
  EXPECT_TRUE(acl_allows(acl, kPermDelete, superuser()));
  EXPECT_TRUE(acl_allows({}, kPermAdmin, {}));
}

TEST(Acl, FixDropsDuplicatesAndExpandsAuth) {
  Identities who{{"ip", "1.2.3.4"}, {"digest", "a:b"}};
  Result<AclList> fixed = fix_acl({{kPermAll, {"auth", ""}}, {kPermAll, {"digest", "a:b"}}}, who);
  ASSERT_TRUE(fixed.ok());
  EXPECT_EQ(*fixed, (AclList{{kPermAll, {"digest", "a:b"}}}));
  EXPECT_EQ(fix_acl({{kPermAll, {"auth", ""}}}, {{"ip", "1.2.3.4"}}).error(), Error::kInvalidAcl);
  EXPECT_EQ(fix_acl({}, who).error(), Error::kInvalidAcl);
  EXPECT_EQ(fix_acl({{1, {"digest", "nocolon"}}}, who).error(), Error::kInvalidAcl);
  EXPECT_EQ(fix_acl({{1, {"world", "someone"}}}, who).error(), Error::kInvalidAcl);
}

TEST(Acl, TextGoesBothWays) {
  AclList acl{{kPermAll, {"world", "anyone"}}, {kPermRead, {"digest", "u:p"}}};
  EXPECT_EQ(acl_text(acl), "world:anyone:cdrwa\ndigest:u:p:r\n");
  EXPECT_EQ(parse_acl_text(acl_text(acl)), acl);
  EXPECT_FALSE(parse_acl_text("world:anyone:x\n"));
  EXPECT_FALSE(parse_acl_text("nonsense\n"));
  EXPECT_FALSE(parse_acl_text(""));
}

TEST(Acl, TheTableKeepsOneCopyOfEach) {
  AclTable table;
  AclList acl{{kPermRead, {"world", "anyone"}}};
  EXPECT_EQ(table.intern(open_acl()), 0u);
  EXPECT_EQ(table.intern(acl), table.intern(acl));
  EXPECT_EQ(table.size(), 2u);
}

}  // namespace
}  // namespace zabfs::tree
