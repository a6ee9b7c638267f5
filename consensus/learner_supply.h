// What a leader sends a learner of the past: the history that its log lacks, or a snapshot and the
// history behind it (ZAB.md section 1.4).
//
// A learner that was away for a short time is sent the newest txns out of memory (recent_txns.h).
// All else comes from the disk. The class reads it in pieces, in the background, beside the other
// work of the leader. It reads no faster than the learner takes it: the next piece is read when
// less than a piece waits for room in the learner's connection.
//
// New proposals for such a learner must not overtake its history. So everything for a learner goes
// through here, and waits in the learner's queue while that is not empty. Example, with (1,8) as
// the last zxid of the leader:
//   1. A learner's log ends at (1,3). Its queue is [history (1,3)..(1,8)].
//   2. While (1,4) and (1,5) are read from the disk, the leader proposes (1,9), and commits it. The
//      queue is [history (1,3)..(1,8), PROPOSAL (1,9), COMMIT (1,9)].
//   3. The piece has come, and goes out. The queue is [history (1,5)..(1,8), PROPOSAL ...].
//
// Before a learner is sent an old snapshot with a long log behind it, the caller takes a newer one,
// and the learner waits for its end (`send_snapshot`).
//
// What can't be read can't be sent. The class then reports it to the replica and cuts the learner
// off. The learner comes back, and is sent something else. One such case is no damage: while a
// learner is sent an old part of the log, a purge may remove that part.
//
// The core lets a synchronisation go on while the learner takes what it is sent. `take_fed` tells
// which learners did, by the word of the network.
//
// Limits: behind the history of a learner at most Options::max_waiting_bytes wait, and what comes
// in one batch. A learner that falls back further is cut off. At most one piece of each learner is
// in memory.
//
// Threading: an object of the strand, driven by the replica. Its jobs in the background use the
// disks and what they were given, and nothing else of the object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "consensus/environment.h"
#include "consensus/log_pipeline.h"
#include "consensus/recent_txns.h"
#include "consensus/snapshot_store.h"

namespace zabfs::consensus {

class LearnerSupply {
 public:
  struct Options {
    size_t max_waiting_bytes = 256u << 20;
    size_t piece_bytes = 1u << 20;  // read and sent at once
  };
  // What it asks the replica, and tells it, on the strand.
  struct Outcomes {
    std::function<const History&()> history;  // that the log has on the disk, but for its end
    std::function<bool()> is_purging;
    // The link is to be closed, and `forget` called.
    std::function<void(LinkId, const std::string& reason)> cut_off;
    std::function<void(const std::string& what)> report_damage;
    // The log up to that zxid is of no use for any learner.
    std::function<void(Zxid)> log_unreadable;
    // No snapshot of the history can be sent.
    std::function<void()> snapshot_missing;
  };

  // `recent` must outlive it, as the others do.
  LearnerSupply(Options options, Environment& environment, Transport& transport, LogPipeline& log,
                SnapshotStore& snapshots, const RecentTxns& recent, Outcomes outcomes);

  // ---- for one learner
  // Behind its history, if that is not sent yet.
  void send(LinkId link, const std::string& bytes);
  void send_history(const action::SendHistory& send);
  // With `awaits_newer`, not before `snapshot_over`.
  void send_snapshot(const action::SendSnapshot& send, bool awaits_newer);
  void forget(LinkId link);

  // ---- for all
  // A snapshot of this node's own was being written, and is no more.
  void snapshot_over();
  // Sends what the learners take now. True: something was sent. To be called until it says false.
  bool supply();
  // Who has taken more of the past since the last call.
  std::vector<LinkId> take_fed();
  void clear();
  // Behind the history of the learner for which most waits.
  size_t max_waiting_bytes() const;

 private:
  // What a learner is sent, in order.
  struct Supply {
    std::deque<std::variant<action::SendHistory, action::SendSnapshot, std::string>> queue;
    std::shared_ptr<SnapshotReader> snapshot;  // the one being sent
    size_t waiting_bytes = 0;                  // of the strings
    bool reading = false;                      // from the disk, or looking for a snapshot there
    bool awaits_snapshot = false;
  };
  // Of a snapshot.
  struct Unreadable {
    std::string problem;  // empty: it can be read
    bool was_removed = false;
  };
  // Of what a learner was sent of the past, what has reached it.
  struct Feed {
    uint64_t delivered = 0;  // of the link, when last looked at
    uint64_t end = 0;        // where that past ends
  };

  bool supply_learner(LinkId link);
  void send_past(LinkId link, const std::string& bytes);
  void send_txns(const action::SendHistory& send, const std::deque<LogTxn>& txns);
  void read_history(const action::SendHistory& send);
  void history_read(const action::SendHistory& piece, const LogPipeline::Reading& reading);
  void find_snapshot(const action::SendSnapshot& send);
  void begin_snapshot(Supply& supply, const action::SendSnapshot& send,
                      std::shared_ptr<SnapshotReader> reader);
  void send_empty_snapshot(LinkId link, std::string bytes);
  void read_snapshot(std::shared_ptr<SnapshotReader> reader, LinkId link, bool to_zabfs);
  static Unreadable take_away(SnapshotStore& snapshots, Zxid zxid, const std::string& problem);
  void snapshot_unreadable(LinkId link, const Unreadable& unreadable);

  const Options options_;
  Environment& environment_;
  Transport& transport_;
  LogPipeline& log_;
  SnapshotStore& snapshots_;
  const RecentTxns& recent_;
  const Outcomes outcomes_;
  std::map<LinkId, Supply> supplies_;
  std::map<LinkId, Feed> feeds_;
};

}  // namespace zabfs::consensus
