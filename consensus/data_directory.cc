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

std::string DataDirectory::open(const std::string& path, tree::ServerId me, bool& wrong_owner) {
  wrong_owner = false;
  path_ = path + "/zabfs";
  std::string identity_path = path_ + "/identity";
  std::string identity = fmt::format("zabfs 1 server {}", me.value);
  std::error_code error;
  bool exists = std::filesystem::exists(identity_path, error);
  if (exists) {
    std::ifstream in(identity_path);
    std::string found;
    std::getline(in, found);
    if (found != identity) {
      wrong_owner = true;
      return fmt::format("{} belongs to another node (\"{}\", this one is \"{}\"): check dataDir "
                         "and myid",
                         path_, found, identity);
    }
  }
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
  if (!exists) {
    std::ofstream out(identity_path);
    out << identity << "\n";
    out.close();
    if (!out) return fmt::format("can't write {}: {}", identity_path, std::strerror(errno));
  }
  return {};
}

DataDirectory::~DataDirectory() {
  if (lock_fd_ >= 0) ::close(lock_fd_);
}

}  // namespace zabfs::consensus
