// What the disks make of this node at a start, and the ways back from damage (ZAB.md sections 3.5
// and 3.6). What was promised on the disk is here as well, since all of this turns on it.
//
// `recover` reads promises, log and snapshots, repairs what it can, and says what the node starts
// with. Where something is damaged or gone, the node takes the first of these ways that there is:
//   1. no txn is in what is damaged: the log is mended at once;
//   2. single txns are missing, and another member may have them: the node starts with the intact
//      beginning, which readers see, and asks (mending.h);
//   3. the damage is before an intact snapshot: that part of the log is set aside;
//   4. anything else: the node saves that it has no vote, sets the log aside, and goes on from its
//      newest snapshot. A leader brings it up to date.
// The vote goes first in 4, so that no crash lets this node vote with what is left. A node that is
// alone has nobody to bring it up to date. It refuses to start instead of 4.
//
// In 2 the core does not run until the mending is over:
//
//   recover -> is_mending -> begin ... dial, question, PROPOSALs ... -> Outcomes::over
//                                                                         -> recover again
//
// When it gives up, it first takes a snapshot of the intact beginning. Then `recover` goes on to 3
// or 4.
//
// Limits: `recover` and the end of the mending use the disks on the calling thread. No txns are
// written then.
//
// Threading: an object of the strand, driven by the replica.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "consensus/environment.h"
#include "consensus/epoch_store.h"
#include "consensus/log_pipeline.h"
#include "consensus/mending.h"
#include "consensus/snapshot_store.h"
#include "consensus/visible_tree.h"
#include "tree/status.h"

namespace zabfs::consensus {

class Recovery {
 public:
  struct Options {
    ServerId me;
    Ensemble configured;      // what counts until a configuration was committed
    bool is_alone = false;    // it is the only voter for good: no other member has a copy
    bool initialize = false;  // an empty node votes
    size_t chunk_bytes = kSnapshotChunkBytes;
  };
  // What an operator decides for this start.
  struct Intervention {
    // The addresses of Options::configured count, not those that were committed.
    bool readdress = false;
    // This node is an ensemble of its own from here on, if its history ends with that zxid.
    std::optional<Zxid> begin_alone;
  };
  // What the node starts with.
  struct Recovered {
    std::shared_ptr<tree::Tree> tree;  // of the newest snapshot that is whole, or empty
    // All in the tree is known to be committed. Else it is a leader's snapshot, and is to be staged
    // (visible_tree.h).
    bool is_committed = true;
    bool lacks_snapshot = false;  // one on the disk was found damaged
    std::deque<LogTxn> txns;      // of the log behind the tree
    ZabState state;
  };
  // Who else there is, and how this node names itself to them.
  struct Peers {
    std::set<ServerId> others;
    LearnerInfo me;
  };
  // Where the mending's messages go. All are called on the strand.
  struct Outcomes {
    std::function<Peers()> peers;
    std::function<LinkId()> new_link;
    std::function<void(ServerId, LinkId)> dial;
    std::function<void(LinkId, const Packet&)> send;
    std::function<void(LinkId, const std::string& reason)> close;
    // The log is whole, or was given up: `recover` is to be called again.
    std::function<void()> over;
  };

  Recovery(Options options, Environment& environment, Disk& promises, SnapshotStore& snapshots,
           LogPipeline& log, VisibleTree& tree, Outcomes outcomes);

  // Fails if the node can't start. What is on the disks was not changed then, but for repairs that
  // lose nothing.
  StatusOr<Recovered> recover(const Intervention& wanted);
  // Where the log ended when the node started.
  Zxid log_end() const { return log_end_; }

  // ---- mending
  bool is_mending() const { return mending_.has_value(); }
  bool is_mending_on(LinkId link) const { return mending_ && mending_->link() == link; }
  bool lacks_room() const { return mending_ && mending_->lacks_room(); }
  int64_t wake_ms() const { return mending_->next_step_ms(); }
  // Asks the next member.
  void ask_next();
  void on_timer();
  // Of the link that is being mended on.
  void on_link_up();
  void on_packet(const Packet& packet);
  void on_link_down();

  // ---- promises
  // On the log's lane, in turn with its writes. `done` is told what was saved: a vote that an
  // earlier save has on its way stays.
  void save(Promise promise, std::function<void(const Promise&, const DiskStatus&)> done);

  void report_damage(const std::string& what);

 private:
  // What a start finds.
  struct Found {
    bool is_empty = false;  // nothing was ever here
    bool votes = false;
    bool promise_is_whole = false;    // both copies
    std::vector<std::string> damage;  // of the log
    std::string lost;  // why this node can't keep its vote; empty: it can, as far as is known
  };

  Status read_disks(Found& found);
  void find_what_is_lost(EpochStore::State promise, const std::string& problem, Found& found);
  bool set_old_damage_aside();
  std::shared_ptr<tree::Tree> load_snapshot(const History* history, bool& is_damaged);
  StatusOr<Recovered> load(Found found, const Intervention& wanted);
  uint32_t accepted_epoch();
  Status give_up_vote(const std::string& lost, Recovered& recovered);
  DiskStatus save_votes(const Found& found);
  Status read_txns(Recovered& recovered);
  Status describe(const Found& found, const Intervention& wanted, Recovered& recovered);
  Status begin_alone(const Found& found, Zxid expected, ZabState& state);
  void ask();
  void finish();
  void give_up();
  void warn(const std::string& text);

  const Options options_;
  Environment& environment_;
  SnapshotStore& snapshots_;
  LogPipeline& log_;
  VisibleTree& tree_;
  const Outcomes outcomes_;
  EpochStore epochs_;

  Zxid log_end_;
  std::optional<Mending> mending_;
  bool has_given_up_mending_ = false;  // and the log is still the one that it was about
};

}  // namespace zabfs::consensus
