#include "consensus/data_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace zabfs::consensus {

namespace {

std::string identity_of(tree::ServerId me) { return fmt::format("zabfs 1 server {}", me.value); }

}  // namespace

std::string DataDirectory::check(const std::string& path, tree::ServerId me, bool& wrong_owner) {
  wrong_owner = false;
  path_ = path + "/zabfs";
  std::ifstream in(path_ + "/identity");
  std::string found;
  if (in && std::getline(in, found) && found != identity_of(me)) {
    wrong_owner = true;
    return fmt::format(
        "{} belongs to another node (\"{}\", this one is \"{}\"): check dataDir and "
        "myid",
        path_, found, identity_of(me));
  }
  int fd = ::open((path_ + "/lock").c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return {};
  bool in_use = ::flock(fd, LOCK_EX | LOCK_NB) != 0;
  ::close(fd);
  if (!in_use) return {};
  return fmt::format("{} is in use by another zabfsd: stop that one, or name another directory",
                     path_);
}

std::string DataDirectory::open(const std::string& path, tree::ServerId me, bool& wrong_owner) {
  std::string problem = check(path, me, wrong_owner);
  if (!problem.empty()) return problem;
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  if (error) {
    wrong_owner = true;
    return fmt::format("can't create the data directory {}: {}", path_, error.message());
  }
  lock_fd_ = ::open((path_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (lock_fd_ < 0) {
    wrong_owner = true;
    return fmt::format("can't open {}/lock: {}", path_, std::strerror(errno));
  }
  if (::flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    return fmt::format("{} is in use by another zabfsd: stop that one, or name another directory",
                       path_);
  }
  std::string identity_path = path_ + "/identity";
  if (!std::filesystem::exists(identity_path, error)) {
    std::ofstream out(identity_path);
    out << identity_of(me) << "\n";
    out.close();
    if (!out) return fmt::format("can't write {}: {}", identity_path, std::strerror(errno));
  }
  return {};
}

DataDirectory::~DataDirectory() {
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

}  // namespace zabfs::consensus
