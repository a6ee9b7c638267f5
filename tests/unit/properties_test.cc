#include "fsd/config/properties.h"

#include <gtest/gtest.h>

#include <sstream>

namespace zabfs::fsd {
namespace {

// LINE:KEY=VALUE of each, with spaces between.
std::string read(const std::string& text) {
  std::istringstream in(text);
  std::string all;
  for (const Property& property : parse_properties(in, "zoo.cfg")) {
    EXPECT_EQ(property.file, "zoo.cfg");
    all += (all.empty() ? "" : " ") + std::to_string(property.line) + ":" + property.key + "=" +
           property.value;
  }
  return all;
}

TEST(Properties, AreKeysAndValuesWithTheirLines) {
  EXPECT_EQ(read("a=1\nb:2\n\n  c = 3 \r\nd"), "1:a=1 2:b=2 4:c=3 5:d=");
  EXPECT_EQ(read(""), "");
}

TEST(Properties, OnlyTheFirstSeparatorCounts) {
  EXPECT_EQ(read("server.1=a:1:2\n"), "1:server.1=a:1:2");
  EXPECT_EQ(read("super:me=x\n"), "1:super=me=x");
}

TEST(Properties, CommentsAreLinesOfTheirOwn) {
  EXPECT_EQ(read("# a=1\n ! b=2\nc=3 # no comment\n"), "3:c=3 # no comment");
}

TEST(Properties, ABackslashContinuesALine) {
  EXPECT_EQ(read("a=1,\\\n  2,\\\n  3\nb=4\n"), "1:a=1,2,3 4:b=4");
  EXPECT_EQ(read("a=1\\\n#2\n"), "1:a=1#2");
}

// As for Java. A server's line that was dropped would change what a quorum is.
TEST(Properties, ALineThatNoneContinuesCounts) {
  EXPECT_EQ(read("a=1\nserver.3=c:1:2 \\"), "1:a=1 2:server.3=c:1:2");
  EXPECT_EQ(read("a=1\n\\"), "1:a=1");
}

TEST(Properties, AKeyMayComeTwice) { EXPECT_EQ(read("a=1\na=2\n"), "1:a=1 2:a=2"); }

TEST(Properties, CommasSeparate) {
  EXPECT_EQ(comma_separated(" a, b ,c"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(comma_separated("").empty());
}

}  // namespace
}  // namespace zabfs::fsd
