#include "tree/acl.h"

#include <gtest/gtest.h>

#include "tree/digests.h"
#include "tree/identities.h"

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
  EXPECT_EQ(table.hold(open_acl()), 0u);
  EXPECT_EQ(table.hold(acl), table.hold(acl));
  EXPECT_EQ(table.size(), 2u);
}

TEST(Acl, TheTableForgetsWhatNobodyHolds) {
  AclTable table;
  AclList acl{{kPermRead, {"world", "anyone"}}}, other{{kPermWrite, {"world", "anyone"}}};
  AclTable::Number number = table.hold(acl);
  table.hold(acl);
  table.let_go(number);
  table.forget_unused();
  EXPECT_EQ(table.list(number), acl);
  table.let_go(number);
  EXPECT_EQ(table.list(number), acl);  // until it is forgotten
  EXPECT_EQ(table.size(), 1u);
  EXPECT_EQ(table.hold(acl), number);  // somebody came back in time
  table.forget_unused();
  EXPECT_EQ(table.list(number), acl);
  table.let_go(number);
  std::shared_ptr<const AclList> kept = table.shared(number);
  table.forget_unused();
  EXPECT_EQ(table.hold(other), number);  // room is used again
  EXPECT_EQ(*kept, acl);
  EXPECT_EQ(table.list(number), other);
  EXPECT_EQ(table.hold(open_acl()), 0u);
  table.let_go(0);
  table.let_go(0);
  EXPECT_EQ(table.list(0), open_acl());
}

TEST(Acl, AListHasAThousandEntriesAtTheMost) {
  AclList acl;
  for (int i = 0; i < 1'000; ++i) acl.push_back({kPermAll, {"digest", "a:" + std::to_string(i)}});
  EXPECT_TRUE(fix_acl(acl, {}).ok());
  acl.push_back({kPermAll, {"auth", ""}});
  EXPECT_EQ(fix_acl(acl, {{"digest", "a:b"}}).error(), Error::kInvalidAcl);
  acl[0] = {kPermRead, {"auth", ""}};
  acl.pop_back();
  EXPECT_TRUE(fix_acl(acl, {{"digest", "a:b"}}).ok());
  EXPECT_EQ(fix_acl(acl, {{"digest", "a:b"}, {"digest", "c:d"}}).error(), Error::kInvalidAcl);
}

TEST(Acl, IdentitiesAreKeptOnceEachAndWithinTheirBounds) {
  Identities all{{"ip", "1.2.3.4"}};
  for (size_t i = 1; i < kMaxIdentities; ++i) {
    EXPECT_TRUE(add_identities(all, {{"digest", std::to_string(i)}}));
    EXPECT_TRUE(add_identities(all, {{"digest", std::to_string(i)}, {"ip", "1.2.3.4"}}));
    EXPECT_EQ(all.size(), i + 1);
  }
  Identities full = all;
  EXPECT_FALSE(add_identities(all, {{"digest", "1"}, {"digest", "one too many"}}));
  EXPECT_EQ(all, full);
  EXPECT_TRUE(add_identities(all, {{"digest", "1"}}));

  Identities long_ones;
  EXPECT_TRUE(add_identities(long_ones, {{"x509", std::string(kMaxIdentityBytes - 4, 'x')}}));
  EXPECT_FALSE(add_identities(long_ones, {{"a", ""}}));
}

TEST(Acl, DigestsCanBeShownWithoutTheirSecret) {
  AclList acl{{kPermRead, {"digest", "bob:hash="}}, {kPermAll, {"ip", "1.2.3.4"}}};
  EXPECT_EQ(acl_text(without_digests(acl)), "digest:bob:x:r\nip:1.2.3.4:cdrwa\n");
}

}  // namespace
}  // namespace zabfs::tree
