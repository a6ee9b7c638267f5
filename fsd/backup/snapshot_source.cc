#include "fsd/backup/snapshot_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "consensus/snapshot_store.h"
#include "fsd/beneath.h"

namespace zabfs::backup {
namespace {

class ReadFile : public consensus::File {
 public:
  ReadFile(fsd::Descriptor file, std::string path, uint64_t size)
      : file_(std::move(file)), path_(std::move(path)), size_(size) {}

  consensus::DiskStatus read_at(uint64_t offset, size_t size, std::string& out) override {
    out.resize(size);
    size_t done = 0;
    while (done < size) {
      ssize_t n =
          ::pread(file_.get(), out.data() + done, size - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return {errno, "read " + path_};
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    out.resize(done);
    return {};
  }
  consensus::DiskStatus write_at(uint64_t, std::string_view) override {
    return {EROFS, "write " + path_};
  }
  consensus::DiskStatus sync() override { return {}; }
  uint64_t size() const override { return size_; }

 private:
  const fsd::Descriptor file_;
  const std::string path_;
  const uint64_t size_;
};

}  // namespace

StatusOr<std::unique_ptr<consensus::File>> open_to_read(const std::string& path) {
  // Without O_NONBLOCK a pipe of that name would hold root for ever.
  fsd::Descriptor file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat found = {};
  if (!file || ::fstat(file.get(), &found) != 0) {
    return Status::failed(fmt::format("can't read {}: {}", path, std::strerror(errno)));
  }
  if (!S_ISREG(found.st_mode)) return Status::failed(path + " is no file");
  return std::unique_ptr<consensus::File>(
      std::make_unique<ReadFile>(std::move(file), path, static_cast<uint64_t>(found.st_size)));
}

Status read_snapshot(std::unique_ptr<consensus::File> file, const std::string& path,
                     tree::Zxid zxid, const TakePiece& take) {
  consensus::SnapshotReader reader;
  Status status = reader.open(std::move(file), path, zxid);
  std::string piece;
  while (status.ok()) {
    status = reader.next(piece);
    if (!status.ok() || piece.empty()) break;
    status = take(piece, reader.offset());
  }
  return status;
}

uint64_t memory_bytes() {
  auto pages = static_cast<uint64_t>(std::max(::sysconf(_SC_PHYS_PAGES), 1L));
  return pages * static_cast<uint64_t>(std::max(::sysconf(_SC_PAGESIZE), 1L));
}

}  // namespace zabfs::backup
