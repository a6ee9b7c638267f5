// The leader's part of ZAB: discovery, synchronisation, broadcast (ZAB.md section 1; Java: Leader,
// LearnerHandler). One object a leadership; when it is over, `failure` says why.
//
// Pure; a part of Zab (zab.h).
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "consensus/protocol.h"

namespace zabfs::consensus {

class Leader {
 public:
  Leader(const ZabConfig& config, ZabState& state, Zxid committed, int64_t now_ms, Actions& out);

  void step(int64_t now_ms, const Event& event, Actions& out);
  int64_t deadline_ms() const;
  // The learners hear why this node does not lead any more.
  void tell_disk_full(Actions& out);
  // Not empty once this leadership must end.
  const std::string& failure() const { return failure_; }

  bool is_established() const { return phase_ == Phase::kBroadcast; }
  Zxid committed() const { return committed_; }
  std::vector<MemberStatus> member_status() const;
  // This node and those that follow it, synchronised: they have ACKs to give.
  std::set<ServerId> synced_followers() const;
  // Those of them that have answered the last PING, or nearly so. One that is gone counts as a
  // follower for syncLimit. If a change of the members counted on it, the change could be proposed
  // to a majority that is not there, and neither the old members nor the new ones could lead any
  // more.
  std::set<ServerId> answering_followers(int64_t now_ms) const;

 private:
  enum class Phase {
    kDiscovery,  // until a quorum has said its accepted epoch
    kSavingAccepted,
    kEpochAcks,  // until a quorum has acknowledged the new epoch
    kSavingEpoch,
    kSync,  // until a quorum has acknowledged NEWLEADER
    kBroadcast,
  };
  enum class LearnerPhase { kConnected, kInfo, kEpochAcked, kSyncing, kSynced };
  struct Learner {
    ServerId id;
    bool known = false;  // has said who it is
    bool observer = false;
    bool is_zabfs = false;
    bool has_secret = false;
    bool epoch_acked = false;  // its ACKEPOCH counts
    LearnerPhase phase = LearnerPhase::kConnected;
    Zxid last;  // where its log ends, then what it has acknowledged
    int64_t heard_ms = 0;
    uint64_t pings_sent = 0, pings_answered = 0;
    bool up_to_date = false;  // it has been sent UPTODATE
    Zxid told;                // committed, as its synchronisation said
  };
  using Links = std::map<LinkId, Learner>;
  struct Returns {  // of a server whose former connection was still there
    int64_t since_ms = 0;
    int times = 0;
  };

  void on_packet(int64_t now_ms, LinkId link, const Packet& packet, Actions& out);
  void on_info(LinkId link, Learner& learner, const Packet& packet, Actions& out);
  void note_return(ServerId id, int64_t now_ms, Actions& out);
  void on_ack_epoch(LinkId link, Learner& learner, const Packet& packet, Actions& out);
  void on_ack(LinkId link, Learner& learner, const Packet& packet, Actions& out);
  void on_ping(Learner& learner, const Packet& packet, Actions& out);
  void on_progress(int64_t now_ms, Learner& learner);
  void on_tick(int64_t now_ms, Actions& out);
  bool took_too_long(int64_t now_ms);
  void propose(const event::Propose& proposal, Actions& out);
  void try_choose_epoch(Actions& out);
  void try_save_epoch(Actions& out);
  void try_establish(Actions& out);
  void say_up_to_date(LinkId link, Learner& learner, Actions& out);
  void try_commit(Actions& out);
  Packet commit_of(Zxid zxid) const;
  // Java ends at a COMMIT between NEWLEADER and UPTODATE.
  static bool takes_commits(const Learner& learner) {
    return learner.is_zabfs || learner.up_to_date;
  }
  ServerId leader_under(const Ensemble& next, const std::map<ServerId, Zxid>& reached) const;
  void send_leader_info(LinkId link, std::string_view secret, Actions& out) const;
  // Brings a learner's log to ours and puts it into the forwarding set, in one step.
  void synchronise(LinkId link, Learner& learner, Actions& out);
  void send_ping(LinkId link, Learner& learner, Actions& out);
  void announce(Actions& out);
  std::string status_text() const;
  void start_confirmation(Actions& out);
  void ask_for_proof(LinkId link, Learner& learner, Actions& out);
  void check_confirmation(Actions& out);
  void note_loss(LinkId link, const std::string& reason, Actions& out);
  void on_disk_full(LinkId link, const Learner& learner, Actions& out);
  void note_facts(ServerId id, MemberFacts facts);
  void drop(LinkId link, const std::string& reason, Actions& out);
  bool is_counted(const Learner& learner, LearnerPhase at_least) const;
  std::set<ServerId> voters_at(LearnerPhase at_least) const;
  Zxid epoch_start() const { return Zxid::make(epoch_, 0); }

  const ZabConfig& config_;
  ZabState& state_;
  Phase phase_ = Phase::kDiscovery;
  std::string failure_;
  Links learners_;
  uint32_t epoch_ = 0;
  uint32_t own_epoch_;  // the current epoch this leader was elected with
  Zxid own_last_;       // the end of its initial history
  Zxid committed_;
  int64_t now_ms_;       // of the last event
  int64_t progress_ms_;  // the start, or when the synchronisation of a voter last went on
  int64_t next_tick_ms_;
  int64_t quorum_seen_ms_;
  // Proofs of leadership: one round of pings at a time, for all who asked before it started.
  std::vector<uint64_t> waiting_tokens_, round_tokens_;
  std::map<LinkId, uint64_t> round_targets_;
  std::map<ServerId, Returns> returns_;  // of voters
  // Who leads under a configuration, by its zxid. Of those that some learner has yet to be told.
  std::map<Zxid, ServerId> next_leaders_;
};

}  // namespace zabfs::consensus
