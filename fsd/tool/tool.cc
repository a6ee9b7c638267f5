#include "fsd/tool/tool.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

#include "fsd/beneath.h"

namespace zabfs::tool {

int fail(const std::string& what, int code) {
  fmt::print(stderr, "zabfs: {}\n", what);
  return code;
}

// A control room is in all directories of a mount, and nowhere else.
bool is_in_mount(const std::string& directory) {
  struct stat st;
  return ::stat(join(directory, "@/help").c_str(), &st) == 0;
}

std::string error_of(const std::string& file) {
  int error = errno;
  size_t room = file.find("/@/");
  if (error != ENOENT || room == std::string::npos || is_in_mount(file.substr(0, room))) {
    return fmt::format("{}: {}", file, std::strerror(error));
  }
  std::string directory = file.substr(0, room);
  struct stat st;
  if (::stat(directory.c_str(), &st) != 0) return error_of(directory);
  return directory + " is no directory of a zabfs mount";
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof(name) - 1);
  return name;
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

bool write_all(int fd, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    ssize_t size = ::pwrite(fd, text.data() + done, text.size() - done, static_cast<off_t>(done));
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return false;
    done += static_cast<size_t>(size);
  }
  return true;
}

std::optional<std::string> read_all(int fd) {
  std::string text;
  char part[65'536];
  while (true) {
    ssize_t size = ::pread(fd, part, sizeof(part), static_cast<off_t>(text.size()));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return std::nullopt;
    if (size == 0) return text;
    text.append(part, static_cast<size_t>(size));
  }
}

std::string attribute(const std::string& file, const char* name) {
  char value[8192];
  std::string full = std::string("user.zabfs.") + name;
  ssize_t size = ::lgetxattr(file.c_str(), full.c_str(), value, sizeof(value));
  return size > 0 ? std::string(value, static_cast<size_t>(size)) : std::string();
}

namespace {

// It has nothing of this process but the directory and the pipe: whoever waits for the end of this
// process's output does not wait for it.
[[noreturn]] void wait_for_commits(int directory, int pipe) {
  bool is_alone =
      ::dup2(directory, 0) == 0 && ::dup2(pipe, 1) == 1 && ::close_range(2, ~0u, 0) == 0;
  int error = is_alone && ::fsync(0) == 0 ? 0 : errno;
  ::_exit(::write(1, &error, sizeof(error)) == sizeof(error) ? 0 : kFailed);
}

bool has_quorum(int directory) {
  char value[8];
  ssize_t size = ::fgetxattr(directory, "user.zabfs.quorum", value, sizeof(value));
  return size < 0 || std::string_view(value, static_cast<size_t>(size)) != "no";
}

}  // namespace

// An fsync waits for a quorum, until commitTimeout, and a process that is in it can't be ended. So
// a child is, and is left to itself when the node finds that there is no quorum. Meanwhile the
// kernel looks up no name for anybody in the directory that is synced: so that is one in which
// nothing is to be had without a quorum.
bool barrier(const std::string& directory) {
  constexpr int kLookAgainMs = 100;
  std::string quiet = join(directory, "@/once");
  fsd::Descriptor opened(::open(quiet.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened) return false;
  errno = EROFS;
  if (!has_quorum(opened.get())) return false;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  fsd::Descriptor answer(ends[0]), asked(ends[1]);
  pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) wait_for_commits(opened.get(), asked.get());
  asked = fsd::Descriptor();
  pollfd wanted{answer.get(), POLLIN, 0};
  while (::poll(&wanted, 1, kLookAgainMs) <= 0) {
    if (has_quorum(opened.get())) continue;
    errno = EROFS;
    return false;
  }
  int error = EIO;
  if (::read(answer.get(), &error, sizeof(error)) != sizeof(error)) error = EIO;
  ::waitpid(child, nullptr, 0);
  errno = error;
  return error == 0;
}

std::string barrier_error_of(const std::string& directory) {
  return errno == EROFS ? directory + ": this node has no quorum with it" : error_of(directory);
}

bool is_ephemeral(const std::string& file) {
  std::string owner = attribute(file, "ephemeralOwner");
  // Negative numbers there stand for containers and times to live.
  return !owner.empty() && owner != "0" && !owner.starts_with("-");
}

bool is_ephemeral(int directory, const std::string& path) {
  fsd::Place place = fsd::place_beneath(directory, path);
  return place.parent &&
         is_ephemeral(fmt::format("/proc/self/fd/{}/{}", place.parent.get(), place.name));
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator entries(directory, error);
  while (!error && entries != std::filesystem::directory_iterator()) {
    names.push_back(entries->path().filename().string());
    entries.increment(error);
  }
  if (error) return {};
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace zabfs::tool
