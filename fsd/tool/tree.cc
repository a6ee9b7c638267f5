// zabfs tree: a directory and what is below it, with sizes and versions.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <iostream>

#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace json = boost::json;

namespace {

struct Entry {
  std::string name, path;
  struct stat st = {};
};

std::vector<Entry> entries_of(const std::string& directory) {
  std::vector<Entry> entries;
  for (const std::string& name : names_in(directory)) {
    Entry entry{name, join(directory, name)};
    if (::lstat(entry.path.c_str(), &entry.st) == 0) entries.push_back(std::move(entry));
  }
  return entries;
}

std::string target_of(const std::string& path) {
  char target[4096];
  ssize_t size = ::readlink(path.c_str(), target, sizeof(target));
  return size > 0 ? std::string(target, static_cast<size_t>(size)) : std::string();
}

std::string label_of(const Entry& entry) {
  std::string label = entry.name;
  if (S_ISDIR(entry.st.st_mode)) label += "/";
  if (S_ISLNK(entry.st.st_mode)) return label + " -> " + target_of(entry.path);
  if (S_ISREG(entry.st.st_mode)) {
    label +=
        fmt::format("  {} bytes, version {}", entry.st.st_size, attribute(entry.path, "version"));
  }
  if (is_ephemeral(entry.path)) label += ", ephemeral";
  return label;
}

void print_below(const std::string& directory, const std::string& indent, int depth) {
  if (depth == 0) return;
  std::vector<Entry> entries = entries_of(directory);
  for (size_t i = 0; i < entries.size(); ++i) {
    bool is_last = i + 1 == entries.size();
    fmt::print("{}{}{}\n", indent, is_last ? "└── " : "├── ", label_of(entries[i]));
    if (S_ISDIR(entries[i].st.st_mode)) {
      print_below(entries[i].path, indent + (is_last ? "    " : "│   "), depth - 1);
    }
  }
}

json::object object_of(const Entry& entry, int depth) {
  const char* kind = S_ISDIR(entry.st.st_mode)   ? "directory"
                     : S_ISLNK(entry.st.st_mode) ? "symlink"
                                                 : "file";
  json::object object{{"name", entry.name},
                      {"kind", kind},
                      {"mode", fmt::format("{:04o}", entry.st.st_mode & 07777u)},
                      {"uid", entry.st.st_uid},
                      {"gid", entry.st.st_gid},
                      {"size", entry.st.st_size},
                      {"ephemeral", is_ephemeral(entry.path)}};
  for (const char* name : {"version", "czxid", "mzxid"}) object[name] = attribute(entry.path, name);
  if (S_ISLNK(entry.st.st_mode)) object["target"] = target_of(entry.path);
  if (S_ISDIR(entry.st.st_mode) && depth != 0) {
    json::array children;
    for (const Entry& child : entries_of(entry.path)) {
      children.push_back(object_of(child, depth - 1));
    }
    object["children"] = std::move(children);
  }
  return object;
}

}  // namespace

int show_tree(const std::string& directory, int depth, bool as_json) {
  Entry top;
  top.name = top.path = directory;
  if (::lstat(directory.c_str(), &top.st) != 0) return fail(error_of(directory));
  if (as_json) {
    std::cout << json::serialize(object_of(top, depth)) << "\n";
    return 0;
  }
  fmt::print("{}\n", directory);
  print_below(directory, "", depth);
  return 0;
}

}  // namespace zabfs::tool
