// A disk with a volatile and a durable image of every file and of the directory.
//
// A crash keeps what was synced, and of the rest any subset of writes, torn at sectors; directory
// changes not synced survive as a prefix, as a journalling filesystem keeps them.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "consensus/disk.h"

namespace zabfs::sim {

// Thrown out of an I/O when the crash that was scheduled for it strikes.
struct CrashNow {};

class SimDisk : public consensus::Disk {
 public:
  explicit SimDisk(uint64_t seed) : random_(seed) {}

  consensus::DiskStatus open(const std::string& name, bool create,
                             std::unique_ptr<consensus::File>& file) override;
  std::vector<std::string> list() override;
  consensus::DiskStatus rename(const std::string& from, const std::string& to) override;
  consensus::DiskStatus remove(const std::string& name) override;
  consensus::DiskStatus sync_directory() override;

  // Throws CrashNow in the I/O that many operations from now; 0 disarms.
  void crash_in(uint64_t operations) { crash_countdown_ = operations; }
  // Loses what a power failure loses.
  void crash();

 private:
  friend class SimFile;
  struct Write {
    uint64_t offset;
    std::string bytes;
  };
  struct Inode {
    std::string durable;
    std::string current;
    std::vector<Write> unsynced;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;

  void count_operation();

  std::mt19937_64 random_;
  Names current_, durable_;
  std::vector<Names> unsynced_directory_;  // the directory after each change since its last sync
  uint64_t crash_countdown_ = 0;
};

}  // namespace zabfs::sim
