// All of a node's log and snapshots to read: the node's own, and what is kept of the past
// (kept_history.h), under the names that they had. The node may rename or remove any of them
// meanwhile: a file is found under either name, or is gone.
//
// Read-only. Any thread, as the disk.
#pragma once

#include "consensus/disk.h"

namespace zabfs::consensus {

class KeptFiles : public Disk {
 public:
  explicit KeptFiles(Disk& disk) : disk_(disk) {}

  DiskStatus open(const std::string& name, bool create, std::unique_ptr<File>& file) override;
  std::vector<std::string> list() override;
  DiskStatus rename(const std::string& from, const std::string& to) override;
  DiskStatus remove(const std::string& name) override;
  DiskStatus sync_directory() override;

 private:
  Disk& disk_;
};

}  // namespace zabfs::consensus
