// zabfs export and import: a directory of the mount as a directory elsewhere, or as a tar file.
//
// An export is the tree at one zxid: what changes while it is copied, `@/watch-all` tells, and is
// copied again until nothing is left to be told. An import makes each directory's files in one
// commit (`@/txn`), or in as few as their size allows. The data of a directory's own znode is kept
// as `@/data` in it, a name that no child can have; ephemerals are left out.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <sstream>

#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace fs = std::filesystem;

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

bool copy_data(const std::string& from, const std::string& to, int flags, mode_t mode) {
  std::optional<std::string> data = read_file(from);
  if (!data) return false;
  int fd = ::open(to.c_str(), O_WRONLY | O_CLOEXEC | flags, mode);
  if (fd < 0) return false;
  auto size = static_cast<ssize_t>(data->size());
  bool done = ::write(fd, data->data(), data->size()) == size;
  return ::close(fd) == 0 && done;
}

// Owner, mode and time, as far as this user may; errors of chown are those of cp -p: none.
void copy_attributes(const std::string& to, const struct stat& st) {
  if (::lchown(to.c_str(), st.st_uid, st.st_gid) != 0) errno = 0;
  if (!S_ISLNK(st.st_mode)) ::chmod(to.c_str(), st.st_mode & 07777u);
  timespec times[2] = {{0, UTIME_OMIT}, st.st_mtim};
  ::utimensat(AT_FDCWD, to.c_str(), times, AT_SYMLINK_NOFOLLOW);
}

bool is_tar(const std::string& name) {
  for (const char* suffix : {".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst"}) {
    if (name.ends_with(suffix)) return true;
  }
  return false;
}

std::string temporary_directory() {
  std::string directory = fs::temp_directory_path() / "zabfs-XXXXXX";
  return ::mkdtemp(directory.data()) == nullptr ? std::string() : directory;
}

// ---- export

class Export {
 public:
  Export(std::string source, std::string target)
      : source_(std::move(source)), target_(std::move(target)) {}
  ~Export() {
    if (watch_ >= 0) ::close(watch_);
  }

  // An empty string, or what is wrong.
  std::string run() {
    std::string file = join(source_, "@/watch-all");
    watch_ = ::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (watch_ < 0) return error_of(file);
    if (next().empty()) return error_of(file);
    if (!copy(".")) return error_;
    for (int round = 0; round < kMaxRounds; ++round) {
      if (!barrier(source_)) return error_of(source_);
      std::set<std::string> changed;
      for (std::string line = next(); !line.empty(); line = next()) {
        std::istringstream fields(line);
        std::string zxid, type, name;
        fields >> zxid >> type;
        std::getline(fields >> std::ws, name);
        changed.insert(type == "resync" ? "." : name);
      }
      if (errno != EAGAIN) return error_of(source_);
      if (changed.empty()) return {};
      for (const std::string& name : changed) {
        if (!again(name)) return error_;
      }
    }
    return fmt::format("{} changes faster than it can be copied", source_);
  }
  const std::string& zxid() const { return zxid_; }
  const Progress& progress() const { return progress_; }

 private:
  std::string next() {
    char line[8192];
    ssize_t size = ::read(watch_, line, sizeof(line));
    if (size == 0) errno = ENOENT;  // the directory itself is gone
    if (size <= 0) return {};
    std::string text(line, static_cast<size_t>(size) - 1);
    zxid_ = text.substr(0, text.find(' '));
    return text;
  }

  // Copies it over what was copied before; what is gone is taken away.
  bool again(const std::string& name) {
    fs::path to = fs::path(target_) / name;
    std::error_code error;
    struct stat st = {};
    bool is_directory = ::lstat(join(source_, name).c_str(), &st) == 0 && S_ISDIR(st.st_mode);
    // A directory's own change; its children have lines of their own.
    if (is_directory && fs::is_directory(to, error) && name != ".") return copy_one(name, st);
    if (name == ".") {
      for (const std::string& child : names_in(target_)) fs::remove_all(to / child, error);
    } else {
      fs::remove_all(to, error);
    }
    return copy(name);
  }

  bool fails(const std::string& file) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ESTALE) return true;  // gone: that is told
    error_ = error_of(file);
    return false;
  }

  bool copy(const std::string& name) {
    std::string from = join(source_, name);
    struct stat st = {};
    if (::lstat(from.c_str(), &st) != 0) return fails(from);
    if (is_ephemeral(from)) return true;
    if (!copy_one(name, st)) return false;
    if (!S_ISDIR(st.st_mode)) return true;
    for (const std::string& child : names_in(from)) {
      if (!copy(name == "." ? child : join(name, child))) return false;
    }
    copy_attributes(join(target_, name), st);
    return true;
  }

  bool copy_one(const std::string& name, const struct stat& st) {
    std::string from = join(source_, name), to = join(target_, name);
    std::error_code error;
    progress_.add(1, S_ISREG(st.st_mode) ? static_cast<uint64_t>(st.st_size) : 0);
    if (S_ISLNK(st.st_mode)) {
      fs::copy_symlink(from, to, error);
      if (error && error != std::errc::no_such_file_or_directory) {
        error_ = fmt::format("{}: {}", to, error.message());
        return false;
      }
    } else if (S_ISREG(st.st_mode)) {
      if (!copy_data(from, to, O_CREAT | O_TRUNC, 0600)) return fails(to);
    } else {
      fs::create_directory(to, error);
      if (error) {
        error_ = fmt::format("{}: {}", to, error.message());
        return false;
      }
      std::string data = join(from, "@/data");
      struct stat own = {};
      fs::remove_all(join(to, "@"), error);
      if (::stat(data.c_str(), &own) == 0 && own.st_size > 0) {
        fs::create_directory(join(to, "@"), error);
        if (!copy_data(data, join(to, "@/data"), O_CREAT | O_TRUNC, 0600)) return fails(to);
      }
    }
    copy_attributes(to, st);
    return true;
  }

  std::string source_, target_, error_;
  std::string zxid_;
  int watch_ = -1;
  Progress progress_{"exported"};
};

