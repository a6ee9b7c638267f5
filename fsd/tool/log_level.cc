// zabfs log-level: what a node's log is told, through `@/log-level`.
#include "fsd/log_level.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace {

// 0, or an errno.
int write_level(const std::string& file, const std::string& level) {
  int fd = ::open(file.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  if (fd < 0) return errno;
  int error = write_all(fd, level + "\n") ? 0 : errno;
  if (::close(fd) != 0 && error == 0) error = errno;
  return error;
}

}  // namespace

int change_log_level(std::string mount, const std::string& level) {
  if (mount.empty()) mount = find_mount();
  if (mount.empty()) return fail("no zabfs mount on this machine; name one by --mount");
  std::string file = join(mount, "@/log-level");
  if (level.empty()) {
    std::optional<std::string> now = read_file(file);
    if (!now) return fail(error_of(file));
    fmt::print("{}", *now);
    return 0;
  }
  if (!fsd::log_level_named(level)) {
    return fail(fmt::format("{} is no level: {}", level, fsd::kLogLevels), kUsage);
  }
  if (int error = write_level(file, level); error != 0) {
    errno = error;
    bool is_refused = error == EPERM || error == EACCES;
    return fail(error_of(file) + (is_refused ? "; root sets the level" : ""));
  }
  fmt::print(
      "the log of the node at {} has the level {} until it is started again; for good, set "
      "zabfs.log.level\n",
      mount, level);
  return 0;
}

}  // namespace zabfs::tool
