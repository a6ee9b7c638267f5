#include "fsd/archive/archive_source.h"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "fsd/archive/attributes.h"

namespace zabfs::archive {

namespace {

constexpr size_t kPieceBytes = 256u << 10;
constexpr int64_t kEndBytes = 512;  // of zeros, at least

std::string error_of_archive(::archive* a) {
  const char* text = archive_error_string(a);
  return text == nullptr ? "it is malformed" : text;
}

std::optional<Kind> kind_of(::archive_entry* header) {
  switch (archive_entry_filetype(header)) {
    case AE_IFREG:
      return Kind::kFile;
    case AE_IFDIR:
      return Kind::kDirectory;
    case AE_IFLNK:
      return Kind::kSymlink;
    case AE_IFIFO:
      return Kind::kFifo;
    default:
      return std::nullopt;
  }
}

bool is_id(int64_t id) { return id >= 0 && id < int64_t{tree::kNoId}; }

}  // namespace

ArchiveSource::ArchiveSource(int fd, std::string name)
    : fd_(fd),
      name_(std::move(name)),
      outer_(archive_read_new()),
      inner_(archive_read_new()),
      packed_(kPieceBytes, '\0'),
      unpacked_(kPieceBytes, '\0') {
  // Those that libarchive does by itself: it would run programs for others.
  archive_read_support_filter_gzip(outer_);
  archive_read_support_filter_bzip2(outer_);
  archive_read_support_filter_compress(outer_);
  archive_read_support_filter_xz(outer_);
  archive_read_support_filter_lzma(outer_);
  archive_read_support_filter_zstd(outer_);
  archive_read_support_filter_lz4(outer_);
  archive_read_support_format_raw(outer_);
  archive_read_support_format_empty(outer_);
  archive_read_support_format_tar(inner_);
  struct stat st = {};
  if (fd >= 0 && ::fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
    total_ = static_cast<uint64_t>(st.st_size);
  }
}

ArchiveSource::~ArchiveSource() {
  archive_read_free(inner_);
  archive_read_free(outer_);
}

ssize_t ArchiveSource::read_packed(::archive* outer, void* data, const void** bytes) {
  auto* self = static_cast<ArchiveSource*>(data);
  *bytes = self->packed_.data();
  ssize_t size = ::read(self->fd_, self->packed_.data(), self->packed_.size());
  if (size < 0) archive_set_error(outer, errno, "%s", std::strerror(errno));
  if (size > 0) self->read_ += static_cast<uint64_t>(size);
  return size;
}

ssize_t ArchiveSource::read_unpacked(::archive* inner, void* data, const void** bytes) {
  auto* self = static_cast<ArchiveSource*>(data);
  if (!self->has_begun_) {
    archive_entry* raw = nullptr;
    int begun = archive_read_next_header(self->outer_, &raw);
    if (begun == ARCHIVE_EOF) return 0;
    if (begun != ARCHIVE_OK && begun != ARCHIVE_WARN) {
      archive_set_error(inner, EIO, "%s", error_of_archive(self->outer_).c_str());
      return -1;
    }
    self->has_begun_ = true;
  }
  ssize_t size = archive_read_data(self->outer_, self->unpacked_.data(), self->unpacked_.size());
  if (size < 0) {
    archive_set_error(inner, EIO, "%s", error_of_archive(self->outer_).c_str());
    return -1;
  }
  self->unpacked_bytes_ += static_cast<uint64_t>(size);
  if (self->unpacked_bytes_ > kMaxBytes) {
    archive_set_error(inner, EFBIG, "it unpacks to more than %d GiB",
                      static_cast<int>(kMaxBytes >> 30));
    return -1;
  }
  *bytes = self->unpacked_.data();
  return size;
}

Source::Taken ArchiveSource::failed(const std::string& why) const {
  return {Status::failed(fmt::format("{}: {}", name_, why)), std::nullopt};
}

Status ArchiveSource::open() {
  is_open_ = true;
  if (archive_read_open(outer_, this, nullptr, read_packed, nullptr) != ARCHIVE_OK) {
    return failed(error_of_archive(outer_)).status;
  }
  if (archive_read_open(inner_, this, nullptr, read_unpacked, nullptr) != ARCHIVE_OK) {
    bool is_empty = has_begun_ && unpacked_bytes_ == 0;
    return failed(is_empty ? "it is empty" : error_of_archive(inner_)).status;
  }
  return {};
}

Source::Taken ArchiveSource::next() {
  if (!is_open_) {
    if (Status status = open(); !status.ok()) return {status, std::nullopt};
  }
  while (next_.empty()) {
    archive_entry* header = nullptr;
    int result = archive_read_next_header(inner_, &header);
    if (result == ARCHIVE_EOF) return end();
    if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return failed(error_of_archive(inner_));
    if (++entries_ > kMaxEntries) {
      return failed(fmt::format("it has more than {} entries", kMaxEntries));
    }
    Taken taken = take(header);
    if (!taken.status.ok()) return taken;
    if (taken.entry) next_.push_back(std::move(*taken.entry));
  }
  Entry entry = std::move(next_.back());
  next_.pop_back();
  return {{}, std::move(entry)};
}

// A tar ends with zeros, which libarchive does not insist on; and what it is packed in may have a
// checksum behind them.
Source::Taken ArchiveSource::end() {
  if (unpacked_bytes_ == 0) return failed("it is empty");
  const void* rest = nullptr;
  int64_t end = archive_read_header_position(inner_);
  ssize_t size = 0;
  do {
    size = read_unpacked(inner_, this, &rest);
  } while (size > 0);
  if (size < 0) return failed(error_of_archive(inner_));
  if (static_cast<int64_t>(unpacked_bytes_) - end < kEndBytes) return failed("it was cut off");
  return {};
}

Source::Taken ArchiveSource::take(::archive_entry* header) {
  const char* raw = archive_entry_pathname(header);
  if (raw == nullptr) return failed("an entry has a name that is no text");
  StatusOr<Named> named = entry_named(raw);
  if (!named.ok()) return failed(named.why());
  auto refused = [&](const char* why) {
    return failed(fmt::format("{}: {}", transfer::printable(raw), why));
  };
  if (archive_entry_hardlink(header) != nullptr) return refused("a hard link can't be imported");
  std::optional<Kind> kind = kind_of(header);
  if (!kind) return refused("only files, directories, symlinks and FIFOs can be imported");
  bool is_directory = *kind == Kind::kDirectory;
  if (named->is_room) return is_directory ? Taken{} : refused("a file can't have the name @");
  if (named->is_own_data && *kind != Kind::kFile) return refused("this must be a file");
  if (!is_id(archive_entry_uid(header)) || !is_id(archive_entry_gid(header))) {
    return refused("the owner's number is too large");
  }
  Entry entry;
  entry.path = named->path;
  entry.kind = named->is_own_data ? Kind::kDirectory : *kind;
  if (named->is_own_data) entry.part = Part::kOwnData;
  entry.mode = static_cast<uint32_t>(archive_entry_perm(header));
  entry.uid = static_cast<uint32_t>(archive_entry_uid(header));
  entry.gid = static_cast<uint32_t>(archive_entry_gid(header));
  entry.mtime.seconds = archive_entry_mtime(header);
  entry.mtime.nanoseconds = static_cast<int32_t>(archive_entry_mtime_nsec(header));
  if (Status status = take_data(header, entry); !status.ok()) return failed(status.why());
  return after_directories(std::move(entry));
}

Status ArchiveSource::take_data(::archive_entry* header, Entry& entry) {
  auto refused = [&entry](const std::string& why) {
    return Status::failed(fmt::format("{}: {}", transfer::printable(entry.path), why));
  };
  if (entry.kind == Kind::kSymlink) {
    const char* target = archive_entry_symlink(header);
    entry.mode = 0777;
    entry.data = target == nullptr ? "" : target;
  } else if (archive_entry_filetype(header) == AE_IFREG) {
    int64_t size = archive_entry_size(header);
    if (size < 0 || size > static_cast<int64_t>(kMaxFileBytes)) {
      return refused(
          fmt::format("has {} bytes; no node takes files of more than {}", size, kMaxFileBytes));
    }
    entry.data.resize(static_cast<size_t>(size));
    size_t at = 0;
    while (at < entry.data.size()) {
      ssize_t part = archive_read_data(inner_, entry.data.data() + at, entry.data.size() - at);
      if (part < 0) return refused(error_of_archive(inner_));
      if (part == 0) return refused("it was cut off");
      at += static_cast<size_t>(part);
    }
  }
  if (entry.part == Part::kOwnData) return transfer::check(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  archive_entry_xattr_reset(header);
  while (archive_entry_xattr_next(header, &name, &value, &size) == ARCHIVE_OK) {
    if (name == nullptr || value == nullptr) continue;
    Status taken = take_attribute(entry, name, {static_cast<const char*>(value), size});
    if (!taken.ok()) return taken;
  }
  return transfer::check(entry);
}

// Directories above it that the tar has not named come first.
Source::Taken ArchiveSource::after_directories(Entry entry) {
  bool is_directory = entry.kind == Kind::kDirectory;
  std::vector<std::string> missing;
  if (entry.part == Part::kOwnData && !entry.path.empty() && !directories_.contains(entry.path)) {
    missing.push_back(entry.path);
  }
  for (size_t slash = entry.path.rfind('/'); slash != std::string::npos && slash > 0;
       slash = entry.path.rfind('/', slash - 1)) {
    std::string above = entry.path.substr(0, slash);
    if (directories_.contains(above)) break;
    missing.push_back(std::move(above));
  }
  if (is_directory) directories_.insert(entry.path);
  next_.push_back(std::move(entry));
  // The lowest one is first in `missing`, and is to be last.
  for (std::string& path : missing) {
    Entry implied;
    implied.path = path;
    implied.kind = Kind::kDirectory;
    implied.part = Part::kImplied;
    implied.mode = 0755;
    implied.uid = ::geteuid();
    implied.gid = ::getegid();
    directories_.insert(std::move(path));
    next_.push_back(std::move(implied));
    if (++entries_ > kMaxEntries) return failed("it has too many directories");
  }
  return {};
}

}  // namespace zabfs::archive
