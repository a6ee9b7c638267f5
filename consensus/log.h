// The transaction log: what makes a txn durable (layout and rules in log_format.h).
//
// `open` recovers; afterwards the I/O lane of the replica calls `write` with one batch at a time,
// which returns once it is on disk. `read` may be called meanwhile, for what is durable.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "consensus/disk.h"
#include "consensus/history.h"
#include "consensus/log_reader.h"
#include "consensus/protocol.h"

namespace zabfs::consensus {

struct LogEntry {
  log_format::RecordType type = log_format::RecordType::kTxn;
  Zxid zxid;
  uint32_t extra = 0;  // SyncMode of kBeginSync, epoch of kEndSync
  Payload txn;         // of kTxn
};

struct LogRecovery {
  std::string error;                // the disk refuses: nothing was recovered
  std::vector<std::string> damage;  // file, offset and what is wrong; the log is to be mended
  std::string note;                 // what was repaired
};

class Log {
 public:
  struct Options {
    uint64_t segment_bytes = 16u << 20;
  };
  struct Range {  // of txns: (after, through]
    Zxid after, through;
  };

  Log(Disk& disk, Options options) : disk_(disk), options_(options) {}

  // Recovers what is there; where there is nothing, `begin` makes a log. With damage, `history` is
  // the intact beginning, and `mend` or `restart_at` must come before any write.
  LogRecovery open();
  DiskStatus begin() { return is_new_ ? start_segment(0) : DiskStatus{}; }
  // The txns without which `mend` can't be done; nullopt: it can't be done at all.
  const std::optional<std::vector<Range>>& missing() const { return missing_; }
  // What the history will be then.
  const History& mended_history() const { return mended_history_; }
  // Makes a damaged log whole again, with the missing txns as some peer's log has them: (epoch,
  // counter) names one txn for good. A crash in between leaves it as damaged as before.
  DiskStatus mend(const std::map<Zxid, Payload>& missing);
  // Gives up what the log holds: the files are set aside as `damaged.*`, and a new one begins after
  // the snapshot at `base`. For a node that has given up its vote before.
  DiskStatus restart_at(Zxid base, uint32_t epoch);
  // With a snapshot at `zxid`, a start needs no segment before the one that it lies in. If what
  // begins there is intact to the end, or can be mended, they are set aside, with the damage in
  // them. False: nothing was.
  bool set_aside_before(Zxid zxid);
  // The node is whole again: what was set aside may go.
  void forget_damaged();

  // As recovered, and after each write.
  const History& history() const { return state_.history; }
  // Without the synchronisation that is under way.
  const History& ended_history() const { return state_.group ? state_.group->history : history(); }
  uint32_t current_epoch() const { return state_.current_epoch; }
  bool is_new() const { return is_new_; }  // there is no log
  // It was begun, perhaps, and nothing was ever written.
  bool holds_nothing() const;

  // As recovered: a txn up to which the log itself says that it was committed.
  Zxid committed() const { return committed_; }
  // As recovered: whether a snapshot that the log goes on from, at `base`, is known to hold nothing
  // but what was committed. A leader's snapshot is not, until it said UPTODATE.
  bool knows_committed(Zxid base) const { return base == first_base_ || base <= committed_; }

  // Appends a batch and syncs it. `committed` is noted with it. A txn longer than what can be read
  // back (log_format.h) is refused before anything is written. After ENOSPC the log is as before,
  // and `make_room` says when to try again; any other failure is for good.
  DiskStatus write(const std::vector<LogEntry>& batch, Zxid committed);
  DiskStatus make_room();
  // Forgets a group whose end was not written.
  DiskStatus roll_back_group();
  // Makes the next segment ready, so that rolling to it costs little: the reserve of a full disk.
  DiskStatus prepare_spare();
  bool wants_spare() const { return !has_spare_ && position_ > segment_size_ / 2; }

  // The txns of `history` in (after, through], in order, but no more than `max_bytes` of them and
  // one; false if the log does not hold them.
  static bool read(Disk& disk, const History& history, Zxid after, Zxid through, size_t max_bytes,
                   std::deque<LogTxn>& txns);
  // Those of the txns wanted that are intact here, whatever else is damaged or was cut off: a zxid
  // names one txn for good. No more than `max_bytes` of them and one.
  static std::map<Zxid, Payload> find(Disk& disk, std::vector<Range> wanted, size_t max_bytes);
  // Retires segments all of whose txns are at or before `zxid`; the new base.
  Zxid purge(Zxid zxid);

 private:
  // While a group is open: the segment that it began in, where its records there end, and what held
  // before it.
  struct OpenGroup {
    uint64_t number, end;
    uint32_t end_chain;
    History history;
  };
  // What the records up to some point add up to.
  struct State {
    History history;
    uint32_t current_epoch = 0;
    uint32_t chain = 0;
    std::optional<OpenGroup> group;
    bool take(const log_format::RecordHeader& header, uint64_t number, uint64_t offset);
  };
  void plan_mending();
  bool is_intact_from(uint64_t first, Zxid zxid);
  DiskStatus start_segment(uint64_t at_least_bytes);
  DiskStatus fill_with_zeros(File& file, uint64_t from, uint64_t to);

  Disk& disk_;
  Options options_;
  std::unique_ptr<File> file_;
  uint64_t number_ = 0;       // of the segment being written
  uint64_t next_number_ = 1;  // of the one after it
  uint64_t position_ = 0;
  uint64_t segment_size_ = 0;
  std::atomic<bool> has_spare_{false};  // set by the background lane, taken by the I/O lane
  std::string buffer_;
  bool is_new_ = false;

  State state_;
  Zxid committed_;
  Zxid first_base_;  // where the first segment begins

  // Of a damaged log: the intact records behind the damage, and what lies between.
  struct BehindDamage {
    LogEntry entry;
    size_t damages;  // before it
  };
  std::vector<BehindDamage> behind_;
  std::optional<std::vector<Range>> missing_;
  History mended_history_;
};

}  // namespace zabfs::consensus
