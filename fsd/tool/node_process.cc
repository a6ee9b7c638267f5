#include "fsd/tool/node_process.h"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include "fsd/config/properties.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace fs = std::filesystem;

namespace {

// What zabfsd starts itself with (fsd/fuse/connection_guard.h, fsd/fuse/replay_process.h).
const std::set<std::string> kHelpers = {"--guard-connection", "--replay-changes"};

std::vector<std::string> words_of(const std::string& directory) {
  std::vector<std::string> words;
  std::string text = read_file(join(directory, "cmdline")).value_or("");
  for (size_t at = 0; at < text.size();) {
    words.push_back(text.c_str() + at);
    at += words.back().size() + 1;
  }
  return words;
}

bool is_trusted(const std::string& directory) {
  // Other than the owner of the directory, this is the process's user whether it is dumpable or
  // not.
  std::istringstream lines(read_file(join(directory, "status")).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("Uid:")) continue;
    std::istringstream numbers(line.substr(4));
    size_t count = 0;
    for (uid_t uid = 0; numbers >> uid; ++count) {
      if (uid != 0 && uid != ::geteuid()) return false;
    }
    return count == 4;
  }
  return false;
}

// The one that is no option, and no option's value.
std::string config_in(const std::vector<std::string>& words) {
  const std::set<std::string> with_value = {"--data-dir", "--mount", "--client-port"};
  for (size_t i = 1; i < words.size(); ++i) {
    if (with_value.contains(words[i])) {
      ++i;
    } else if (!words[i].starts_with("-")) {
      return words[i];
    }
  }
  return {};
}

// The last name in its cgroup's path that is a service's.
std::string unit_of(const std::string& directory) {
  std::string text = read_file(join(directory, "cgroup")).value_or("");
  size_t end = text.rfind(".service");
  if (end == std::string::npos) return {};
  size_t begin = text.rfind('/', end);
  return text.substr(begin + 1, end + std::string(".service").size() - begin - 1);
}

std::string mount_in(const std::string& config) {
  std::ifstream in(config);
  std::string mount;
  for (const fsd::Property& line : fsd::parse_properties(in, config)) {
    if (line.key == "zabfs.mount") mount = line.value;
  }
  return mount;
}

}  // namespace

std::vector<NodeProcess> node_processes() {
  std::vector<NodeProcess> found;
  for (const std::string& name : names_in("/proc")) {
    bool is_number =
        std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    std::string directory = join("/proc", name);
    if (!is_number || read_file(join(directory, "comm")) != "zabfsd\n") continue;
    std::vector<std::string> words = words_of(directory);
    // Its helpers have its name and an argument of their own.
    if (words.size() < 2 || kHelpers.contains(words[1])) continue;
    std::string config = is_trusted(directory) ? config_in(words) : "";
    NodeProcess node{static_cast<pid_t>(std::stol(name)), std::move(config), unit_of(directory)};
    std::error_code error;
    if (!node.config.empty() && !node.config.starts_with('/')) {
      fs::path there = fs::read_symlink(join(directory, "cwd"), error);
      if (!error) node.config = (there / node.config).lexically_normal();
    }
    found.push_back(std::move(node));
  }
  return found;
}

StatusOr<NodeProcess> node_of(const std::string& mount) {
  std::vector<NodeProcess> all = node_processes();
  if (all.empty()) return Status::failed("no zabfsd runs on this machine");
  for (const NodeProcess& node : all) {
    if (!mount.empty() && fs::path(mount_in(node.config)) == fs::path(mount)) return node;
  }
  if (all.size() == 1) return all.front();
  return Status::failed("several zabfsd run, and it can't be told which one is meant");
}

}  // namespace zabfs::tool
