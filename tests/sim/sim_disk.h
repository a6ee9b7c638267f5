// A disk with a volatile and a durable image of every file and of the directory.
//
// A crash keeps what was synced, and of the rest any subset of writes, torn at sectors; directory
// changes not synced survive as a prefix, as a journalling filesystem keeps them. Beside that bytes
// rot, sectors can't be read, syncs fail, and space runs out, when the test says so.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <set>
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
  // What would be there after a crash that loses all that was not synced: files whose names begin
  // so.
  SimDisk after_worst_crash(const std::vector<std::string>& prefixes) const;
  // A new, empty disk.
  void wipe();
  // From now on all files together hold at most so many bytes; 0 is no limit.
  void set_capacity(uint64_t bytes) { capacity_ = bytes; }
  // And of writes that need more, some find room below that, some don't.
  void set_scarce(bool scarce) { scarce_ = scarce; }
  bool is_limited() const { return capacity_ != 0 || scarce_; }
  uint64_t used_bytes() const;
  bool exists(const std::string& name) const { return current_.contains(name); }
  // Nothing scheduled strikes any more, and there is room.
  void end_faults() {
    crash_countdown_ = capacity_ = 0;
    fail_sync_ = scarce_ = false;
  }
  // The next sync fails, and what it was to make durable may be lost or not.
  void fail_next_sync() { fail_sync_ = true; }
  // One byte of a file changes, also in what is durable.
  void rot(const std::string& name, uint64_t offset);
  // Reading that sector fails until it is written again.
  void break_sector(const std::string& name, uint64_t offset);

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
    std::set<uint64_t> broken;  // sectors
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;

  void count_operation();
  bool has_room(uint64_t bytes);

  std::mt19937_64 random_;
  Names current_, durable_;
  std::vector<Names> unsynced_directory_;  // the directory after each change since its last sync
  uint64_t crash_countdown_ = 0;
  uint64_t capacity_ = 0;
  bool fail_sync_ = false;
  bool scarce_ = false;
};

}  // namespace zabfs::sim
