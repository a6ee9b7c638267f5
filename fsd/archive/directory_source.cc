#include "fsd/archive/directory_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "fsd/archive/attributes.h"

namespace zabfs::archive {

namespace {

constexpr uint64_t kEntryBytes = 200;  // what one counts for, beside its data
constexpr const char *kRoom = "@", *kOwnData = "@/data";

std::string join(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : path + "/" + std::string(name);
}

Entry entry_of(const struct stat& st, std::string path, Kind kind) {
  Entry entry;
  entry.path = std::move(path);
  entry.kind = kind;
  entry.mode = st.st_mode & tree::kModeBits;
  entry.uid = st.st_uid;
  entry.gid = st.st_gid;
  entry.mtime = {st.st_mtim.tv_sec, static_cast<int32_t>(st.st_mtim.tv_nsec)};
  return entry;
}

// Of an open file.
Status take_attributes(int fd, Entry& entry) {
  char names[4096];
  ssize_t size = ::flistxattr(fd, names, sizeof(names));
  for (ssize_t at = 0; at < size;) {
    const char* name = names + at;
    at += static_cast<ssize_t>(std::strlen(name)) + 1;
    if (!std::string_view(name).starts_with(kPrefix)) continue;
    std::string value(64u << 10, '\0');  // as much as a kernel has in one
    ssize_t bytes = ::fgetxattr(fd, name, value.data(), value.size());
    if (bytes < 0) continue;
    value.resize(static_cast<size_t>(bytes));
    if (Status status = take_attribute(entry, name, value); !status.ok()) return status;
  }
  return {};
}

}  // namespace

DirectorySource::DirectorySource(fsd::Descriptor directory, std::string name)
    : top_(std::move(directory)), name_(std::move(name)), directories_{""} {}

void DirectorySource::measure() {
  std::vector<std::string> paths{"."};
  uint64_t entries = 0;
  while (!paths.empty() && ++entries < kMaxEntries) {
    std::string path = std::move(paths.back());
    paths.pop_back();
    total_ += kEntryBytes;
    fsd::Descriptor directory = fsd::open_beneath(top_.get(), path, O_RDONLY | O_DIRECTORY);
    if (!directory) continue;
    for (const std::string& name : fsd::names_in(directory.get())) {
      struct stat st = {};
      if (name == kRoom || ::fstatat(directory.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0)
        continue;
      if (S_ISDIR(st.st_mode)) {
        paths.push_back(path + "/" + name);
      } else {
        total_ += kEntryBytes + static_cast<uint64_t>(S_ISREG(st.st_mode) ? st.st_size : 0);
      }
    }
  }
}

Source::Taken DirectorySource::failed(const std::string& path) const {
  const char* why = std::strerror(errno);
  return {Status::failed(fmt::format(
              "{}: {}", transfer::printable(path.empty() ? name_ : name_ + "/" + path), why)),
          std::nullopt};
}

Source::Taken DirectorySource::next() {
  while (true) {
    if (!names_.empty()) {
      std::string name = std::move(names_.back());
      names_.pop_back();
      Taken taken = take(name);
      if (!taken.status.ok() || taken.entry) return taken;
      continue;
    }
    // The directories in this one come behind its files, in their order.
    directories_.insert(directories_.end(), std::make_move_iterator(found_.rbegin()),
                        std::make_move_iterator(found_.rend()));
    found_.clear();
    if (directories_.empty()) return {};
    std::string path = std::move(directories_.back());
    directories_.pop_back();
    return enter(path);
  }
}

Source::Taken DirectorySource::enter(const std::string& path) {
  here_ = fsd::open_beneath(top_.get(), path.empty() ? "." : path, O_RDONLY | O_DIRECTORY);
  struct stat st = {};
  if (!here_ || ::fstat(here_.get(), &st) != 0) return failed(path);
  path_ = path;
  names_ = fsd::names_in(here_.get());
  std::reverse(names_.begin(), names_.end());
  Entry entry = entry_of(st, path, Kind::kDirectory);
  if (Status status = take_attributes(here_.get(), entry); !status.ok()) return {status, {}};
  bool is_listed = std::erase(names_, kRoom) > 0;  // a mount does not list it
  struct stat own = {};
  bool has_data = ::fstatat(here_.get(), kOwnData, &own, AT_SYMLINK_NOFOLLOW) == 0;
  if (!has_data && errno != ENOENT && errno != ENOTDIR) return failed(join(path, kOwnData));
  if (has_data && (is_listed || own.st_size > 0)) {
    Status status = read_file(here_.get(), kOwnData, join(path, kOwnData), entry);
    if (!status.ok()) return {status, {}};
  }
  done_ += kEntryBytes;
  Status status = transfer::check(entry);
  return {status, std::move(entry)};
}

Source::Taken DirectorySource::take(const std::string& name) {
  std::string path = join(path_, name);
  struct stat st = {};
  if (::fstatat(here_.get(), name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return failed(path);
  if (++entries_ > kMaxEntries) return {Status::failed(name_ + " has too many entries"), {}};
  Entry entry = entry_of(st, path, Kind::kFile);
  if (Status status = transfer::check_path(path); !status.ok()) {
    return {Status::failed(name_ + "/" + status.why()), {}};
  }
  if (S_ISDIR(st.st_mode)) return found_.push_back(path), Taken{};
  if (S_ISLNK(st.st_mode)) {
    entry.kind = Kind::kSymlink;
    entry.mode = 0777;
    entry.data = fsd::link_at(here_.get(), name);
    if (entry.data.empty()) return failed(path);
  } else if (S_ISFIFO(st.st_mode)) {
    entry.kind = Kind::kFifo;
  } else if (S_ISREG(st.st_mode)) {
    if (Status status = read_file(here_.get(), name, path, entry); !status.ok())
      return {status, {}};
  } else {
    return {Status::failed(
                fmt::format("{}/{}: only files, directories, symlinks and FIFOs can be imported",
                            name_, transfer::printable(path))),
            {}};
  }
  done_ += kEntryBytes + entry.data.size();
  bytes_ += entry.data.size();
  if (bytes_ > kMaxBytes) return {Status::failed(name_ + " has too many bytes"), {}};
  Status status = transfer::check(entry);
  return {status, std::move(entry)};
}

// Its data, and what it is at the time when that is read.
Status DirectorySource::read_file(int directory, const std::string& name, const std::string& path,
                                  Entry& entry) {
  fsd::Descriptor file = fsd::open_beneath(directory, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
  struct stat st = {};
  if (!file || ::fstat(file.get(), &st) != 0) return failed(path).status;
  if (!S_ISREG(st.st_mode)) return errno = ESTALE, failed(path).status;
  bool is_own_data = entry.kind == Kind::kDirectory;
  if (!is_own_data) {
    entry = entry_of(st, entry.path, Kind::kFile);
    if (Status status = take_attributes(file.get(), entry); !status.ok()) return status;
  }
  size_t at = 0;
  auto expected = static_cast<size_t>(std::max<off_t>(st.st_size, 0));
  if (expected <= kMaxFileBytes) entry.data.resize(expected + 1);  // one more finds the end
  while (expected <= kMaxFileBytes) {
    if (at == entry.data.size()) entry.data.resize(std::min(2 * at, kMaxFileBytes + 1));
    ssize_t size = ::read(file.get(), entry.data.data() + at, entry.data.size() - at);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return failed(path).status;
    at += static_cast<size_t>(size);
    if (size == 0 || at > kMaxFileBytes) break;
  }
  entry.data.resize(std::min(at, entry.data.size()));
  if (expected <= kMaxFileBytes && at <= kMaxFileBytes) return {};
  return Status::failed(fmt::format("{}/{}: no node takes files of more than {} bytes", name_,
                                    transfer::printable(path), kMaxFileBytes));
}

}  // namespace zabfs::archive
