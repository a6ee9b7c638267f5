#include "fsd/manual/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <sstream>
#include <utility>

namespace zabfs::fsd::manual {

namespace {

constexpr size_t kColumns = 80;
constexpr size_t kIndent = 4;
constexpr size_t kItemIndent = 2;  // of an item's term, in a text

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

size_t indent_of(const std::string& line) {
  return std::min(line.find_first_not_of(' '), line.size());
}

// ---- from a text

// Where the text of an item begins, in the line of its term; 0: the line has no such two columns.
size_t text_column(const std::string& line) {
  size_t gap = line.find("  ", indent_of(line));
  return gap == std::string::npos ? 0 : std::min(line.find_first_not_of(' ', gap), line.size());
}

// The first line is an item's, and each other is, too, or goes on in the column of texts.
bool are_items(const std::vector<std::string>& lines) {
  size_t column = text_column(lines.front());
  bool any_goes_on = false;
  for (const std::string& line : lines) {
    bool goes_on = indent_of(line) == column;
    if (!goes_on && indent_of(line) != kItemIndent) return false;
    any_goes_on = any_goes_on || goes_on;
  }
  return column > 0 && any_goes_on;
}

void add_items(const std::vector<std::string>& lines, std::vector<Block>& blocks) {
  for (const std::string& line : lines) {
    std::string text = line.substr(indent_of(line));
    if (indent_of(line) > kItemIndent) {
      std::string& whole = blocks.back().text;
      whole += (whole.empty() ? "" : " ") + text;
      continue;
    }
    size_t end = std::min(text.find("  "), text.size());
    std::string rest = text.substr(end);
    blocks.push_back(item(text.substr(0, end), rest.substr(indent_of(rest))));
  }
}

void add_indented(const std::vector<std::string>& lines, std::vector<Block>& blocks) {
  if (are_items(lines)) return add_items(lines, blocks);
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
  blocks.push_back(verbatim(text));
}

// ---- to troff

// No word is hyphenated, and no line stretched: names of keys are long, and are searched for.
constexpr size_t kLongWord = 40;
constexpr const char* kWholeWords = ".nh\n.ad l\n";

// A line that begins with a dot or a quote would be a request.
std::string escaped(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool begins = out.empty() || out.back() == '\n';
    if (begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '~') {
      out += "\\(ti";
    } else if (c == '^') {
      out += "\\(ha";
    } else {
      out += c;
    }
  }
  return out;
}

// A word that fills a line may break after its dots: the name of a class.
std::string with_breaks(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find(' ', at), text.size());
    bool is_long = end - at > kLongWord;
    for (; at < end; ++at) {
      out += text[at];
      if (is_long && text[at] == '.') out += "\\:";
    }
    if (at < text.size()) out += text[at++];
  }
  return out;
}

std::string with_code(std::string_view text) {
  std::string out;
  bool is_code = false;
  while (!text.empty()) {
    size_t end = std::min(text.find('`'), text.size());
    std::string part = with_breaks(escaped(text.substr(0, end)));
    if (is_code) part = "\\fB" + part + "\\fR";
    if (!is_code && !out.empty() && part.starts_with("\\&.")) part.erase(0, 2);
    out += part;
    bool more = end < text.size();
    if (more) is_code = !is_code;
    text.remove_prefix(end + (more ? 1 : 0));
  }
  return out;
}

std::string man_block(const Block& block) {
  switch (block.kind) {
    case Block::Kind::kParagraph:
      return fmt::format(".PP\n{}\n", with_code(block.text));
    case Block::Kind::kItem:
      return fmt::format(".TP\n\\fB{}\\fR\n{}\n", escaped(block.term), with_code(block.text));
    case Block::Kind::kVerbatim:
      return fmt::format(".PP\n.nf\n{}\n.fi\n", escaped(block.text));
  }
  return {};
}

// ---- to plain text

std::string wrapped(const std::string& text, size_t indent) {
  std::istringstream words(text);
  std::string out, line;
  for (std::string word; words >> word;) {
    if (!line.empty() && indent + line.size() + 1 + word.size() > kColumns) {
      out += std::string(indent, ' ') + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return line.empty() ? out : out + std::string(indent, ' ') + line + "\n";
}

std::string plain_block(const Block& block) {
  std::string in(kIndent, ' ');
  switch (block.kind) {
    case Block::Kind::kParagraph:
      return wrapped(block.text, kIndent);
    case Block::Kind::kItem:
      return in + block.term + "\n" + wrapped(block.text, 2 * kIndent);
    case Block::Kind::kVerbatim: {
      std::string out, line;
      for (std::istringstream lines(block.text); std::getline(lines, line);) out += line + "\n";
      return out;
    }
  }
  return {};
}

}  // namespace

Block paragraph(std::string text) { return {Block::Kind::kParagraph, std::move(text)}; }
Block item(std::string term, std::string text) {
  return {Block::Kind::kItem, std::move(text), std::move(term)};
}
Block verbatim(std::string text) { return {Block::Kind::kVerbatim, std::move(text)}; }

std::vector<Block> blocks_of(std::string_view text) {
  std::vector<Block> blocks;
  std::vector<std::string> indented;
  std::string running, line;
  auto end_running = [&] {
    if (!running.empty()) blocks.push_back(paragraph(std::exchange(running, {})));
  };
  auto end_indented = [&] {
    if (!indented.empty()) add_indented(std::exchange(indented, {}), blocks);
  };
  for (std::istringstream lines{std::string(text)}; std::getline(lines, line);) {
    bool is_indented = line.starts_with("  ");
    if (!is_indented) end_indented();
    if (is_indented || line.empty()) end_running();
    if (is_indented) {
      indented.push_back(line);
    } else if (!line.empty()) {
      running += (running.empty() ? "" : " ") + line;
    }
  }
  end_running();
  end_indented();
  return blocks;
}

std::string man_text(const Page& page) {
  std::string text =
      fmt::format(".TH \"{}\" {} \"\" \"zabfs {}\" \"zabfs\"\n{}", escaped(upper(page.name)),
                  page.number, ZABFS_VERSION, kWholeWords);
  text += fmt::format(".SH NAME\n{} \\- {}\n", escaped(page.name), escaped(page.summary));
  for (const Section& section : page.sections) {
    text += fmt::format(".SH \"{}\"\n", escaped(section.heading));
    for (const Block& block : section.blocks) text += man_block(block);
  }
  return text;
}

std::string plain_text(const Page& page) {
  std::string text = fmt::format("{}({}): {}\n", page.name, page.number, page.summary);
  for (const Section& section : page.sections) {
    text += fmt::format("\n{}\n", section.heading);
    for (size_t i = 0; i < section.blocks.size(); ++i) {
      const Block& block = section.blocks[i];
      if (i > 0 && block.kind != Block::Kind::kItem) text += "\n";
      text += plain_block(block);
    }
  }
  return text;
}

}  // namespace zabfs::fsd::manual
