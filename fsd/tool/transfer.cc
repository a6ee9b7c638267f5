// zabfs export and import: a directory of the mount as a directory elsewhere, or as a tar file.
//
// An export is the tree at one zxid: what changes while it is copied, `@/watch-all` tells, and is
// copied again until nothing is left to be told. An import makes each directory's files in one
// commit (`@/txn`), or in as few as their size allows. The data of a directory's own znode is kept
// as `@/data` in it, a name that no child can have; ephemerals are left out.
//
// Root copies what others may change meanwhile, and their directories: both ends are opened once,
// and everything below is found from there, past no symlink (beneath.h). A directory that is being
// filled is its maker's alone, and gets its owner and mode last.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "fsd/beneath.h"
#include "fsd/tool/process.h"
#include "fsd/tool/tool.h"
#include "tree/status.h"

namespace zabfs::tool {

namespace fs = std::filesystem;
using fsd::Descriptor;
using fsd::open_beneath;

namespace {

constexpr int kMaxRounds = 1'000;      // of an export whose source does not stand still
constexpr size_t kTxnBytes = 900'000;  // of one commit of an import
constexpr size_t kTxnFiles = 2'000;
constexpr size_t kFileBytes = 200;  // about what a file takes in it beside its data
constexpr int64_t kProgressMs = 200;

class Progress {
 public:
  explicit Progress(std::string verb) : verb_(std::move(verb)) {}
  void add(size_t files, uint64_t bytes) {
    files_ += files;
    bytes_ += bytes;
    if (::isatty(STDERR_FILENO) == 0 || now_ms() - shown_ms_ < kProgressMs) return;
    shown_ms_ = now_ms();
    fmt::print(stderr, "\r{}", text());
  }
  std::string text() const { return fmt::format("{} {} entries, {} bytes", verb_, files_, bytes_); }
  void end(const std::string& rest) const {
    fmt::print(stderr, "{}{}, {}\n", ::isatty(STDERR_FILENO) != 0 ? "\r" : "", text(), rest);
  }

