// The files a replica keeps, behind an interface: the real directory in production (posix_disk.h),
// a model of one with a volatile and a durable image in the simulator.
//
// Failures are values: an errno with the operation and the file. A failed sync is never retried.
// A Disk and its Files may be used from several threads, each File from one at a time.
#pragma once

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
  bool ok() const { return error == 0; }
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
  virtual DiskStatus sync_directory() = 0;
};

}  // namespace zabfs::consensus
