// A follower's or observer's part of ZAB: discovery, synchronisation, broadcast (ZAB.md section 1;
// Java: Learner, Follower, Observer). One object a membership; `failure` says why it is over.
//
// Pure; a part of Zab (zab.h).
#pragma once

#include <deque>
#include <optional>
#include <string>

#include "consensus/protocol.h"

namespace zabfs::consensus {

// What a node says of a member whose history is another ensemble's.
std::string foreign_ensemble(ServerId other);

class Learner {
 public:
  // `observes`: without ACKs.
  Learner(const ZabConfig& config, ZabState& state, Zxid committed, ServerId leader, bool observes,
          int64_t now_ms, Actions& out);

  void step(int64_t now_ms, const Event& event, Actions& out);
  int64_t deadline_ms() const { return deadline_ms_; }
  const std::string& failure() const { return failure_; }
  // The leader hears why this node leaves, if it is one that understands that.
  void tell_disk_full(Actions& out);
  LinkId link() const { return link_; }

  bool took_snapshot() const { return mode_ == SyncMode::kSnap; }
  bool is_serving() const { return phase_ == Phase::kServing; }
  Zxid committed() const { return committed_; }

 private:
  enum class Phase {
    kDialling,
    kInfoSent,  // until LEADERINFO
    kSavingAccepted,
    kEpochAcked,  // until DIFF, TRUNC or SNAP
    kReceivingSnapshot,
    kSyncing,  // until NEWLEADER
    kSavingEnsemble,
    kSavingEpoch,
    kWaitingUpToDate,
    kServing,
  };

  void on_packet(const Packet& packet, Actions& out);
  void on_ping(const Packet& packet, Actions& out);
  void on_leader_info(const Packet& packet, Actions& out);
  void promise(Actions& out);
  void on_sync_mode(const Packet& packet, Actions& out);
  void begin_sync(const Packet& packet, Actions& out);
  void begin_log_at(Zxid snapshot, Actions& out);
  void complete_snapshot(Actions& out);
  void on_proposal(const Packet& packet, Actions& out);
  void append(Zxid zxid, const Payload& txn, Actions& out);
  bool is_in_snapshot(Zxid zxid) const;
  void on_gap(bool in_sync);
  void on_commit(Zxid zxid, Actions& out);
  void on_proposal_behind_snapshot(const Packet& packet);
  void on_commit_behind_snapshot(Zxid zxid, Actions& out);
  void on_inform(const Packet& packet, Actions& out);
  void on_activate(const Packet& packet, Actions& out);
  void on_new_leader(const Packet& packet, Actions& out);
  void note_sync(const std::string& what, Actions& out) const;
  void take_over_ensemble(Actions& out);
  void end_sync(Actions& out);
  void on_up_to_date(Actions& out);
  void on_tick(int64_t now_ms, Actions& out);
  void acknowledge(Actions& out);
  Zxid claimed_last() const;
  void send(Packet packet, Actions& out) const {
    out.push_back(action::Send{{link_}, std::move(packet)});
  }
  bool expect(bool holds, const Packet& packet);
  void set_deadline(int64_t now_ms);

  const ZabConfig& config_;
  ZabState& state_;
  ServerId leader_;
  const bool observes_;
  Phase phase_ = Phase::kDialling;
  std::string failure_;
  LinkId link_ = 0;
  bool leader_is_zabfs_ = false;
  uint32_t epoch_ = 0;
  std::optional<int64_t> new_ensemble_;  // to be saved before NEWLEADER is acknowledged
  std::string new_secret_;               // the same; empty: as it was
  SyncMode mode_ = SyncMode::kDiff;
  // What follows a Java leader's snapshot, until NEWLEADER.
  struct BehindSnapshot {
    History history;
    std::deque<LogTxn> proposals;  // without a COMMIT yet
  };
  std::optional<BehindSnapshot> behind_snapshot_;
  bool new_leader_waits_ = false;  // for the snapshot to be on disk
  const Zxid known_committed_;     // before this membership
  Zxid committed_;
  std::deque<Zxid> uncommitted_;  // proposals without a COMMIT yet
  std::deque<Zxid> unacknowledged_;
  int64_t heard_ms_;
  int64_t redial_at_ms_ = 0;
  std::optional<int64_t> turned_away_ms_;  // first, by the leader
  int64_t deadline_ms_ = 0;
};

}  // namespace zabfs::consensus
