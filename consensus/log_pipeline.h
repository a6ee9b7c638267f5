// The way of a txn to the disk: what waits for the log, the write under way, and all else that uses
// the log. This class alone owns the Log (log.h) and gives work to the lane of its disk.
//
// A lane (environment.h) runs one job after the other on a thread that may block. The strand hands
// a job over, goes on, and hears of the result later. So the strand itself never waits for a disk:
//
//   strand   append, append -> end_of_batch                      -> Outcomes::written
//   lane                       Log::write of both, with one sync
//
// At most one write is under way. Entries that come meanwhile wait, and share the next write.
//
// When a role ends, memory has to say again what the disk says (ZAB.md section 1.7). The replica
// calls `leave_role`. Then the class
//   1. forgets the entries that no job has,
//   2. waits for the write under way,
//   3. gives the lane a job that rolls back a group without its end, and reads the txns that the
//      replica's memory lacks (ReadPlan),
//   4. hands over what the log holds: Outcomes::settled.
// Nothing is written between 1 and 4.
//
// A write may find no room (ZAB.md section 3.9). The log is full then, until a probe finds room. A
// probe hands over what the log holds as well, and so it must come behind step 3. Example, on a
// disk that takes seconds for a write:
//   1. A received snapshot finds no room while a write is under way, with the beginning of a group.
//   2. The role ends. The class waits for that write. A second passes, and a probe is due.
//   3. A probe behind that write would find the open group in the log, and call it history. The
//      node would vote with a history that step 3 above takes away right after.
//   4. So the probe waits until the write has ended and the group is rolled back.
//
// Limits: nothing bounds the queue but its callers. While it is longer than
// Options::max_queue_bytes, Outcomes::hold tells the replica to read nothing more from its links.
//
// Threading: an object of the strand, driven by the replica. Its jobs on the lane use the log and
// what they were given, and nothing else of the object. On the strand the log is only used while
// the lane has no job (`at_rest`).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "consensus/environment.h"
#include "consensus/histogram.h"
#include "consensus/log.h"
#include "consensus/snapshot_store.h"

namespace zabfs::consensus {

class LogPipeline {
 public:
  static constexpr int64_t kRoomProbeMs = 1'000;  // between two looks at a full disk
  static constexpr int64_t kSealAfterMs = 100;    // an idle log's last batch is sealed

  struct Options {
    uint64_t segment_bytes = 16u << 20;
    size_t max_queue_bytes = 64u << 20;
    int64_t warn_after_ms = 1'000;  // of a write with its sync; Java: fsync.warningthresholdms
  };
  // A batch is durable.
  struct Written {
    Zxid last;                           // of its txns; zero: it has none
    std::vector<uint32_t> ended_epochs;  // of the synchronisations that end with it
  };
  // What was read from the disk, in the order of the log.
  struct Reading {
    bool is_whole = false;  // false: the log does not hold all that was asked for
    std::deque<LogTxn> txns;
  };
  // A role is over, and this is all that the log holds.
  struct Settled {
    History history;
    uint32_t current_epoch = 0;
    std::optional<Zxid> read_after;  // as ReadPlan said
    Reading reading;                 // of the txns after it
    bool found_room = false;         // the disk was full until now
  };
  // With the history that the log has on the disk: the txns after which zxid are missing in memory.
  // nullopt: none. It is called on the lane, and must use nothing but copies.
  using ReadPlan = std::function<std::optional<Zxid>(const History&)>;
  // Where results go. All are called on the strand.
  struct Outcomes {
    std::function<void(const Written&)> written;
    std::function<void(const DiskStatus&)> full;  // a write found no room: see `note_full`
    std::function<void(Settled)> settled;
    std::function<ReadPlan()> plan_reading;  // asked for when a job for `settled` begins
    std::function<void(bool held)> hold;     // of all links, from now on
  };

  LogPipeline(Options options, Environment& environment, Disk& log_disk, SnapshotStore& snapshots,
              Outcomes outcomes);
  LogPipeline(const LogPipeline&) = delete;
  LogPipeline& operator=(const LogPipeline&) = delete;

  // ---- recovery
  // The log itself, before the first entry is appended.
  Log& at_rest();
  Reading read(const History& history, Zxid after, Zxid through) const;

  // ---- writing
  void append(LogEntry entry);
  size_t queue_bytes() const { return queue_bytes_; }
  bool holds_links() const { return holds_links_; }
  // How long writes of batches took, each with its fsync. Any thread.
  Durations write_times() const { return write_times_.durations(); }
  // What the strand calls at the end of a batch: first `write_many` before it flushes the network,
  // so that the disk is busy meanwhile if there is much to write, then `end_of_batch`. `committed`
  // is noted in the log with the batch: the last zxid that this node has applied.
  void write_many(Zxid committed);
  void end_of_batch(Zxid committed);
  // The last batch gets a witness of its having been synced, if the log is idle (log_format.h).
  void seal_soon() { seal_at_ms_ = environment_.now_ms() + kSealAfterMs; }
  void on_timer();
  // When `on_timer` is to be called; INT64_MAX: not for now.
  int64_t wake_ms() const;

  // ---- the end of a role
  void leave_role();

  // ---- a full disk
  bool is_full() const { return is_full_; }
  // A write found no room, here or for a file of about so many bytes on the snapshots' disk. True:
  // that is news. The caller ends the role, and Outcomes::settled waits for room.
  bool note_full(size_t snapshot_bytes);

  // ---- other work of the lane, in turn with the writes
  // `job` on the lane, then `done` on the strand.
  void run(std::function<void(const Log&)> job, std::function<void()> done);
  // Retires snapshots older than `oldest`, then the part of the log that only they need. `done` is
  // told where the log begins now.
  void purge(Zxid oldest, bool forgets_damaged, std::function<void(Zxid base)> done);
  // The node is whole again: what was set aside may go, in the next job.
  void forget_damaged() { forgets_damaged_ = true; }

  // ---- reading what is durable, beside the lane
  void read_in_background(const History& history, Zxid after, Zxid through, size_t max_bytes,
                          std::function<void(Reading)> done);
  void find_in_background(std::vector<Log::Range> wanted, size_t max_bytes,
                          std::function<void(std::map<Zxid, Payload>)> done);

 private:
  void write(Zxid committed);
  void warn_if_slow(int64_t took_ms) const;
  void batch_written(const std::vector<LogEntry>& batch, const DiskStatus& status,
                     bool wants_spare);
  void prepare_spare();
  void tell_hold();
  void seal();
  void settle();
  void probe();
  bool can_probe() const { return !busy_ && !settling_ && !preparing_spare_; }
  void take_stock(std::function<DiskStatus()> first,
                  std::function<void(const DiskStatus&, Settled)> done);

  const Options options_;
  Environment& environment_;
  Disk& disk_;
  SnapshotStore& snapshots_;
  const Outcomes outcomes_;
  Log log_;

  Histogram write_times_;
  std::vector<LogEntry> queue_;
  size_t queue_bytes_ = 0;  // of its txns
  bool holds_links_ = false;
  bool busy_ = false;  // a write, or what ends a role, is on the lane
  bool settling_ = false;
  bool preparing_spare_ = false;
  bool forgets_damaged_ = false;
  int64_t seal_at_ms_ = INT64_MAX;
  bool is_full_ = false;
  int64_t next_probe_ms_ = INT64_MAX;
  size_t missing_snapshot_bytes_ = 0;  // the largest file that found no room
};

}  // namespace zabfs::consensus
