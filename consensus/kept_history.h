// What the node itself needs no more of its log and snapshots, kept for a while so that old
// versions of files can be read (fsd/history).
//
// Where a purge would remove a file, this class renames it, in the same directory:
//
//   log.0000000000000007       ->  history.log.0000000000000007
//   snapshot.0000000200000010  ->  history.snapshot.0000000200000010
//
// Nothing that starts, recovers or mends a node looks at such names. So damage in them harms
// nothing but what can be read of the past, and a crash between two renames leaves files that are
// still the node's, and are renamed by the next purge.
//
// What is kept is removed oldest first, in stretches. A stretch is a snapshot with the segments up
// to the next snapshot: without its snapshot, such a part of the log says little. A stretch goes
// when all its txns are older than Options::max_age_ms, or when all that is kept is more than
// Options::max_bytes. The age is taken from the leader's clock, in the txns.
//
// The node's own writes come first. The disks that this class hands out (`log_disk`,
// `snapshot_disk`) give up the oldest stretch when a write finds no room, and try that write again,
// until it has room or nothing is kept any more.
//
// Limits: what is kept exceeds max_bytes between a purge and the `trim` behind it.
//
// Threading: any thread; a mutex guards what is kept. It is held while files are removed.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "consensus/disk.h"
#include "consensus/mutex.h"
#include "tree/types.h"

namespace zabfs::consensus {

inline constexpr std::string_view kHistoryPrefix = "history.";

class KeptHistory {
 public:
  struct Options {
    uint64_t max_bytes = 1u << 30;  // of log and snapshots together; 0: nothing is kept
    int64_t max_age_ms = 7 * 24 * 3'600 * 1'000;  // 0: the same
    bool is_on() const { return max_bytes != 0 && max_age_ms != 0; }
  };

  KeptHistory(Options options, Disk& log_disk, Disk& snapshot_disk);
  ~KeptHistory();
  KeptHistory(const KeptHistory&) = delete;
  KeptHistory& operator=(const KeptHistory&) = delete;

  // What the node is to write to. `Disk::retire` keeps a file there.
  Disk& log_disk() { return *log_disk_; }
  Disk& snapshot_disk() { return *snapshot_disk_; }

  // Removes what is too old at that time (since 1970), or too much. To be called behind a purge,
  // and now and then. It uses the disks.
  void trim(int64_t now_ms) EXCLUDES(mutex_);
  // A write found no room: the oldest stretch goes. False: nothing is kept.
  bool give_up_oldest() EXCLUDES(mutex_);

  // As of the last purge, trim or write that found no room.
  uint64_t bytes() const { return bytes_; }
  // What was given up for want of room since the last call, in bytes.
  uint64_t take_given_up() { return given_up_.exchange(0); }

 private:
  class KeepingDisk;

  struct Segment {
    std::string name;
    bool is_kept = false;
    tree::Zxid base;
  };
  struct Stretch {
    std::vector<std::string> snapshots, segments;
    std::optional<int64_t> ended_ms;  // its last txn is not later
    bool is_empty() const { return snapshots.empty() && segments.empty(); }
  };

  std::vector<Segment> segments() REQUIRES(mutex_);
  Stretch oldest() REQUIRES(mutex_);
  void remove(const Stretch& stretch) REQUIRES(mutex_);
  uint64_t count_bytes() REQUIRES(mutex_);
  DiskStatus keep(Disk& disk, const std::string& name) EXCLUDES(mutex_);

  const Options options_;
  Disk& raw_log_;
  Disk& raw_snapshots_;
  std::unique_ptr<Disk> log_disk_, snapshot_disk_;
  Mutex mutex_;  // of all that is named history.*
  std::atomic<uint64_t> bytes_{0};
  std::atomic<uint64_t> given_up_{0};
};

}  // namespace zabfs::consensus
