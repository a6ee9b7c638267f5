// zabfs blame: the version that brought each line of a file.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "fsd/history/when.h"
#include "fsd/tool/maker.h"
#include "fsd/tool/past.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace {

// Of lines before times lines after, between what both begin and end with. What is larger counts as
// written anew.
constexpr size_t kMaxCells = 16u << 20;

struct TextLine {
  std::string text;
  size_t version;  // that brought it
};
using TextLines = std::vector<TextLine>;

TextLines text_lines_of(std::string_view text, size_t version) {
  TextLines lines;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    lines.push_back({std::string(text.substr(0, end)), version});
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// TextLines that stay are those of a longest common subsequence.
void keep_common(const TextLines& before, size_t from, size_t before_end, TextLines& after,
                 size_t after_end) {
  size_t rows = before_end - from, columns = after_end - from;
  if (rows == 0 || columns == 0 || rows > kMaxCells / columns) return;
  std::vector<uint32_t> longest((rows + 1) * (columns + 1), 0);  // from there to the end
  auto at = [&](size_t row, size_t column) -> uint32_t& {
    return longest[row * (columns + 1) + column];
  };
  auto is_same = [&](size_t row, size_t column) {
    return before[from + row].text == after[from + column].text;
  };
  for (size_t row = rows; row-- > 0;) {
    for (size_t column = columns; column-- > 0;) {
      at(row, column) = is_same(row, column) ? at(row + 1, column + 1) + 1
                                             : std::max(at(row + 1, column), at(row, column + 1));
    }
  }
  for (size_t row = 0, column = 0; row < rows && column < columns;) {
    if (is_same(row, column)) {
      after[from + column++].version = before[from + row++].version;
    } else if (at(row + 1, column) >= at(row, column + 1)) {
      ++row;
    } else {
      ++column;
    }
  }
}

// TextLines of `after` that were there before keep their version.
void inherit(const TextLines& before, TextLines& after) {
  size_t from = 0, before_end = before.size(), after_end = after.size();
  while (from < std::min(before_end, after_end) && before[from].text == after[from].text) {
    after[from].version = before[from].version;
    ++from;
  }
  while (before_end > from && after_end > from &&
         before[before_end - 1].text == after[after_end - 1].text) {
    after[--after_end].version = before[--before_end].version;
  }
  keep_common(before, from, before_end, after, after_end);
}

bool is_file(const std::string& path, struct stat& st) {
  return ::lstat(path.c_str(), &st) == 0 && S_ISREG(st.st_mode);
}

// What stands before a line.
std::string column_of(const Versions& versions, size_t version) {
  const std::string& name = versions.names[version];
  std::string file = join(versions.directory, name);
  struct stat st = {};
  ::lstat(file.c_str(), &st);
  std::string time =
      fsd::time_text(int64_t{st.st_mtim.tv_sec} * 1'000 + st.st_mtim.tv_nsec / 1'000'000);
  return fmt::format("{} {} {}", name, time, short_text_of(maker_of(file)));
}

}  // namespace

int blame(const std::string& path) {
  std::optional<Anchored> place = anchor(path);
  if (!place) return kUsage;
  barrier(place->directory);
  std::optional<Versions> versions =
      place->below.empty() ? std::nullopt : versions_of(join(place->directory, place->below));
  struct stat st = {};
  if (!versions || !is_file(path, st)) return fail(fmt::format("{}: no file", path));
  TextLines lines;
  for (size_t i = 0; i < versions->names.size(); ++i) {
    std::string file = join(versions->directory, versions->names[i]);
    TextLines now;
    bool has_text = !file.ends_with(".gone") && is_file(file, st);
    std::optional<std::string> text = has_text ? read_file(file) : "";
    if (!text) return fail(error_of(file));
    now = text_lines_of(*text, i);
    inherit(lines, now);
    lines = std::move(now);
  }
  std::vector<std::string> columns(versions->names.size());
  size_t width = 0;
  for (const TextLine& line : lines) {
    std::string& column = columns[line.version];
    if (column.empty()) column = column_of(*versions, line.version);
    width = std::max(width, column.size());
  }
  for (const TextLine& line : lines) {
    fmt::print("{:<{}}  {}\n", columns[line.version], width, line.text);
  }
  return 0;
}

}  // namespace zabfs::tool
