// Files below a directory that others write to, found without ever leaving it: no symlink is
// followed, no mount is entered, ".." does not pass its top.
//
// Whoever runs as root opens the directory once, and reaches everything below it by these. Between
// a check of a path and its use, an attacker can put another file there.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zabfs::fsd {

// A file descriptor that closes itself; -1: none.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() { close(); }
  // False, and errno, if what was written did not arrive.
  bool close();
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

// openat2(2) with a path below `directory`, or "." for the directory itself. No descriptor, and
// errno: EXDEV at another mount, ELOOP at a symlink. O_PATH | O_NOFOLLOW opens a symlink itself.
Descriptor open_beneath(int directory, std::string_view path, int flags, mode_t mode = 0);
// openat2(2) with a path from anywhere in which no symlink is followed.
Descriptor open_without_links(std::string_view path, int flags);

// The directory that holds a path, and the name in it: for the *at() calls, none of which follows
// that name.
struct Place {
  Descriptor parent;
  std::string name;  // "." for the top itself
};
Place place_beneath(int directory, std::string_view path);

std::vector<std::string> names_in(int directory);  // sorted; none if it can't be read
// Removes a name, and what is below it; false, and errno, if something is left.
bool remove_beneath(int directory, const std::string& name);
// Where a symlink leads; empty, and errno, if it is none.
std::string link_at(int directory, const std::string& name);

}  // namespace zabfs::fsd
