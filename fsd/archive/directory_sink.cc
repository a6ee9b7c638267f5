#include "fsd/archive/directory_sink.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "fsd/archive/attributes.h"

namespace zabfs::archive {

namespace {

constexpr uid_t kNoChange = static_cast<uid_t>(-1);

void times_of(const Entry& entry, timespec (&times)[2]) {
  times[0] = {0, UTIME_OMIT};
  times[1] = {entry.mtime.seconds, entry.mtime.nanoseconds};
}

}  // namespace

Status DirectorySink::failed(const std::string& path) const {
  const char* why = std::strerror(errno);
  return Status::failed(fmt::format("{}/{}: {}", name_, transfer::printable(path), why));
}

int DirectorySink::parent_of(const std::string& path) {
  size_t slash = path.rfind('/');
  std::string parent = slash == std::string::npos ? "." : path.substr(0, slash);
  if (!parent_ || parent != parent_path_) {
    parent_ = fsd::open_beneath(top_.get(), parent, O_PATH | O_DIRECTORY);
    parent_path_ = parent;
  }
  return parent_.get();
}

Status DirectorySink::put(const Entry& entry) {
  if (entry.path.empty()) return put_directory(entry);
  int parent = parent_of(entry.path);
  if (parent < 0) return failed(entry.path);
  size_t slash = entry.path.rfind('/');
  std::string name = slash == std::string::npos ? entry.path : entry.path.substr(slash + 1);
  if (entry.kind != Kind::kDirectory) return put_leaf(entry, parent, name);
  if (::mkdirat(parent, name.c_str(), 0700) != 0) return failed(entry.path);
  return put_directory(entry);
}

Status DirectorySink::put_directory(const Entry& entry) {
  Entry known = entry;
  known.data.clear();
  directories_[entry.path] = std::move(known);
  if (entry.data.empty()) return {};
  fsd::Descriptor directory =
      fsd::open_beneath(top_.get(), entry.path.empty() ? "." : entry.path, O_PATH | O_DIRECTORY);
  if (!directory || ::mkdirat(directory.get(), "@", 0755) != 0) return failed(entry.path + "/@");
  return write_file(directory.get(), "@/data", entry, true);
}

Status DirectorySink::put_leaf(const Entry& entry, int directory, const std::string& name) {
  if (entry.kind == Kind::kFile) return write_file(directory, name, entry, false);
  bool is_link = entry.kind == Kind::kSymlink;
  int made = is_link ? ::symlinkat(entry.data.c_str(), directory, name.c_str())
                     : ::mkfifoat(directory, name.c_str(), 0600);
  if (made != 0) return failed(entry.path);
  if (!is_link) {
    fsd::Descriptor fifo = fsd::open_beneath(directory, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
    struct stat st = {};
    bool is_it = fifo && ::fstat(fifo.get(), &st) == 0 && S_ISFIFO(st.st_mode);
    if (is_it) set_attributes(fifo.get(), entry);
    return {};
  }
  timespec times[2];
  times_of(entry, times);
  if (::fchownat(directory, name.c_str(), entry.uid, entry.gid, AT_SYMLINK_NOFOLLOW) != 0)
    errno = 0;
  ::utimensat(directory, name.c_str(), times, AT_SYMLINK_NOFOLLOW);
  if (!attributes_of(entry).empty()) ++incomplete_;  // no symlink can have any
  return {};
}

Status DirectorySink::write_file(int directory, const std::string& name, const Entry& entry,
                                 bool is_own_data) {
  std::string path = is_own_data ? entry.path + "/@/data" : entry.path;
  fsd::Descriptor file =
      fsd::open_beneath(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!file) return failed(path);
  std::string_view rest = entry.data;
  while (!rest.empty()) {
    ssize_t size = ::write(file.get(), rest.data(), rest.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return failed(path);
    rest.remove_prefix(static_cast<size_t>(size));
  }
  if (!is_own_data) set_attributes(file.get(), entry);
  return file.close() ? Status() : failed(path);
}

// The owner first, since a change of it takes setuid away; if that fails, so do setuid and setgid.
void DirectorySink::set_attributes(int fd, const Entry& entry) {
  mode_t mode = entry.mode & tree::kModeBits;
  struct stat st = {};
  if (::fchown(fd, entry.uid, entry.gid) != 0 && ::fchown(fd, kNoChange, entry.gid) != 0) errno = 0;
  bool is_known = ::fstat(fd, &st) == 0;
  if (!is_known || st.st_uid != entry.uid) mode &= ~mode_t{S_ISUID | S_ISGID};
  if (!is_known || st.st_gid != entry.gid) mode &= ~mode_t{S_ISGID};
  bool keeps_all = true;
  for (const auto& [name, value] : attributes_of(entry)) {
    keeps_all &= ::fsetxattr(fd, name.c_str(), value.data(), value.size(), 0) == 0;
  }
  if (!keeps_all) ++incomplete_;
  ::fchmod(fd, mode);
  timespec times[2];
  times_of(entry, times);
  ::futimens(fd, times);
}

// From the lowest up: with its mode a directory may let nobody in any more.
Status DirectorySink::finish() {
  parent_.close();
  for (auto made = directories_.rbegin(); made != directories_.rend(); ++made) {
    fsd::Descriptor directory = fsd::open_beneath(
        top_.get(), made->first.empty() ? "." : made->first, O_RDONLY | O_DIRECTORY);
    if (!directory) return failed(made->first);
    set_attributes(directory.get(), made->second);
  }
  return {};
}

}  // namespace zabfs::archive
