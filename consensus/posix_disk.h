// Disk on a real directory.
#pragma once

#include "consensus/disk.h"

namespace zabfs::consensus {

class PosixDisk : public Disk {
 public:
  // The directory must exist.
  explicit PosixDisk(std::string directory) : directory_(std::move(directory)) {}

  DiskStatus open(const std::string& name, bool create, std::unique_ptr<File>& file) override;
  std::vector<std::string> list() override;
  DiskStatus rename(const std::string& from, const std::string& to) override;
  DiskStatus remove(const std::string& name) override;
  DiskStatus sync_directory() override;
  std::string path_of(const std::string& name) const override;  // absolute

 private:
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  std::string directory_;
};

}  // namespace zabfs::consensus