 private:
  std::string verb_;
  size_t files_ = 0;
  uint64_t bytes_ = 0;
  int64_t shown_ms_ = 0;
};

// Owner, mode and time, as far as this user may; errors of chown are those of cp -p: none.
void set_attributes(int fd, const struct stat& st) {
  const timespec times[2] = {{0, UTIME_OMIT}, st.st_mtim};
  if (::fchown(fd, st.st_uid, st.st_gid) != 0) errno = 0;
  ::fchmod(fd, st.st_mode & 07777u);
  ::futimens(fd, times);
}

bool is_directory(int directory, const std::string& name) {
  struct stat st = {};
  return ::fstatat(directory, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

// The data of a file; false, and errno, if that fails.
bool copy_data(int from, const std::string& source, int to, const std::string& target, int flags) {
  Descriptor in = open_beneath(from, source, O_RDONLY | O_NONBLOCK);
  struct stat st = {};
  if (!in || ::fstat(in.get(), &st) != 0) return false;
  if (!S_ISREG(st.st_mode)) return errno = ESTALE, false;  // something else took its place
  std::optional<std::string> data = read_all(in.get());
  if (!data) return false;
  Descriptor out = open_beneath(to, target, O_WRONLY | flags, 0600);
  return out && write_all(out.get(), *data) && out.close();
}

// A new file, or a new symlink, with owner, mode and time.
bool copy_leaf(int from, const std::string& source, int to, const std::string& target,
               const struct stat& st, int flags) {
  if (S_ISLNK(st.st_mode)) {
    std::string end = fsd::link_at(from, source);
    if (end.empty() || ::symlinkat(end.c_str(), to, target.c_str()) != 0) return false;
    const timespec times[2] = {{0, UTIME_OMIT}, st.st_mtim};
    const char* link = target.c_str();
    if (::fchownat(to, link, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) != 0) errno = 0;
    ::utimensat(to, link, times, AT_SYMLINK_NOFOLLOW);
    return true;
  }
  if (!copy_data(from, source, to, target, flags)) return false;
  Descriptor made = open_beneath(to, target, O_RDONLY | O_NONBLOCK);
  if (made) set_attributes(made.get(), st);
  return true;
}

bool is_tar(const std::string& name) {
  for (const char* suffix : {".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst"}) {
    if (name.ends_with(suffix)) return true;
  }
  return false;
}

// A directory in a new one, which is this user's alone whatever becomes of the inner one.
std::string temporary_directory() {
  std::string outer = fs::temp_directory_path() / "zabfs-XXXXXX";
  if (::mkdtemp(outer.data()) == nullptr) return {};
  std::string inner = join(outer, "tree");
  return ::mkdir(inner.c_str(), 0700) == 0 ? inner : std::string();
}

void remove_temporary(const std::string& inner) {
  std::error_code error;
  fs::remove_all(fs::path(inner).parent_path(), error);
}

// "FILE: why", from errno.
Status failed(const std::string& file) { return Status::failed(error_of(file)); }

// ---- export

class Export {
 public:
  Export(std::string source, std::string target)
      : source_name_(std::move(source)), target_name_(std::move(target)) {}

  Status run() {
    source_ = Descriptor(::open(source_name_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!source_) return failed(source_name_);
    target_ = Descriptor(::open(target_name_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!target_) return failed(target_name_);
    watch_ = open_beneath(source_.get(), "@/watch-all", O_RDONLY | O_NONBLOCK);
    if (!watch_ || next().empty()) return failed(join(source_name_, "@/watch-all"));
    if (!copy(".")) return Status::failed(error_);
    for (int round = 0; round < kMaxRounds; ++round) {
      if (::fsync(source_.get()) != 0) return failed(source_name_);  // a barrier
      std::set<std::string> changed;
      for (std::string line = next(); !line.empty(); line = next()) {
        std::istringstream fields(line);
        std::string zxid, type, name;
        fields >> zxid >> type;
        std::getline(fields >> std::ws, name);
        changed.insert(type == "resync" ? "." : name);
      }
      if (errno != EAGAIN) return failed(source_name_);
      if (changed.empty()) return finish();
      for (const std::string& name : changed) {
        if (!again(name)) return Status::failed(error_);
      }
    }
    return Status::failed(fmt::format("{} changes faster than it can be copied", source_name_));
  }
  const std::string& zxid() const { return zxid_; }
  const Progress& progress() const { return progress_; }

 private:
  std::string next() {
    char line[8192];
    ssize_t size = ::read(watch_.get(), line, sizeof(line));
    if (size == 0) errno = ENOENT;  // the directory itself is gone
    if (size <= 0) return {};
    std::string text(line, static_cast<size_t>(size) - 1);
    zxid_ = text.substr(0, text.find(' '));
    return text;
  }

  // Copies it over what was copied before; what is gone is taken away.
  bool again(const std::string& name) {
    fsd::Place to = fsd::place_beneath(target_.get(), name);
    fsd::Place from = fsd::place_beneath(source_.get(), name);
    if (name == ".") {
      for (const std::string& child : fsd::names_in(target_.get())) {
        fsd::remove_beneath(target_.get(), child);
      }
    } else if (to.parent && from.parent && is_directory(to.parent.get(), to.name) &&
               is_directory(from.parent.get(), from.name)) {
      return copy_one(name);  // a directory's own change; its children have lines of their own
    } else if (to.parent) {
      fsd::remove_beneath(to.parent.get(), to.name);
    }
    return copy(name);
  }

  // What is gone, or something else, by now: that is told.
  bool fails(const std::string& file) {
    for (int told : {ENOENT, ENOTDIR, ESTALE, ELOOP}) {
      if (errno == told) return true;
    }
    error_ = error_of(file);
    return false;
  }

  bool copy(const std::string& name) {
    if (name != "." && is_ephemeral(source_.get(), name)) return true;
    if (!copy_one(name)) return false;
    Descriptor from = open_beneath(source_.get(), name, O_PATH | O_DIRECTORY);
    if (!from) return fails(join(source_name_, name));  // a file has no children
    std::vector<std::string> children = fsd::names_in(from.get());
    from.close();
    for (const std::string& child : children) {
      if (!copy(name == "." ? child : join(name, child))) return false;
    }
    return true;
  }

  bool copy_one(const std::string& name) {
    fsd::Place from = fsd::place_beneath(source_.get(), name);
    fsd::Place to = fsd::place_beneath(target_.get(), name);
    struct stat st = {};
    if (!from.parent || !to.parent ||
        ::fstatat(from.parent.get(), from.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      return fails(join(source_name_, name));
    }
    progress_.add(1, S_ISREG(st.st_mode) ? static_cast<uint64_t>(st.st_size) : 0);
    if (!S_ISDIR(st.st_mode)) {
      return copy_leaf(from.parent.get(), from.name, to.parent.get(), to.name, st,
                       O_CREAT | O_EXCL) ||
             fails(join(target_name_, name));
    }
    if (name != "." && ::mkdirat(to.parent.get(), to.name.c_str(), 0700) != 0 && errno != EEXIST) {
      return fails(join(target_name_, name));
    }
    directories_[name == "." ? "" : name] = st;
    return copy_own_data(name);
  }

  // What a directory's znode holds itself.
  bool copy_own_data(const std::string& name) {
    Descriptor from = open_beneath(source_.get(), name, O_PATH | O_DIRECTORY);
    Descriptor to = open_beneath(target_.get(), name, O_PATH | O_DIRECTORY);
    if (!from || !to || !fsd::remove_beneath(to.get(), "@")) return fails(join(target_name_, name));
    struct stat own = {};
    if (::fstatat(from.get(), "@/data", &own, 0) != 0 || own.st_size == 0) return true;
    return (::mkdirat(to.get(), "@", 0755) == 0 &&
            copy_data(from.get(), "@/data", to.get(), "@/data", O_CREAT | O_EXCL)) ||
           fails(join(target_name_, name));
  }

  // From the lowest up: with its mode a directory may let nobody in any more.
  Status finish() {
    for (auto made = directories_.rbegin(); made != directories_.rend(); ++made) {
      Descriptor directory = open_beneath(target_.get(), made->first.empty() ? "." : made->first,
                                          O_RDONLY | O_DIRECTORY);
      if (directory) set_attributes(directory.get(), made->second);
    }
    return {};
  }

  std::string source_name_, target_name_, error_;
  Descriptor source_, target_, watch_;
  std::map<std::string, struct stat> directories_;
  std::string zxid_;
  Progress progress_{"exported"};
};

// ---- import

class Import {
 public:
  Import(std::string source, std::string target)
      : source_name_(std::move(source)), target_name_(std::move(target)) {}

  Status run() {
    source_ = Descriptor(::open(source_name_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!source_) return failed(source_name_);
    target_ = Descriptor(::open(target_name_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!target_) return failed(target_name_);
    fill(".");
    if (error_.empty()) {
      // Times last: making what is in a directory moves its own.
      for (auto made = made_.rbegin(); made != made_.rend(); ++made) {
        Descriptor directory = open_beneath(target_.get(), made->first, O_RDONLY | O_DIRECTORY);
        if (directory) set_attributes(directory.get(), made->second);
      }
    }
    return error_.empty() ? Status() : Status::failed(error_);
  }
  std::string summary() const { return fmt::format("{} commits of files", commits_); }
  const Progress& progress() const { return progress_; }

 private:
  struct File {
    std::string name;
    struct stat st = {};
  };
  // A directory at both ends; the path is below these.
  struct Ends {
    std::string path;
    Descriptor from, to;
  };

  void fill(const std::string& path) {
    std::vector<std::string> directories;
    if (!fill_files(path, directories)) return;
    for (const std::string& name : directories) {
      fill(path == "." ? name : join(path, name));
      if (!error_.empty()) return;
    }
  }

  bool fill_files(const std::string& path, std::vector<std::string>& directories) {
    Ends at{path, open_beneath(source_.get(), path, O_PATH | O_DIRECTORY), Descriptor()};
    if (!at.from) return fails(source_name_, path);
    at.to = open_beneath(target_.get(), path, O_PATH | O_DIRECTORY);
    if (!at.to) return fails(target_name_, path);
    std::vector<File> batch;
    size_t bytes = 0;
    for (const std::string& name : fsd::names_in(at.from.get())) {
      if (name == "@") continue;
      File file{name};
      if (::fstatat(at.from.get(), name.c_str(), &file.st, AT_SYMLINK_NOFOLLOW) != 0) {
        return fails(source_name_, join(path, name));
      }
      if (S_ISDIR(file.st.st_mode)) {
        if (!make_directory(at, file)) return false;
        directories.push_back(name);
        continue;
      }
      if (!S_ISREG(file.st.st_mode) && !S_ISLNK(file.st.st_mode)) {
        error_ = fmt::format("{}: only files, directories and symlinks can be imported",
                             join(join(source_name_, path), name));
        return false;
      }
      size_t size = static_cast<size_t>(file.st.st_size) + file.name.size() + kFileBytes;
      if (!batch.empty() && (bytes + size > kTxnBytes || batch.size() >= kTxnFiles)) {
        if (!commit(at, batch)) return false;
        batch.clear();
        bytes = 0;
      }
      bytes += size;
      batch.push_back(std::move(file));
    }
    if (!batch.empty() && !commit(at, batch)) return false;
    if (copy_data(at.from.get(), "@/data", at.to.get(), "@/data", O_TRUNC)) return true;
    return errno == ENOENT || errno == ENOTDIR || fails(source_name_, join(path, "@/data"));
  }

  bool make_directory(const Ends& at, const File& directory) {
    if (::mkdirat(at.to.get(), directory.name.c_str(), 0700) != 0 && errno != EEXIST) {
      return fails(target_name_, join(at.path, directory.name));
    }
    made_.emplace_back(join(at.path, directory.name), directory.st);
    progress_.add(1, 0);
    return true;
  }

  // One file alone may be too large for a staging copy and its commit: it is written as it is.
  bool write_large(const Ends& at, const File& file) {
    if (!copy_leaf(at.from.get(), file.name, at.to.get(), file.name, file.st, O_CREAT | O_TRUNC)) {
      return fails(target_name_, join(at.path, file.name));
    }
    progress_.add(1, static_cast<uint64_t>(file.st.st_size));
    ++commits_;
    return true;
  }

  bool commit(const Ends& at, const std::vector<File>& batch) {
    if (batch.size() == 1 && static_cast<size_t>(batch[0].st.st_size) > kTxnBytes) {
      return write_large(at, batch[0]);
    }
    std::string name = fmt::format("@/txn/import-{}-{}", ::getpid(), ++number_);
    if (::mkdirat(at.to.get(), name.c_str(), 0700) != 0) {
      return fails(target_name_, join(at.path, name));
    }
    Descriptor staging = open_beneath(at.to.get(), name, O_PATH | O_DIRECTORY);
    if (!staging) return give_up(at, name, name);
    uint64_t bytes = 0;
    for (const File& file : batch) {
      if (!copy_leaf(at.from.get(), file.name, staging.get(), file.name, file.st,
                     O_CREAT | O_EXCL)) {
        return give_up(at, name, join(name, file.name));
      }
      bytes += static_cast<uint64_t>(file.st.st_size);
    }
    if (::renameat(at.to.get(), name.c_str(), at.to.get(), (name + ".commit").c_str()) != 0) {
      return give_up(at, name, "");
    }
    ++commits_;
    progress_.add(batch.size(), bytes);
    return true;
  }

  bool give_up(const Ends& at, const std::string& staging, const std::string& file) {
    fails(target_name_, join(at.path, file));
    fsd::remove_beneath(at.to.get(), staging);
    return false;
  }

  bool fails(const std::string& end, const std::string& path) {
    error_ = error_of(join(end, path));
    if (errno == ESTALE)
      error_ += "; somebody else changed it: nothing of this directory's files was imported";
    return false;
  }

  std::string source_name_, target_name_, error_;
  Descriptor source_, target_;
  std::vector<std::pair<std::string, struct stat>> made_;
  int commits_ = 0, number_ = 0;
  Progress progress_{"imported"};
};

}  // namespace

int export_tree(const std::string& directory, const std::string& target) {
  bool as_tar = is_tar(target);
  std::string stage = as_tar ? temporary_directory() : target;
  if (stage.empty()) return fail(error_of(fs::temp_directory_path()));
  std::error_code error;
  if (!as_tar && !fs::create_directory(target, error)) {
    bool is_empty = fs::is_directory(target, error) && fs::is_empty(target, error);
    if (!is_empty) return fail(fmt::format("{} must be new, or an empty directory", target));
  }
  Export exporting(directory, stage);
  Status status = exporting.run();
  int code = status.ok() ? 0 : fail(status.why());
  if (code == 0 && as_tar) {
    code = run_command({"tar", "--format=posix", "-caf", target, "-C", stage, "."});
    if (code != 0) fail(fmt::format("tar exited with {}; {} is not to be used", code, target));
  }
  if (as_tar) remove_temporary(stage);
  if (code == 0) exporting.progress().end(fmt::format("as of zxid {}", exporting.zxid()));
  return code;
}

int import_tree(const std::string& source, const std::string& directory) {
  struct stat st = {};
  if (::stat(source.c_str(), &st) != 0) return fail(error_of(source));
  if (!is_in_mount(directory)) {
    return fail(fmt::format("{} is no directory of a zabfs mount", directory), kUsage);
  }
  bool as_tar = !S_ISDIR(st.st_mode);
  std::string stage = as_tar ? temporary_directory() : source;
  if (stage.empty()) return fail(error_of(fs::temp_directory_path()));
  int code = 0;
  if (as_tar) {
    code = run_command({"tar", "-xpf", source, "-C", stage});
    if (code != 0) fail(fmt::format("tar exited with {}; nothing is imported", code));
  }
  if (code == 0) {
    Import importing(stage, directory);
    Status status = importing.run();
    importing.progress().end(importing.summary());
    if (!status.ok()) code = fail(status.why());
  }
  if (as_tar) remove_temporary(stage);
  return code;
}

}  // namespace zabfs::tool
