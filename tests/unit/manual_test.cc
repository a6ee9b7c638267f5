#include <gtest/gtest.h>

#include "fsd/manual/page.h"
#include "fsd/suggestion.h"

namespace zabfs::fsd::manual {
namespace {

TEST(Blocks, AnEmptyLineEndsAParagraph) {
  std::vector<Block> blocks = blocks_of("One\ntwo.\n\nThree.\n");
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(blocks[0].text, "One two.");
  EXPECT_EQ(blocks[1].text, "Three.");
}

TEST(Blocks, ItemsGoOnInTheColumnOfTheirText) {
  std::vector<Block> blocks = blocks_of(
      "  lock     flock it\n           and go on\n  long-name/NAME\n"
      "           its text\n");
  ASSERT_EQ(blocks.size(), 2u);
  EXPECT_EQ(blocks[0].kind, Block::Kind::kItem);
  EXPECT_EQ(blocks[0].term, "lock");
  EXPECT_EQ(blocks[0].text, "flock it and go on");
  EXPECT_EQ(blocks[1].term, "long-name/NAME");
  EXPECT_EQ(blocks[1].text, "its text");
}

TEST(Blocks, OtherIndentedLinesAreVerbatim) {
  std::vector<Block> blocks =
      blocks_of("Code:\n\n  a  b\n  c\n\n  name    one\n             two\n");
  ASSERT_EQ(blocks.size(), 3u);
  EXPECT_EQ(blocks[1].kind, Block::Kind::kVerbatim);
  EXPECT_EQ(blocks[1].text, "  a  b\n  c");
  EXPECT_EQ(blocks[2].kind, Block::Kind::kVerbatim);
}

TEST(ManText, NoTextBecomesARequest) {
  Page page{"x", 1, "y", {{"S", {paragraph(".not a \\request"), verbatim("'a\n.b")}}}};
  std::string text = man_text(page);
  EXPECT_NE(text.find("\n\\&.not a \\erequest\n"), std::string::npos) << text;
  EXPECT_NE(text.find("\n\\&'a\n\\&.b\n"), std::string::npos) << text;
}

TEST(ManText, CodeIsBold) {
  Page page{"x", 1, "y", {{"S", {paragraph("say `a-b` now")}}}};
  EXPECT_NE(man_text(page).find("say \\fBa\\-b\\fR now"), std::string::npos);
}

TEST(ManText, OnlyALongWordMayBreakAtItsDots) {
  std::string longer = std::string(30, 'a') + "." + std::string(30, 'b');
  Page page{"x", 1, "y", {{"S", {paragraph("zabfs.mount " + longer)}}}};
  std::string text = man_text(page);
  EXPECT_NE(text.find("zabfs.mount a"), std::string::npos) << text;
  EXPECT_NE(text.find("a.\\:b"), std::string::npos) << text;
}

TEST(Closest, IsTheNameWithTheFewestMistakes) {
  std::vector<std::string> names = {"status", "start", "lock", "who"};
  EXPECT_EQ(closest("statsu", names), "status");
  EXPECT_EQ(closest("statr", names), "start");
  EXPECT_EQ(closest("lok", names), "lock");
  EXPECT_EQ(closest("wh", names), "who");
}

TEST(Closest, IsNoneIfNoneIsClose) {
  EXPECT_EQ(closest("frobnicate", {"status", "lock"}), "");
  EXPECT_EQ(closest("", {"status"}), "");
  EXPECT_EQ(closest(std::string(10'000, 'x'), {"status"}), "");
}

}  // namespace
}  // namespace zabfs::fsd::manual
