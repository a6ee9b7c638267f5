#include "consensus/posix_disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

namespace zabfs::consensus {
namespace {

DiskStatus failure(const std::string& operation, const std::string& path) {
  return DiskStatus{errno, operation + " " + path};
}

// The process, or the machine, has no file descriptor left.
bool lacks_descriptor(int error) { return error == EMFILE || error == ENFILE; }

void wait_for_descriptor() { std::this_thread::sleep_for(std::chrono::milliseconds(50)); }

// To whoever reads, what can't be read is damage, and a file that got its name must not be left
// unsynced: they wait for a descriptor.
int open_patiently(const std::string& path, int flags) {
  int fd = -1;
  while ((fd = ::open(path.c_str(), flags | O_CLOEXEC)) < 0 && lacks_descriptor(errno)) {
    wait_for_descriptor();
  }
  return fd;
}

class PosixFile : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }

  DiskStatus read_at(uint64_t offset, size_t size, std::string& out) override {
    out.resize(size);
    size_t done = 0;
    while (done < size) {
      ssize_t n = ::pread(fd_, out.data() + done, size - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failure("read", path_);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    out.resize(done);
    return {};
  }

  DiskStatus write_at(uint64_t offset, std::string_view bytes) override {
    while (!bytes.empty()) {
      ssize_t n = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failure("write", path_);
      offset += static_cast<uint64_t>(n);
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return {};
  }

  DiskStatus sync() override {
    if (::fdatasync(fd_) == 0) return {};
    DiskStatus status = failure("fdatasync", path_);
    status.of_sync = true;
    return status;
  }

  uint64_t size() const override {
    struct stat st;
    return ::fstat(fd_, &st) == 0 ? static_cast<uint64_t>(st.st_size) : 0;
  }

 private:
  int fd_;
  std::string path_;
};

}  // namespace

DiskStatus PosixDisk::open(const std::string& name, bool create, std::unique_ptr<File>& file) {
  int fd = create ? ::open(path(name).c_str(), O_RDWR | O_CLOEXEC | O_CREAT, 0600)
                  : open_patiently(path(name), O_RDWR);
  // Whoever writes steps aside, and comes back, as for want of room.
  if (fd < 0 && lacks_descriptor(errno)) {
    return DiskStatus{ENOSPC, "open " + path(name) + " (no file descriptor is free)", false, true};
  }
  // Enough for who only reads (`zabfs check` of a copy, or as another user).
  if (fd < 0 && !create && (errno == EACCES || errno == EROFS)) {
    fd = open_patiently(path(name), O_RDONLY);
  }
  if (fd < 0) return failure("open", path(name));
  file = std::make_unique<PosixFile>(fd, path(name));
  return {};
}

std::vector<std::string> PosixDisk::list() {
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator entries(directory_, error);
  while (lacks_descriptor(error.value())) {
    wait_for_descriptor();
    entries = std::filesystem::directory_iterator(directory_, error);
  }
  for (const auto& entry : entries) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

DiskStatus PosixDisk::rename(const std::string& from, const std::string& to) {
  if (::rename(path(from).c_str(), path(to).c_str()) == 0) return {};
  return failure("rename", path(from));
}

DiskStatus PosixDisk::remove(const std::string& name) {
  return ::unlink(path(name).c_str()) == 0 ? DiskStatus() : failure("remove", path(name));
}

DiskStatus PosixDisk::sync_directory() {
  int fd = open_patiently(directory_, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return failure("open", directory_);
  DiskStatus status = ::fsync(fd) == 0 ? DiskStatus() : failure("fsync", directory_);
  status.of_sync = !status.ok();
  ::close(fd);
  return status;
}

std::string PosixDisk::path_of(const std::string& name) const {
  std::error_code error;
  std::filesystem::path absolute = std::filesystem::absolute(path(name), error);
  return error ? path(name) : absolute.string();
}

}  // namespace zabfs::consensus
