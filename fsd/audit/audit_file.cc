#include "fsd/audit/audit_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

namespace zabfs::fsd::audit {

namespace {

constexpr const char* kRemedy = "nobody but root and the daemon's user may";

Status system_error(const std::string& path) {
  const char* link = errno == ELOOP || errno == ENOTDIR ? " (symbolic links are not followed)" : "";
  return Status::failed(fmt::format("{}: {}{}", path, std::strerror(errno), link));
}

// Fails if somebody else can change what the path leads to.
Status check_owner(int fd, const std::string& path) {
  struct stat st = {};
  if (::fstat(fd, &st) != 0) return system_error(path);
  if (st.st_uid != 0 && st.st_uid != ::geteuid()) {
    return Status::failed(fmt::format("user {} owns {}, which {} own", st.st_uid, path, kRemedy));
  }
  bool is_sticky = S_ISDIR(st.st_mode) && (st.st_mode & S_ISVTX) != 0;
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) == 0 || is_sticky) return {};
  return Status::failed(fmt::format("others can write to {} (mode {:04o}), which {} do", path,
                                    st.st_mode & 07777, kRemedy));
}

Status check_file(int fd, const std::string& path) {
  struct stat st = {};
  if (::fstat(fd, &st) != 0) return system_error(path);
  if (!S_ISREG(st.st_mode)) return Status::failed(path + " is no regular file");
  if (st.st_nlink != 1) {
    return Status::failed(fmt::format("{} has {} names; it may have only one", path, st.st_nlink));
  }
  return check_owner(fd, path);
}

}  // namespace

StatusOr<Descriptor> open_audit_file(const std::string& path) {
  std::filesystem::path wanted(path);
  if (!wanted.is_absolute() || !wanted.has_filename()) {
    return Status::failed(path + " is no absolute path of a file");
  }
  std::string seen = "/";
  Descriptor directory(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return system_error(seen);
  if (Status status = check_owner(directory.get(), seen); !status.ok()) return status;
  for (const std::filesystem::path& name : wanted.parent_path().relative_path()) {
    seen = std::filesystem::path(seen) / name;
    directory = Descriptor(
        ::openat(directory.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!directory) return system_error(seen);
    if (Status status = check_owner(directory.get(), seen); !status.ok()) return status;
  }
  Descriptor file(::openat(directory.get(), wanted.filename().c_str(),
                           O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                           0600));
  if (!file) return system_error(path);
  if (Status status = check_file(file.get(), path); !status.ok()) return status;
  return file;
}

}  // namespace zabfs::fsd::audit
