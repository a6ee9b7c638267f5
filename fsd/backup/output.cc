#include "fsd/backup/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace zabfs::backup {
namespace {

constexpr mode_t kMode = 0600;  // it holds the data of all users

std::string directory_of(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Output::Output(std::string path) : path_(std::move(path)) {
  size_t slash = path_.rfind('/');
  name_ = slash == std::string::npos ? path_ : path_.substr(slash + 1);
}

Output::~Output() {
  if (!part_.empty()) ::unlinkat(directory_.get(), part_.c_str(), 0);
}

Status Output::failed(const char* what) const {
  return Status::failed(fmt::format("can't {} {}: {}", what, path_, std::strerror(errno)));
}

Status Output::open() {
  if (is_standard_output()) {
    if (::isatty(STDOUT_FILENO) == 0) return {};
    return Status::failed("a backup is no text for a terminal: redirect it, or name a file");
  }
  directory_ =
      fsd::Descriptor(::open(directory_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_) return failed("write");
  struct stat found;
  if (::fstatat(directory_.get(), name_.c_str(), &found, AT_SYMLINK_NOFOLLOW) == 0) {
    return Status::failed(path_ + " is there already: name another file, or remove it");
  }
  int fd = ::openat(directory_.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, kMode);
  if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT || errno == EINVAL)) {
    return open_part();
  }
  file_ = fsd::Descriptor(fd);
  return file_ ? Status{} : failed("write");
}

Status Output::open_part() {
  std::string part = name_ + ".part";
  file_ = fsd::Descriptor(::openat(directory_.get(), part.c_str(),
                                   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kMode));
  if (file_) {
    part_ = part;
    return {};
  }
  if (errno != EEXIST) return failed("write");
  return Status::failed(path_ + ".part is there: if no other backup is writing it, remove it");
}

Status Output::write(std::string_view bytes) {
  int fd = is_standard_output() ? STDOUT_FILENO : file_.get();
  while (!bytes.empty()) {
    ssize_t size = ::write(fd, bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return failed("write");
    bytes_ += static_cast<uint64_t>(size);
    bytes.remove_prefix(static_cast<size_t>(size));
  }
  return {};
}

Status Output::finish() {
  if (is_standard_output()) return {};
  if (::fsync(file_.get()) != 0) return failed("write");
  Status status = give_name();
  if (!status.ok()) return status;
  if (::fsync(directory_.get()) != 0) return failed("keep the name of");
  return file_.close() ? Status{} : failed("write");
}

// Another file that got the name meanwhile stays.
Status Output::give_name() {
  int error = 0;
  if (part_.empty()) {
    std::string unnamed = fmt::format("/proc/self/fd/{}", file_.get());
    error = ::linkat(AT_FDCWD, unnamed.c_str(), directory_.get(), name_.c_str(), AT_SYMLINK_FOLLOW);
  } else {
    error = ::renameat2(directory_.get(), part_.c_str(), directory_.get(), name_.c_str(),
                        RENAME_NOREPLACE);
    if (error == 0) part_.clear();
  }
  if (error == 0) return {};
  if (errno != EEXIST) return failed("name");
  return Status::failed(path_ + " is there by now: name another file, or remove it");
}

}  // namespace zabfs::backup
