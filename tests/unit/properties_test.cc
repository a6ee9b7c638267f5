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

TEST(Properties, ASpaceSeparatesTooAndEscapedOnesDoNot) {
  EXPECT_EQ(read("a 1\nb\t=\t2\nc : 3\nd  4 = 5\n"), "1:a=1 2:b=2 3:c=3 4:d=4 = 5");
  EXPECT_EQ(read("a\\ b=1\nc\\:d=2\nc\\=d:3\n"), "1:a b=1 2:c:d=2 3:c=d=3");
}

TEST(Properties, EscapesAreThoseOfJava) {
  EXPECT_EQ(read("server.1=a\\:1\\:2\n"), "1:server.1=a:1:2");
  EXPECT_EQ(read("a=\\\\x\\q\\u0041\\u00e4\\u20AC\n"), "1:a=\\xqA\xC3\xA4\xE2\x82\xAC");
  EXPECT_EQ(read("a=x\\ty\n"), "1:a=x\ty");
  EXPECT_EQ(read("a=\\u12\nb=\\uzzzz\n"), "1:a=u12 2:b=uzzzz");  // no escape of a character
}

TEST(Properties, AnEvenNumberOfBackslashesContinuesNothing) {
  EXPECT_EQ(read("a=1\\\\\nb=2\n"), "1:a=1\\ 2:b=2");
  EXPECT_EQ(read("a=1\\\\\\\n2\n"), "1:a=1\\2");
}

TEST(Properties, LinesEndWithAnyOfThreeAndAByteOrderMarkIsNoCharacter) {
  EXPECT_EQ(read("\xEF\xBB\xBF"
                 "a=1\rb=2\r\nc=3"),
            "1:a=1 2:b=2 3:c=3");
  EXPECT_EQ(read("a=1,\\\r\n  2\r\nb=3"), "1:a=1,2 3:b=3");
}

TEST(Properties, AKeyMayComeTwice) { EXPECT_EQ(read("a=1\na=2\n"), "1:a=1 2:a=2"); }

TEST(Properties, CommasSeparate) {
  EXPECT_EQ(comma_separated(" a, b ,c"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(comma_separated("").empty());
}

}  // namespace
}  // namespace zabfs::fsd
