#include "tree/path.h"

#include <gtest/gtest.h>

namespace zabfs::tree {
namespace {

TEST(Path, FollowsZooKeepersRules) {
  for (const char* good : {"/", "/a", "/a/b", "/a b", "/\xc3\xa4", "/...", "/@"}) {
    EXPECT_TRUE(is_valid_path(good)) << good;
  }
  for (const char* bad : {"", "a", "/a/", "//", "/a//b", "/.", "/a/..", "/a\x01", "/a\x7f",
                          "/\xc2\x80", "/\xee\x80\x80", "/\xf0\x9f\x98\x80", "/\xff", "/\xc3"}) {
    EXPECT_FALSE(is_valid_path(bad)) << bad;
  }
}

TEST(Path, SplitsAndJoins) {
  EXPECT_EQ(parent_path("/a/b"), "/a");
  EXPECT_EQ(parent_path("/a"), "/");
  EXPECT_EQ(base_name("/a/b"), "b");
  EXPECT_EQ(join_path("/", "a"), "/a");
  EXPECT_EQ(join_path("/a", "b"), "/a/b");
  EXPECT_TRUE(is_within("/a/b", "/a"));
  EXPECT_TRUE(is_within("/a", "/a"));
  EXPECT_FALSE(is_within("/ab", "/a"));
  EXPECT_TRUE(is_within("/x", "/"));
}

}  // namespace
}  // namespace zabfs::tree
