// The transaction log: what makes a txn durable (layout and rules in log_format.h).
//
// `open` recovers; afterwards the I/O lane of the replica calls `write` with one batch at a time,
// which returns once it is on disk. `read` may be called meanwhile, for what is durable.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "consensus/disk.h"
#include "consensus/history.h"
#include "consensus/log_format.h"
#include "consensus/protocol.h"

namespace zabfs::consensus {

struct LogEntry {
  log_format::RecordType type = log_format::RecordType::kTxn;
  Zxid zxid;
  uint32_t extra = 0;  // SyncMode of kBeginSync, epoch of kEndSync
  Payload txn;         // of kTxn
};

struct LogTxn {
  Zxid zxid;
  Payload txn;
};

class Log {
 public:
  struct Options {
    uint64_t segment_bytes = 16u << 20;
  };

  Log(Disk& disk, Options options) : disk_(disk), options_(options) {}

  // Recovers what is there, or makes a new log. An empty string, or what is wrong: a corrupt
  // segment is named with its offset and nothing is changed. `notes` says what was repaired.
  std::string open(std::string& notes);

  // As recovered, and after each write.
  const History& history() const { return history_; }
  uint32_t current_epoch() const { return current_epoch_; }

  // As recovered: a txn up to which the log itself says that it was committed.
  Zxid committed() const { return committed_; }

  // Appends a batch and syncs it. `committed` is noted with it.
  DiskStatus write(const std::vector<LogEntry>& batch, Zxid committed);
  // Forgets a group whose end was not written.
  DiskStatus roll_back_group();
  // Makes the next segment ready, so that rolling to it costs little.
  DiskStatus prepare_spare();
  bool wants_spare() const { return !has_spare_ && position_ > segment_size_ / 2; }

  // The txns in (after, through], in order; false if the log does not reach back that far.
  static bool read(Disk& disk, Zxid after, Zxid through, std::deque<LogTxn>& txns);
  // Removes segments all of whose txns are at or before `zxid`; the new base.
  Zxid purge(Zxid zxid);

 private:
  struct Scan;
  DiskStatus start_segment(uint64_t at_least_bytes);
  DiskStatus fill_with_zeros(File& file, uint64_t from, uint64_t to);

  Disk& disk_;
  Options options_;
  std::unique_ptr<File> file_;
  uint64_t number_ = 0;
  uint64_t position_ = 0;
  uint64_t segment_size_ = 0;
  uint32_t chain_ = 0;
  std::atomic<bool> has_spare_{false};  // set by the background lane, taken by the I/O lane
  std::string buffer_;

  History history_;
  uint32_t current_epoch_ = 0;
  Zxid committed_;
  // While a group is open: where it began, and what held before it.
  struct OpenGroup {
    uint64_t number, position;
    uint32_t chain;
    History history;
  };
  std::optional<OpenGroup> group_;
};

}  // namespace zabfs::consensus
