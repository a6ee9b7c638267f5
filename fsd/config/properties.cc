#include "fsd/config/properties.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <sstream>
#include <string_view>

namespace zabfs::fsd {

namespace {

constexpr std::string_view kSpaces = " \t\f";
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr size_t kHexDigits = 4;  // of \uXXXX

// The lines of a text, one by one.
class Lines {
 public:
  explicit Lines(std::string_view text) : left_(text) {
    if (left_.starts_with(kByteOrderMark)) left_.remove_prefix(kByteOrderMark.size());
  }

  // Without what ends it, and without spaces at its beginning. False: there is none left.
  bool next(std::string_view& line) {
    if (left_.empty()) return false;
    ++number_;
    size_t end = left_.find_first_of("\r\n");
    line = left_.substr(0, end);
    bool is_pair = left_.substr(line.size()).starts_with("\r\n");
    left_ =
        end == std::string_view::npos ? std::string_view() : left_.substr(end + (is_pair ? 2 : 1));
    line.remove_prefix(std::min(line.find_first_not_of(kSpaces), line.size()));
    return true;
  }
  int number() const { return number_; }  // of the last one

 private:
  std::string_view left_;
  int number_ = 0;
};

// An even number of \ at its end are characters of its own.
bool is_continued(std::string_view line) {
  size_t last = line.find_last_not_of('\\');
  size_t count = last == std::string_view::npos ? line.size() : line.size() - last - 1;
  return count % 2 == 1;
}

void append_utf8(std::string& text, unsigned code) {
  auto put = [&text](unsigned byte) { text += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | code >> 6);
  } else {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

// \uXXXX at the beginning of `text`, without its \. False: it is none.
bool take_unicode(std::string_view text, std::string& out) {
  if (!text.starts_with('u') || text.size() < 1 + kHexDigits) return false;
  unsigned code = 0;
  const char* end = text.data() + 1 + kHexDigits;
  if (std::from_chars(text.data() + 1, end, code, 16).ptr != end) return false;
  append_utf8(out, code);
  return true;
}

std::string unescaped(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\' || at + 1 == text.size()) {
      out += text[at];
      continue;
    }
    if (take_unicode(text.substr(at + 1), out)) {
      at += 1 + kHexDigits;
      continue;
    }
    constexpr std::string_view kNames = "tnrf", kMeanings = "\t\n\r\f";
    char name = text[++at];
    size_t known = kNames.find(name);
    out += known == std::string_view::npos ? name : kMeanings[known];
  }
  return out;
}

Property property_of(std::string_view text, const std::string& file, int line) {
  size_t end = 0;  // of the key
  while (end < text.size() && text[end] != '=' && text[end] != ':' &&
         kSpaces.find(text[end]) == std::string_view::npos) {
    end += text[end] == '\\' ? size_t{2} : size_t{1};
  }
  std::string_view key = text.substr(0, end);
  std::string_view value = text.substr(std::min(end, text.size()));
  auto skip_spaces = [&value] {
    value.remove_prefix(std::min(value.find_first_not_of(kSpaces), value.size()));
  };
  skip_spaces();
  if (value.starts_with('=') || value.starts_with(':')) value.remove_prefix(1);
  skip_spaces();
  return {file, line, trimmed(unescaped(key)), trimmed(unescaped(value))};
}

}  // namespace

std::string trimmed(const std::string& text) {
  constexpr const char* kTrimmed = " \t\r\n\f";
  size_t first = text.find_first_not_of(kTrimmed);
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(kTrimmed) + 1 - first);
}

std::string in_lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

std::vector<Property> parse_properties(std::istream& in, const std::string& file) {
  std::string text{std::istreambuf_iterator<char>(in), {}};
  std::vector<Property> properties;
  Lines lines(text);
  for (std::string_view line; lines.next(line);) {
    if (line.empty() || line[0] == '#' || line[0] == '!') continue;
    int start = lines.number();
    std::string whole;
    while (is_continued(line)) {
      whole += line.substr(0, line.size() - 1);
      if (!lines.next(line)) line = {};
    }
    whole += line;
    if (!whole.empty()) properties.push_back(property_of(whole, file, start));
  }
  return properties;
}

std::vector<std::string> comma_separated(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(trimmed(part));
  return parts;
}

}  // namespace zabfs::fsd
