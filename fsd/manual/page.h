// A page of the manual as a value, and its two forms. Pure.
//
// In texts `code` between backticks is bold in troff and stays as it is in plain text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace zabfs::fsd::manual {

struct Block {
  enum class Kind { kParagraph, kItem, kVerbatim };

  Kind kind = Kind::kParagraph;
  std::string text;
  std::string term = {};  // of an item: an option, a key
};

struct Section {
  std::string heading;
  std::vector<Block> blocks;
};

struct Page {
  std::string name;     // zabfs.cfg
  int number = 1;       // of the part of the manual: 5
  std::string summary;  // one line, for apropos
  std::vector<Section> sections;
};

Block paragraph(std::string text);
Block item(std::string term, std::string text);
Block verbatim(std::string text);

// Blocks from a text as people write it. An empty line ends a paragraph. Lines that begin with two
// spaces are verbatim, unless they are items. An item is a term, two spaces or more, and its text,
// which goes on in lines that begin in the column of the text:
//
//     lock     flock it: the mutex of this directory,
//              on all nodes
std::vector<Block> blocks_of(std::string_view text);

std::string man_text(const Page& page);    // troff -man
std::string plain_text(const Page& page);  // lines of at most 80 columns, but for verbatim ones

}  // namespace zabfs::fsd::manual
