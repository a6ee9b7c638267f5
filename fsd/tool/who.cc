// zabfs who: who holds or waits for what, at a directory and below it, or of one file; on all
// nodes. It reads `@/holders`, so it joins no queue.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <vector>

#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace json = boost::json;

namespace {

constexpr const char* kFields[] = {"kind", "state", "node", "pid", "program", "since", "token"};

using Row = std::vector<std::string>;  // as kFields, and the path

std::vector<Row> rows_of(const std::string& text, const std::string& directory,
                         const std::string& file) {
  std::vector<Row> rows;
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    Row row(std::size(kFields));
    for (std::string& field : row) fields >> field;
    std::string path;
    std::getline(fields >> std::ws, path);
    if (!file.empty() && path != file) continue;
    row.push_back(join(directory, path));
    rows.push_back(std::move(row));
  }
  return rows;
}

void print_as_json(const std::vector<Row>& rows) {
  json::array all;
  for (const Row& row : rows) {
    json::object object;
    for (size_t i = 0; i < std::size(kFields); ++i) object[kFields[i]] = row[i];
    object["path"] = row.back();
    all.push_back(std::move(object));
  }
  std::cout << json::serialize(all) << "\n";
}

void print_as_table(const std::vector<Row>& rows) {
  std::vector<size_t> widths(std::size(kFields));
  for (const Row& row : rows) {
    for (size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    for (size_t i = 0; i < widths.size(); ++i) fmt::print("{:<{}}  ", row[i], widths[i]);
    fmt::print("{}\n", row.back());
  }
}

}  // namespace

int who(const std::string& path, bool as_json) {
  struct stat st = {};
  if (::lstat(path.c_str(), &st) != 0) return fail(error_of(path));
  std::string directory = path, file;
  if (!S_ISDIR(st.st_mode)) {
    directory = std::filesystem::path(path).parent_path().string();
    if (directory.empty()) directory = ".";
    file = std::filesystem::path(path).filename().string();
  }
  barrier(directory);  // without a quorum it tells what this node knows
  std::string source = join(directory, "@/holders");
  std::optional<std::string> text = read_file(source);
  if (!text) return fail(error_of(source));
  std::vector<Row> rows = rows_of(*text, directory, file);
  if (as_json) {
    print_as_json(rows);
  } else {
    print_as_table(rows);
  }
  return 0;
}

}  // namespace zabfs::tool
