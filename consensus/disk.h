// The files a replica keeps, behind an interface: the real directory in production (posix_disk.h),
// a model of one with a volatile and a durable image in the simulator.
//
// Failures are values: an errno with the operation and the file. A failed sync is never retried.
// A Disk and its Files may be used from several threads, each File from one at a time.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace zabfs::consensus {

struct DiskStatus {
  int error = 0;  // errno, 0 is success
  std::string what;
  bool of_sync = false;           // nothing can be known any more of what was written to that file
  bool lacks_descriptor = false;  // that is why there is no room: files that go don't help
  bool ok() const { return error == 0; }
  // There is no room, and the write simply did not happen.
  bool is_full() const { return (error == ENOSPC || error == EDQUOT) && !of_sync; }
  // As it counts for a file that nothing refers to yet: it can be made anew.
  DiskStatus of_unused_file() const { return DiskStatus{error, what, false, lacks_descriptor}; }
  std::string message() const { return what + ": " + std::strerror(error); }
};

class File {
 public:
  virtual ~File() = default;
  // Reads up to `size` bytes; fewer only at the end of the file.
  virtual DiskStatus read_at(uint64_t offset, size_t size, std::string& out) = 0;
  virtual DiskStatus write_at(uint64_t offset, std::string_view bytes) = 0;
  virtual DiskStatus sync() = 0;  // data, and the size if it changed
  virtual uint64_t size() const = 0;
};

class Disk {
 public:
  virtual ~Disk() = default;
  // Opens for reading and writing. With `create`, makes an empty file where there is none.
  virtual DiskStatus open(const std::string& name, bool create, std::unique_ptr<File>& file) = 0;
  virtual std::vector<std::string> list() = 0;  // sorted
  virtual DiskStatus rename(const std::string& from, const std::string& to) = 0;
  virtual DiskStatus remove(const std::string& name) = 0;
  // The node needs the file no more: it is removed, or kept out of the node's sight.
  virtual DiskStatus retire(const std::string& name) { return remove(name); }
  virtual DiskStatus sync_directory() = 0;
  // Where others find that file; the name alone if they don't.
  virtual std::string path_of(const std::string& name) const { return name; }

  // The end of making a file that must be there whole or not at all: `written` says how writing and
  // syncing it as `temporary` went; it gets its name, or is removed.
  DiskStatus install(const DiskStatus& written, const std::string& temporary,
                     const std::string& name) {
    if (!written.ok()) {
      static_cast<void>(remove(temporary));
      return written.of_unused_file();
    }
    DiskStatus status = rename(temporary, name);
    return status.ok() ? sync_directory() : status;
  }
};

}  // namespace zabfs::consensus
