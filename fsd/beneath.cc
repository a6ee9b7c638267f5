#include "fsd/beneath.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

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

Descriptor open_beneath(int directory, std::string_view path, int flags, mode_t mode) {
  open_how how = {};
  how.flags = static_cast<unsigned>(flags | O_CLOEXEC);
  how.mode = (flags & O_CREAT) != 0 ? mode : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  std::string text(path);
  long fd = 0;
  do {
    fd = ::syscall(SYS_openat2, directory, text.c_str(), &how, sizeof(how));
  } while (fd < 0 && errno == EINTR);
  return Descriptor(static_cast<int>(fd));
}

Place place_beneath(int directory, std::string_view path) {
  size_t slash = path.rfind('/');
  std::string_view parent = slash == std::string_view::npos ? "." : path.substr(0, slash);
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  return {open_beneath(directory, parent, O_PATH | O_DIRECTORY), std::string(name)};
}

}  // namespace zabfs::fsd