// ---- import

class Import {
 public:
  Import(std::string source, std::string target)
      : source_(std::move(source)), target_(std::move(target)) {}

  std::string run() {
    fill("");
    if (error_.empty()) {
      // Times last: making what is in a directory moves its own.
      for (auto made = made_.rbegin(); made != made_.rend(); ++made) {
        copy_attributes(made->first, made->second);
      }
    }
    return error_;
  }
  std::string summary() const { return fmt::format("{} commits of files", commits_); }
  const Progress& progress() const { return progress_; }

 private:
  struct File {
    std::string name, path;
    struct stat st = {};
  };

  void fill(const std::string& below) {
    std::string from = below.empty() ? source_ : join(source_, below);
    std::string to = below.empty() ? target_ : join(target_, below);
    std::vector<File> batch;
    std::vector<std::string> directories;
    size_t bytes = 0;
    for (const std::string& name : names_in(from)) {
      if (name == "@") continue;
      File file{name, join(from, name)};
      if (::lstat(file.path.c_str(), &file.st) != 0) return set_error(file.path);
      if (S_ISDIR(file.st.st_mode)) {
        directories.push_back(name);
        continue;
      }
      if (!S_ISREG(file.st.st_mode) && !S_ISLNK(file.st.st_mode)) {
        error_ = fmt::format("{}: only files, directories and symlinks can be imported", file.path);
        return;
      }
      size_t size = static_cast<size_t>(file.st.st_size) + file.name.size() + kFileBytes;
      if (!batch.empty() && (bytes + size > kTxnBytes || batch.size() >= kTxnFiles)) {
        if (!commit(batch, to)) return;
        batch.clear();
        bytes = 0;
      }
      bytes += size;
      batch.push_back(std::move(file));
    }
    if (!batch.empty() && !commit(batch, to)) return;
    std::string data = join(from, "@/data");
    if (fs::exists(data) && !copy_data(data, join(to, "@/data"), O_TRUNC, 0)) {
      return set_error(join(to, "@/data"));
    }
    for (const std::string& name : directories) {
      struct stat st = {};
      std::string path = join(to, name), source = join(from, name);
      if (::stat(source.c_str(), &st) != 0) return set_error(source);
      if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return set_error(path);
      made_.emplace_back(path, st);
      progress_.add(1, 0);
      fill(below.empty() ? name : join(below, name));
      if (!error_.empty()) return;
    }
  }

  // One file alone may be too large for a staging copy and its commit: it is written as it is.
  bool write_large(const File& file, const std::string& to) {
    std::string path = join(to, file.name);
    if (!copy_data(file.path, path, O_CREAT | O_TRUNC, 0600)) {
      set_error(path);
      return false;
    }
    copy_attributes(path, file.st);
    progress_.add(1, static_cast<uint64_t>(file.st.st_size));
    ++commits_;
    return true;
  }

  bool commit(const std::vector<File>& batch, const std::string& to) {
    if (batch.size() == 1 && static_cast<size_t>(batch[0].st.st_size) > kTxnBytes) {
      return write_large(batch[0], to);
    }
    std::string staging = join(to, fmt::format("@/txn/import-{}-{}", ::getpid(), ++number_));
    if (::mkdir(staging.c_str(), 0700) != 0) return set_error(staging), false;
    uint64_t bytes = 0;
    for (const File& file : batch) {
      std::string path = join(staging, file.name);
      if (S_ISLNK(file.st.st_mode)) {
        std::error_code error;
        fs::copy_symlink(file.path, path, error);
        if (error) errno = error.value();
        if (error) return give_up(staging, path);
      } else if (!copy_data(file.path, path, O_CREAT | O_EXCL, 0600)) {
        return give_up(staging, path);
      }
      copy_attributes(path, file.st);
      bytes += static_cast<uint64_t>(file.st.st_size);
    }
    if (::rename(staging.c_str(), (staging + ".commit").c_str()) != 0) return give_up(staging, to);
    ++commits_;
    progress_.add(batch.size(), bytes);
    return true;
  }

  bool give_up(const std::string& staging, const std::string& file) {
    set_error(file);
    std::error_code error;
    fs::remove_all(staging, error);
    return false;
  }

  void set_error(const std::string& file) {
    error_ = error_of(file);
    if (errno == ESTALE)
      error_ += "; somebody else changed it: nothing of this directory's files was imported";
  }

  std::string source_, target_, error_;
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
  std::string wrong = exporting.run();
  int code = wrong.empty() ? 0 : fail(wrong);
  if (code == 0 && as_tar) {
    code = run_command({"tar", "--format=posix", "-caf", target, "-C", stage, "."});
    if (code != 0) fail(fmt::format("tar exited with {}; {} is not to be used", code, target));
  }
  if (as_tar) fs::remove_all(stage, error);
  if (code == 0) exporting.progress().end(fmt::format("as of zxid {}", exporting.zxid()));
  return code;
}

int import_tree(const std::string& source, const std::string& directory) {
  struct stat st = {};
  if (::stat(source.c_str(), &st) != 0) return fail(error_of(source));
  if (::access(join(directory, "@/txn").c_str(), F_OK) != 0) {
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
    std::string wrong = importing.run();
    importing.progress().end(importing.summary());
    if (!wrong.empty()) code = fail(wrong);
  }
  std::error_code error;
  if (as_tar) fs::remove_all(stage, error);
  return code;
}

}  // namespace zabfs::tool
