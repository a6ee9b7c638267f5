#include "fsd/archive/archive_sink.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "fsd/archive/attributes.h"

namespace zabfs::archive {

namespace {

struct Freed {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};

unsigned type_of(Kind kind) {
  switch (kind) {
    case Kind::kFile:
    case Kind::kSocket:
      return AE_IFREG;
    case Kind::kDirectory:
      return AE_IFDIR;
    case Kind::kSymlink:
      return AE_IFLNK;
    case Kind::kFifo:
      return AE_IFIFO;
  }
  return AE_IFREG;
}

}  // namespace

std::optional<Packing> packing_of(std::string_view name) {
  if (name.ends_with(".tar")) return Packing::kNone;
  if (name.ends_with(".tar.gz") || name.ends_with(".tgz")) return Packing::kGzip;
  if (name.ends_with(".tar.xz")) return Packing::kXz;
  if (name.ends_with(".tar.zst")) return Packing::kZstd;
  return std::nullopt;
}

ArchiveSink::ArchiveSink(int fd, std::string name, Packing packing)
    : fd_(fd), name_(std::move(name)), archive_(archive_write_new()) {
  archive_write_set_format_pax(archive_);
  archive_write_set_format_option(archive_, "pax", "xattrheader", "SCHILY");
  switch (packing) {
    case Packing::kNone:
      break;
    case Packing::kGzip:
      archive_write_add_filter_gzip(archive_);
      break;
    case Packing::kXz:
      archive_write_add_filter_xz(archive_);
      break;
    case Packing::kZstd:
      archive_write_add_filter_zstd(archive_);
      break;
  }
  archive_write_set_bytes_in_last_block(archive_, 1);  // no zeros behind what is packed
  is_open_ = archive_write_open(archive_, this, nullptr, write_packed, nullptr) == ARCHIVE_OK;
}

// What was not finished is not made to look as if it was.
ArchiveSink::~ArchiveSink() {
  if (is_open_) archive_write_fail(archive_);
  archive_write_free(archive_);
}

ssize_t ArchiveSink::write_packed(::archive* a, void* data, const void* bytes, size_t size) {
  auto* self = static_cast<ArchiveSink*>(data);
  ssize_t written = 0;
  do {
    written = ::write(self->fd_, bytes, size);
  } while (written < 0 && errno == EINTR);
  if (written < 0) archive_set_error(a, errno, "%s", std::strerror(errno));
  return written;
}

Status ArchiveSink::failed() const {
  const char* why = archive_error_string(archive_);
  return Status::failed(fmt::format("{}: {}", name_, why == nullptr ? "can't write it" : why));
}

Status ArchiveSink::put(const Entry& entry) {
  std::string name = entry.path.empty() ? "." : "./" + entry.path;
  bool is_directory = entry.kind == Kind::kDirectory;
  Status status = put_one(entry, name, entry.kind, is_directory ? std::string_view() : entry.data);
  if (!status.ok() || !is_directory || entry.data.empty()) return status;
  Entry own;
  own.mode = 0600;
  own.uid = entry.uid;
  own.gid = entry.gid;
  own.mtime = entry.mtime;
  return put_one(own, name + "/@/data", Kind::kFile, entry.data);
}

Status ArchiveSink::put_one(const Entry& entry, const std::string& name, Kind kind,
                            std::string_view data) {
  if (!is_open_) return failed();
  std::unique_ptr<archive_entry, Freed> header(archive_entry_new());
  archive_entry_set_pathname(header.get(), name.c_str());
  archive_entry_set_filetype(header.get(), type_of(kind));
  archive_entry_set_perm(header.get(), static_cast<mode_t>(entry.mode));
  archive_entry_set_uid(header.get(), entry.uid);
  archive_entry_set_gid(header.get(), entry.gid);
  archive_entry_set_mtime(header.get(), entry.mtime.seconds, entry.mtime.nanoseconds);
  if (kind == Kind::kSymlink) {
    archive_entry_set_symlink(header.get(), std::string(data).c_str());
    data = {};
  }
  archive_entry_set_size(header.get(), static_cast<int64_t>(data.size()));
  for (const auto& [attribute, value] : attributes_of(entry)) {
    archive_entry_xattr_add_entry(header.get(), attribute.c_str(), value.data(), value.size());
  }
  if (archive_write_header(archive_, header.get()) < ARCHIVE_WARN) return failed();
  while (!data.empty()) {
    ssize_t written = archive_write_data(archive_, data.data(), data.size());
    if (written <= 0) return failed();
    data.remove_prefix(static_cast<size_t>(written));
  }
  return {};
}

Status ArchiveSink::finish() {
  if (!is_open_ || archive_write_close(archive_) != ARCHIVE_OK) return failed();
  is_open_ = false;
  return {};
}

}  // namespace zabfs::archive
