#include "fsd/beneath.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace zabfs::fsd {

bool Descriptor::close() {
  int fd = std::exchange(fd_, -1);
  if (fd < 0) return true;
  int error = errno;
  if (::close(fd) != 0) return false;
  errno = error;
  return true;
}

namespace {

Descriptor open_resolved(int directory, std::string_view path, int flags, mode_t mode,
                         uint64_t resolve) {
  open_how how = {};
  how.flags = static_cast<unsigned>(flags | O_CLOEXEC);
  how.mode = (flags & O_CREAT) != 0 ? mode : 0;
  how.resolve = resolve;
  std::string text(path);
  long fd = 0;
  do {
    fd = ::syscall(SYS_openat2, directory, text.c_str(), &how, sizeof(how));
  } while (fd < 0 && errno == EINTR);
  return Descriptor(static_cast<int>(fd));
}

}  // namespace

Descriptor open_beneath(int directory, std::string_view path, int flags, mode_t mode) {
  return open_resolved(directory, path, flags, mode,
                       RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

Descriptor open_without_links(std::string_view path, int flags) {
  return open_resolved(AT_FDCWD, path, flags, 0, RESOLVE_NO_SYMLINKS);
}

Place place_beneath(int directory, std::string_view path) {
  size_t slash = path.rfind('/');
  std::string_view parent = slash == std::string_view::npos ? "." : path.substr(0, slash);
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  return {open_beneath(directory, parent, O_PATH | O_DIRECTORY), std::string(name)};
}

std::vector<std::string> names_in(int directory) {
  std::vector<std::string> names;
  Descriptor again = open_beneath(directory, ".", O_RDONLY | O_DIRECTORY);
  DIR* open = ::fdopendir(again.get());
  if (open == nullptr) return names;
  while (dirent* entry = ::readdir(open)) {
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  again.release();
  ::closedir(open);
  std::sort(names.begin(), names.end());
  return names;
}

bool remove_beneath(int directory, const std::string& name) {
  if (::unlinkat(directory, name.c_str(), 0) == 0 || errno == ENOENT) return true;
  if (errno != EISDIR) return false;
  {
    Descriptor inner = open_beneath(directory, name, O_PATH | O_DIRECTORY);
    if (!inner) return false;
    for (const std::string& child : names_in(inner.get())) {
      if (!remove_beneath(inner.get(), child)) return false;
    }
  }
  return ::unlinkat(directory, name.c_str(), AT_REMOVEDIR) == 0;
}

std::string link_at(int directory, const std::string& name) {
  char target[PATH_MAX];
  ssize_t size = ::readlinkat(directory, name.c_str(), target, sizeof(target));
  return size > 0 ? std::string(target, static_cast<size_t>(size)) : std::string();
}

}  // namespace zabfs::fsd
