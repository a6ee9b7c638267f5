#include "fsd/archive/new_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace zabfs::archive {

NewFile::~NewFile() {
  if (!beside_.empty()) ::unlinkat(directory_.get(), beside_.c_str(), 0);
}

Status NewFile::failed() const {
  const char* why = errno == EEXIST ? "it is there already: name another one, or move it away"
                                    : std::strerror(errno);
  return Status::failed(fmt::format("{}: {}", path_, why));
}

Status NewFile::open() {
  size_t slash = path_.rfind('/');
  std::string parent = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  name_ = slash == std::string::npos ? path_ : path_.substr(slash + 1);
  directory_ = fsd::Descriptor(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory_) return failed();
  struct stat st = {};
  if (::fstatat(directory_.get(), name_.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0) {
    errno = EEXIST;
    return failed();
  }
  file_ = fsd::Descriptor(::openat(directory_.get(), ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (file_) return {};
  // Not every filesystem has files without a name.
  std::string beside = fmt::format(".{}.zabfs-{}", name_.substr(0, 200), ::getpid());
  file_ = fsd::Descriptor(::openat(directory_.get(), beside.c_str(),
                                   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file_) return failed();
  beside_ = std::move(beside);
  return {};
}

Status NewFile::finish() {
  if (::fsync(file_.get()) != 0) return failed();
  std::string from = fmt::format("/proc/self/fd/{}", file_.get());
  int linked =
      beside_.empty()
          ? ::linkat(AT_FDCWD, from.c_str(), directory_.get(), name_.c_str(), AT_SYMLINK_FOLLOW)
          : ::linkat(directory_.get(), beside_.c_str(), directory_.get(), name_.c_str(), 0);
  if (linked != 0) return failed();
  if (!beside_.empty()) ::unlinkat(directory_.get(), beside_.c_str(), 0);
  beside_.clear();
  if (::fsync(directory_.get()) != 0 || !file_.close()) return failed();
  return {};
}

}  // namespace zabfs::archive
