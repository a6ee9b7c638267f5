#include "fsd/fuse/mount_point.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <signal.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace zabfs::fsd {
namespace {

constexpr size_t kStraysNamed = 5;
constexpr size_t kStrayBytes = 60;  // of a name
constexpr mode_t kModeBits = 07777;
constexpr const char* kFuseConfig = "/etc/fuse.conf";  // fusermount3's
constexpr mode_t kUsualMode = 0755;

bool is_mount_point(const std::string& point) {
  std::ifstream in("/proc/self/mountinfo");
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string skipped, path;
    fields >> skipped >> skipped >> skipped >> skipped >> path;
    if (path == point) return true;
  }
  return false;
}

std::string canonical(const std::string& point) {
  std::error_code error;
  return std::filesystem::canonical(point, error).string();
}

// The names are anybody's; what can't be printed the log escapes (log_line.h).
std::string shown(const std::string& name) {
  return name.size() > kStrayBytes ? name.substr(0, kStrayBytes) + "..." : name;
}

// What lies in the directory: some names, and how many there are beside them. Empty: nothing.
std::string strays_in(const std::string& directory, std::error_code& error) {
  std::string names;
  size_t count = 0;
  for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end;
       at.increment(error)) {
    if (++count > kStraysNamed) continue;
    if (!names.empty()) names += ", ";
    names += shown(at->path().filename().string());
  }
  if (count > kStraysNamed) names += fmt::format(" and {} more", count - kStraysNamed);
  return names;
}

Status set_immutable(int fd, bool immutable, bool& changed) {
  int flags = 0;  // the kernel writes an int, whatever the ioctl's number says
  if (::ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) return Status::failed(std::strerror(errno));
  if (((flags & FS_IMMUTABLE_FL) != 0) == immutable) return {};
  flags ^= FS_IMMUTABLE_FL;
  if (::ioctl(fd, FS_IOC_SETFLAGS, &flags) != 0) return Status::failed(std::strerror(errno));
  changed = true;
  return {};
}

// fusermount3 is root's by its mode, and unmounts what its caller has mounted.
Status detach_by_helper(const std::string& point) {
  std::string program = "fusermount3", unmount = "-uz", end = "--", path = point;
  char* argv[] = {program.data(), unmount.data(), end.data(), path.data(), nullptr};
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  ::signal(SIGCHLD, SIG_DFL);  // else nobody could wait for it
  pid_t process = 0;
  int error = ::posix_spawnp(&process, program.c_str(), nullptr, &attributes, argv, environ);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return Status::failed(fmt::format("{}: {}", program, std::strerror(error)));
  int ended = 0;
  while (::waitpid(process, &ended, 0) < 0) {
    if (errno != EINTR) return Status::failed(fmt::format("{}: {}", program, std::strerror(errno)));
  }
  if (WIFEXITED(ended) && WEXITSTATUS(ended) == 0) return {};
  return Status::failed(fmt::format("{} could not unmount it", program));
}

}  // namespace

