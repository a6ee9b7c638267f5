#include "fsd/tool/tool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/src.hpp>  // header-only here: this file is its one source
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace zabfs::tool {

int fail(const std::string& what, int code) {
  fmt::print(stderr, "zabfs: {}\n", what);
  return code;
}

std::string error_of(const std::string& file) {
  return fmt::format("{}: {}", file, std::strerror(errno));
}

int64_t now_ms() {
  timespec time;
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

std::string join(const std::string& directory, std::string_view name) {
  return directory + (directory.ends_with('/') ? "" : "/") + std::string(name);
}

std::optional<std::string> read_file(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return std::nullopt;
  std::ostringstream text;
  text << in.rdbuf();
  if (in.bad()) return std::nullopt;
  return text.str();
}

std::string attribute(const std::string& file, const char* name) {
  char value[256];
  std::string full = std::string("user.zabfs.") + name;
  ssize_t size = ::lgetxattr(file.c_str(), full.c_str(), value, sizeof(value));
  return size > 0 ? std::string(value, static_cast<size_t>(size)) : std::string();
}

bool barrier(const std::string& directory) {
  int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool done = fd >= 0 && ::fsync(fd) == 0;
  int error = errno;
  if (fd >= 0) ::close(fd);
  errno = error;
  return done;
}

bool is_ephemeral(const std::string& file) {
  std::string owner = attribute(file, "ephemeralOwner");
  // Negative numbers there stand for containers and times to live.
  return !owner.empty() && owner != "0" && !owner.starts_with("-");
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace zabfs::tool
