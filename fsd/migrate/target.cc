#include "fsd/migrate/target.h"

#include <fmt/format.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "consensus/posix_disk.h"

namespace zabfs::migrate {

namespace fs = std::filesystem;

Target::Target(std::string directory, std::string name)
    : directory_(std::move(directory)),
      name_(std::move(name)),
      unfinished_(directory_ + "/" + name_ + ".new") {}

Target::~Target() {
  std::error_code ignored;
  if (is_open_) fs::remove_all(unfinished_, ignored);
}

Status Target::is_free() const {
  std::error_code ignored;
  std::string whole = directory_ + "/" + name_;
  if (fs::symlink_status(whole, ignored).type() == fs::file_type::not_found) return {};
  return Status::failed(
      fmt::format("{} is there already: name another directory, or move it away", whole));
}

Status Target::prepare() {
  Status free = is_free();
  if (!free.ok()) return free;
  std::error_code error;
  fs::create_directories(directory_, error);
  if (!error) fs::remove_all(unfinished_, error);
  if (!error) fs::create_directory(unfinished_, error);
  if (error) return Status::failed(fmt::format("can't make {}: {}", unfinished_, error.message()));
  is_open_ = true;
  fs::path parent = fs::absolute(directory_, error).parent_path();
  consensus::DiskStatus status = consensus::PosixDisk(parent).sync_directory();
  return status.ok() ? Status{} : Status::failed(status.message());
}

Status Target::finish() {
  consensus::PosixDisk directory(directory_);
  consensus::DiskStatus status = consensus::PosixDisk(unfinished_).sync_directory();
  if (status.ok()) status = directory.rename(name_ + ".new", name_);
  if (status.ok()) status = directory.sync_directory();
  if (!status.ok()) return Status::failed(status.message());
  is_open_ = false;
  return {};
}

Status act_as_owner_of(const std::string& directory) {
  struct stat found;
  if (::geteuid() != 0 || ::stat(directory.c_str(), &found) != 0 || found.st_uid == 0) return {};
  bool is_done =
      ::setgroups(0, nullptr) == 0 && ::setegid(found.st_gid) == 0 && ::seteuid(found.st_uid) == 0;
  if (is_done) return {};
  return Status::failed(fmt::format("can't take on the rights of user {}, whose {} is: {}",
                                    found.st_uid, directory, std::strerror(errno)));
}

Status copy_myid(const std::string& from, const std::string& to) {
  std::error_code error;
  if (!fs::is_regular_file(from + "/myid", error) || fs::exists(to + "/myid", error)) return {};
  fs::copy_file(from + "/myid", to + "/myid", error);
  if (!error) return {};
  return Status::failed(fmt::format("can't copy {}/myid to {}: {}", from, to, error.message()));
}

}  // namespace zabfs::migrate