Status MountPoint::check(const std::string& point, bool& is_configuration) {
  is_configuration = true;
  struct stat st;
  struct statvfs unused;
  // The attributes of a dead mount may still be in the kernel's cache; statvfs asks the daemon.
  if (::stat(point.c_str(), &st) != 0 || ::statvfs(point.c_str(), &unused) != 0) {
    if (errno == ENOTCONN || errno == ECONNABORTED) {
      std::string directory = canonical(point);
      Status detached = detach(directory.empty() ? point : directory);
      if (!detached.ok()) {
        return Status::failed(
            fmt::format("{} is a dead mount and can't be cleared: {}; as root, run umount -l {}",
                        point, detached.why(), point));
      }
      spdlog::warn("cleared a dead mount at {}", point);
      return check(point, is_configuration);
    }
    return Status::failed(
        fmt::format("the mount point {}: {}; create the directory", point, std::strerror(errno)));
  }
  if (!S_ISDIR(st.st_mode))
    return Status::failed(fmt::format("the mount point {} is not a directory", point));
  std::string directory = canonical(point);
  if (is_mount_point(directory)) {
    return Status::failed(
        fmt::format("{} is a mount point already; unmount it or name another", point));
  }
  // A user who is not root is kept out by mode 0000 as well, and has it back for the start.
  if (::geteuid() != 0 && st.st_uid == ::geteuid() && (st.st_mode & kModeBits) == 0) {
    ::chmod(directory.c_str(), kUsualMode);
  }
  std::error_code unread;
  std::string strays = strays_in(directory, unread);
  if (unread) {
    return Status::failed(fmt::format(
        "can't look into the mount point {}: {}; the user of zabfsd must be able to read it", point,
        unread.message()));
  }
  if (!strays.empty()) {
    return Status::failed(fmt::format(
        "the mount point {} is not empty: {}. These are on the disk of this machine alone, as if "
        "written while nothing was mounted here. Move them elsewhere, start zabfsd, and copy into "
        "the mount what you want to keep; or name an empty directory",
        point, strays));
  }
  if (::access("/dev/fuse", R_OK | W_OK) != 0) {
    is_configuration = false;
    bool is_denied = errno == EACCES || errno == EPERM;
    return Status::failed(fmt::format("/dev/fuse: {}; {}", std::strerror(errno),
                                      is_denied ? "run as root, or let this user read and write it"
                                                : "load the fuse module: modprobe fuse"));
  }
  return {};
}

Status MountPoint::make(const std::string& point) {
  if (::mkdir(point.c_str(), kUsualMode) == 0) {
    spdlog::info("made the mount point {}", point);
    return {};
  }
  // ENOTCONN: of a dead mount, which check() clears.
  if (errno == EEXIST || errno == ENOTCONN) return {};
  return Status::failed(
      fmt::format("can't make the mount point {}: {}", point, std::strerror(errno)));
}

bool MountPoint::may_let_others_in() {
  if (::geteuid() == 0) return true;
  std::ifstream in(kFuseConfig);
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    std::string word, more;
    if (words >> word && word == "user_allow_other" && !(words >> more)) return true;
  }
  return false;
}

Status MountPoint::detach(const std::string& point) {
  if (::umount2(point.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return {};
  int error = errno;
  if (error == EINVAL) return {};  // nothing is mounted there any more
  if (error != EPERM || ::geteuid() == 0) return Status::failed(std::strerror(error));
  return detach_by_helper(point);
}

MountPoint::MountPoint(const std::string& point)
    : point_(canonical(point)),
      directory_(open_without_links(point_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)) {
  if (!directory_) error_ = errno;
}

void MountPoint::protect() {
  if (!directory_) {
    return spdlog::warn("the directory {} under the mount is not protected: {}", point_,
                        std::strerror(error_));
  }
  bool changed = false;
  Status made = set_immutable(directory_.get(), true, changed);
  if (made.ok()) {
    if (changed) {
      spdlog::info(
          "the directory {} under the mount is immutable, so that nothing is written to it while "
          "it is not mounted; `zabfsd --unprotect {}` before you remove it",
          point_, point_);
    }
    return;
  }
  if (::fchmod(directory_.get(), 0) != 0) {
    return spdlog::warn("the directory {} under the mount is not protected: {}", point_,
                        std::strerror(errno));
  }
  spdlog::warn(
      "the directory {} under the mount can't be made immutable ({}): its mode is 0000, and only "
      "root can write to it while it is not mounted",
      point_, made.why());
}

Status MountPoint::unprotect() {
  if (!directory_) return Status::failed(fmt::format("{}: {}", point_, std::strerror(error_)));
  bool changed = false;
  // Where there is no such flag, it isn't set.
  static_cast<void>(set_immutable(directory_.get(), false, changed));
  struct stat st;
  bool failed = ::fstat(directory_.get(), &st) != 0;
  if (!failed && (st.st_mode & kModeBits) == 0)
    failed = ::fchmod(directory_.get(), kUsualMode) != 0;
  return failed ? Status::failed(fmt::format("{}: {}", point_, std::strerror(errno))) : Status();
}

}  // namespace zabfs::fsd
