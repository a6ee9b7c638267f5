// The snapshots of this node: those of its own tree, and the one that a leader sends.
//
// A snapshot of its own is due after about so many txns, or after so many bytes of log (ZAB.md
// section 3.4). It shows the tree at exactly one zxid, and is written in the background, while txns
// are applied. When it is there and the node serves, the class, in the background,
//   1. removes strays: snapshots of no history of this node's,
//   2. reads back the newest ones, and removes those that are damaged,
//   3. with Options::retain whole ones, removes older ones and the log that only they need.
//
// A leader's snapshot comes in when this node's log lacks too much. It takes these steps:
//   begin_incoming     the beginning of its group is on its way to the log
//   receive            its tree is there
//   Outcomes::stored   its file is on the disk
//   take_incoming      the end of its group is in the log: the log goes on from it
// A Java leader's is fuzzy: it has parts of txns that come behind it. It takes these steps:
//   begin_fuzzy        its stream begins
//   receive            its tree is there
//   apply_to_fuzzy     for each of those txns
//   begin_incoming     that was all of them: it is exact now. The rest is as above
// The txns of the log go on from that tree then, and no longer from the tree that readers see. So
// none of its own is taken meanwhile.
//
// Both kinds use one directory, and must not confuse each other. Example:
//   1. This node begins a snapshot of its own at (1,6). The leader goes.
//   2. The next leader's history is another one. It sends a snapshot at (1,3), and the log goes on
//      from there with another (1,4), (1,5) and (1,6).
//   3. If the file of (1,6) appeared after that, a start would take it for a part of the log.
//   4. So the leader's snapshot waits for the end of this node's own (`is_busy`). Before it is
//      written, all files of later zxids are removed.
// It waits in the same way while strays are looked for. It is of no history of this node's yet, and
// would be taken for one of them.
//
// Limits: at most one snapshot of its own is being written, and at most one comes in. Who asks for
// one is asked for no more than the callers' own limits.
//
// Threading: an object of the strand, driven by the replica. Its jobs use the disks, a walk of the
// tree (visible_tree.h), and what they were given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "consensus/environment.h"
#include "consensus/histogram.h"
#include "consensus/log_pipeline.h"
#include "consensus/snapshot_store.h"
#include "consensus/visible_tree.h"

namespace zabfs::consensus {

class Snapshotter {
 public:
  struct Options {
    ServerId me;
    int64_t txns = 100'000;  // between two (Java: snapCount)
    size_t retain = 3;
    size_t chunk_bytes = kSnapshotChunkBytes;
  };
  // Of a node that serves.
  struct Standing {
    const History& history;  // of its log
    bool votes;              // so that what was set aside of a damaged log may go
  };
  // What it asks the replica, and tells it, on the strand.
  struct Outcomes {
    std::function<std::optional<Standing>()> standing;  // nullopt: the node does not serve
    std::function<bool(LinkId)> is_up;
    std::function<void()> over;  // `is_busy` has become false
    // A leader's is on the disk, or found no room for about so many bytes.
    std::function<void(LinkId)> stored;
    // A leader's is not to be used.
    std::function<void(LinkId, const std::string& reason)> refused;
    std::function<void(const DiskStatus&, size_t bytes)> full;
    std::function<void(Zxid base)> purged;  // the log begins there now
    std::function<void(const std::string& what)> report_damage;
    std::function<void(LogLevel, const std::string& text)> log;
  };

  Snapshotter(Options options, Environment& environment, SnapshotStore& store, LogPipeline& log,
              VisibleTree& tree, Outcomes outcomes);

  // About how long the file of that tree is.
  static size_t estimate_bytes(const tree::Tree& tree);

  // ---- of its own
  void applied(size_t txns, size_t bytes);
  bool is_due(bool serves) const;
  // One is missing, as one on the disk was found damaged: the next is due as soon as it serves.
  void want() { is_wanted_ = true; }
  // The same, also if nothing was applied since the last one.
  void want_again();
  // One of the tree as it is now, or as it was later than now, on the disk. Who asks while one is
  // under way waits for the next, which is begun when that one is over: they share it. A snapshot
  // that is there already is as good, if nothing was applied since.
  struct Stored {
    Zxid zxid;
    std::string path;  // it may be purged, and read on by who has opened it
  };
  using Asker = std::function<void(const StatusOr<Stored>& stored)>;
  void ask(Asker asker);
  // None of those that wait is ever answered.
  void drop_askers() { askers_.clear(); }
  // Begins one, if none is under way, something was applied since the last one, and the log goes on
  // from the tree that is shown.
  void take();
  bool is_busy() const { return is_busy_; }
  // A purge is under way, or what may go is being looked at.
  bool is_purging() const { return is_purging_; }
  // How long it took to write those that this node took of its own tree. Any thread.
  Durations write_times() const { return write_times_.durations(); }
  // The newest one, or the one that the tree began with.
  Zxid last() const { return last_; }
  void recovered(Zxid last) { last_ = last; }
  // The tree is another one now, of which there is a snapshot.
  void restart_at(Zxid last);
  // A tree that the leader's data takes the place of, as `diverged.ZXID` beside the snapshots. The
  // first one stays, until somebody removes it.
  void keep_diverged(std::shared_ptr<tree::Tree> tree);

  // ---- of a leader's
  void begin_fuzzy(LinkId link);
  void apply_to_fuzzy(Zxid zxid, std::string_view txn);
  bool is_fuzzy() const { return is_fuzzy_; }
  void begin_incoming(LinkId link);
  // Nothing may be applied: the log goes on, or will, from what comes in.
  bool is_incoming() const { return incoming_link_ != 0; }
  bool is_incoming_on(LinkId link) const { return link == incoming_link_; }
  // Null: none has come in, or what has is fuzzy.
  const tree::Tree* incoming() const { return is_fuzzy_ ? nullptr : incoming_.get(); }
  void receive(std::unique_ptr<tree::Tree> tree) { incoming_ = std::move(tree); }
  // Once it is received: Outcomes::stored says when it is on the disk.
  void store_incoming();
  // The end of its group is in the log. Null: none has come in.
  std::shared_ptr<tree::Tree> take_incoming();
  void drop_incoming();

 private:
  void taken(const DiskStatus& status, Zxid zxid, std::vector<Asker> askers);
  void answer(const std::vector<Asker>& askers, const StatusOr<Stored>& stored) const;
  void tidy(const History& history);
  void remove_strays(const History& history);
  void remove_later(Zxid base);
  void purge(std::vector<Zxid> stored);
  void write_incoming();

  const Options options_;
  Environment& environment_;
  SnapshotStore& store_;
  LogPipeline& log_;
  VisibleTree& tree_;
  const Outcomes outcomes_;

  Histogram write_times_;
  bool is_busy_ = false;
  std::vector<Asker> askers_;  // that wait for the next one
  bool is_wanted_ = false;
  bool is_tidying_ = false;  // strays are looked for
  bool is_purging_ = false;
  Zxid last_;
  size_t last_bytes_ = 0;
  size_t txns_since_ = 0;       // applied since the last one was begun
  size_t log_bytes_since_ = 0;  // the same

  std::shared_ptr<tree::Tree> incoming_;  // until the log has the end of its group
  LinkId incoming_link_ = 0;
  bool is_fuzzy_ = false;        // txns behind it are to be applied to it first
  std::string fault_;            // of what came in; empty: none was found
  bool incoming_waits_ = false;  // for the end of one of its own, or of looking for strays
};

}  // namespace zabfs::consensus
