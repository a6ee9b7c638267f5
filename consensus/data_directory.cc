#include "consensus/data_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "consensus/posix_disk.h"

namespace zabfs::consensus {

namespace {

// The directory and its name are there after a power failure; or an error.
DiskStatus make_durable_directory(const std::string& path) {
  std::error_code error;
  std::filesystem::path parent = std::filesystem::absolute(path, error).parent_path();
  if (!std::filesystem::exists(parent, error)) {
    DiskStatus status = make_durable_directory(parent);
    if (!status.ok()) return status;
  }
  if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
    return DiskStatus{errno, "can't create " + path};
  }
  return PosixDisk(parent).sync_directory();
}

DiskStatus write_identity(const std::string& directory, const std::string& line) {
  PosixDisk disk(directory);
  std::unique_ptr<File> file;
  DiskStatus status = disk.open("identity.tmp", true, file);
  if (status.ok()) status = file->write_at(0, line);
  if (status.ok()) status = file->sync();
  return disk.install(status, "identity.tmp", "identity");
}

std::string identity_of(tree::ServerId me) { return fmt::format("zabfs 1 server {}", me.value); }

bool holds_javas_data(const std::string& path) {
  std::error_code error;
  std::filesystem::directory_iterator files(path + "/version-2", error), end;
  for (; !error && files != end; files.increment(error)) {
    std::string name = files->path().filename();
    if (name.starts_with("snapshot.") || name.starts_with("log.")) return true;
  }
  return false;
}

std::string quoted(const std::string& word) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@";
  if (word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string text = "'";
  for (char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

}  // namespace

Status DataDirectory::check(const std::string& path, tree::ServerId me) {
  is_misconfigured_ = false;
  path_ = storage_in(path);
  std::ifstream in(path_ + "/identity");
  std::string found;
  if (in && std::getline(in, found) && found != identity_of(me)) {
    is_misconfigured_ = true;
    return Status::failed(
        fmt::format("{} belongs to another node (\"{}\", this one is \"{}\"): check dataDir and "
                    "myid",
                    path_, found, identity_of(me)));
  }
  if (!is_in_use(path_)) return {};
  return Status::failed(fmt::format(
      "{} is in use by another zabfsd: stop that one, or name another directory", path_));
}

Status DataDirectory::check_taken_over(const std::string& path, const std::string& log_directory,
                                       tree::ServerId me) {
  bool split = !log_directory.empty() && log_directory != path;
  const std::string& logs = split ? log_directory : path;
  if (::access((storage_in(path) + "/identity").c_str(), F_OK) == 0) return {};
  if (!holds_javas_data(path) && !holds_javas_data(logs)) return {};
  std::string command = "zabfs import-zookeeper " + quoted(path);
  if (split) command += " --log " + quoted(logs);
  command += " " + quoted(path);
  if (split) command += " --to-log " + quoted(logs);
  return Status::failed(fmt::format(
      "{} holds Apache ZooKeeper's data (version-2), and none of zabfsd's. Stop that ZooKeeper, "
      "and take its data over by `{} --server {}`, or name another dataDir, to begin with an empty "
      "tree",
      path, command, me.value));
}

StatusOr<std::string> DataDirectory::find_storage(const std::string& directory) {
  std::error_code error;
  std::string inner = storage_in(directory);
  std::string storage = std::filesystem::is_directory(inner, error) ? inner : directory;
  if (std::filesystem::exists(storage + "/identity", error)) return storage;
  return Status::failed(fmt::format("{} holds no data of zabfsd's", storage));
}

DiskStatus DataDirectory::create(const std::string& storage, tree::ServerId me) {
  DiskStatus status = make_durable_directory(storage);
  return status.ok() ? write_identity(storage, identity_of(me) + "\n") : status;
}

bool DataDirectory::is_in_use(const std::string& storage) {
  int fd = ::open((storage + "/lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool is_locked = ::flock(fd, LOCK_SH | LOCK_NB) != 0;
  ::close(fd);
  return is_locked;
}

Status DataDirectory::open(const std::string& path, tree::ServerId me) {
  if (Status checked = check(path, me); !checked.ok()) return checked;
  DiskStatus status = make_durable_directory(path_);
  if (!status.ok()) {
    is_misconfigured_ = true;
    return Status::failed(status.message());
  }
  lock_fd_ = ::open((path_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0) {
    is_misconfigured_ = true;
    return Status::failed(fmt::format("can't open {}/lock: {}", path_, std::strerror(errno)));
  }
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    return Status::failed(fmt::format(
        "{} is in use by another zabfsd: stop that one, or name another directory", path_));
  }
  if (::access((path_ + "/identity").c_str(), F_OK) == 0) return {};
  status = write_identity(path_, identity_of(me) + "\n");
  return status.ok() ? Status{} : Status::failed(status.message());
}

DataDirectory::~DataDirectory() {
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

}  // namespace zabfs::consensus
