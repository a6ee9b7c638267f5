// A replica: one member's tree, log and part in ZAB, and the only driver of the ZAB core.
//
// The path of a write is here, as one line:
//   submit -> (follower: REQUEST to the leader) -> prepare -> Zab::step(Propose) -> append to log +
//   PROPOSAL -> synced -> ACK -> quorum -> COMMIT -> caches invalidated -> apply -> watches fired
//   -> completion on the node it came from
//
// A replica is put together from plain objects of the strand.
//   remember, and say what is due: recent_txns.h, pending_requests.h, barriers.h, leadership.h,
//     learner_sessions.h, own_sessions.h, troubles.h, contacts.h
//   give work to the disks: log_pipeline.h owns the log, learner_supply.h sends learners what they
//     lack, snapshotter.h takes snapshots and takes in a leader's, fetch.h gives other members what
//     their logs have lost
//   recovery.h says what the node starts with, and mends a damaged log
//   visible_tree.h is what readers see
//
// Threading: everything but `read` and `last_published` runs on the strand (host.h), one call at a
// time; after one or several calls the strand calls `end_of_batch`, which does what is worth doing
// once: apply what is committed, start a log write, flush the network. `read` may be called from
// any thread; it holds the tree's lock shared, and the strand takes it once a batch.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "consensus/barriers.h"
#include "consensus/contacts.h"
#include "consensus/environment.h"
#include "consensus/fetch.h"
#include "consensus/kept_history.h"
#include "consensus/leadership.h"
#include "consensus/learner_sessions.h"
#include "consensus/learner_supply.h"
#include "consensus/log_pipeline.h"
#include "consensus/measures.h"
#include "consensus/own_sessions.h"
#include "consensus/pending_requests.h"
#include "consensus/recent_txns.h"
#include "consensus/reconfig.h"
#include "consensus/recovery.h"
#include "consensus/snapshotter.h"
#include "consensus/troubles.h"
#include "consensus/visible_tree.h"
#include "consensus/zab.h"
#include "tree/prepare.h"
#include "tree/tree.h"

namespace zabfs::consensus {

// Is told of commits as they become visible. All calls are on the strand, without locks but for
// `publishing`.
class ReplicaListener {
 public:
  virtual ~ReplicaListener() = default;
  // These txns are about to become visible: caches that contradict them must go now.
  virtual void before_publish(const std::vector<tree::Txn>&) {}
  // One txn's changes are in the tree, and no reader of another thread sees it yet: the tree's lock
  // is held. To be short.
  virtual void publishing(std::span<const tree::Change>) {}
  virtual void published(const std::vector<tree::Change>&) {}
  virtual void session_closed(SessionId) {}
  // The whole tree is about to be replaced, by a snapshot of the leader's or by what is on disk:
  // caches must go now. Then it was.
  virtual void before_replace() {}
  virtual void tree_replaced() {}
  // Serving, lost the leader, or new word on the members.
  virtual void standing_changed() {}
  // Sessions that were heard of lately are to be named now, to Replica::touch_session.
  virtual void name_touched() {}
  // The completions of a batch have all run.
  virtual void batch_over() {}
};

struct ReplicaConfig {
  ZabConfig zab;
  int64_t snapshot_txns = 100'000;  // a snapshot after about so many (Java: snapCount)
  size_t window_txns = 2'000;       // recent ones kept in memory for learners that come back
  size_t snapshot_retain = 3;
  KeptHistory::Options history;      // of what the node itself needs no more
  size_t min_diff_bytes = 8u << 20;  // a learner that lacks less log than that is sent the log
  // Requests under way from this node.
  size_t max_pending = 20'000;
  size_t max_pending_bytes = 64u << 20;
  // Of txns that wait for the log's disk. Above it nothing is read from other members.
  size_t max_log_queue_bytes = 64u << 20;
  int64_t slow_sync_ms = 1'000;  // fsync.warningthresholdms
  // Of what waits behind the history of a learner. One that falls back further is cut off, and
  // comes again.
  size_t max_supply_bytes = 256u << 20;
  size_t piece_bytes = 1u << 20;  // of a history or a snapshot, read and sent at once
  uint64_t segment_bytes = 16u << 20;
  int32_t min_session_ms = 0;  // 0: 2 ticks
  int32_t max_session_ms = 0;  // 0: 20 ticks
  bool initialize = false;     // an empty node votes (ZooKeeper's `initialize` file)
  tree::PrepareOptions prepare;
  int64_t reap_interval_ms = 60'000;  // of empty containers and TTL nodes
  bool reconfig_enabled = false;
  // Who is the superuser at other members' client ports, too: as zoo.cfg has them.
  std::string super_digest, x509_super;
  size_t max_fetch_bytes = 16u << 20;   // of txns that another member's log lost, sent at once
  Recovery::Intervention intervention;  // of an operator, for this start
  // Clients' sessions get ZooKeeper's passwords, as while one of its servers is a member.
  bool public_passwords = false;
  bool standalone_enabled = true;  // one configured member is no ensemble, and can't become one

  bool is_standalone() const { return standalone_enabled && zab.ensemble.members().size() <= 1; }
};

class Replica : public Receiver {
 public:
  using Completion = consensus::Completion;

  Replica(ReplicaConfig config, Environment& environment, Transport& transport, Disk& log_disk,
          Disk& snapshot_disk);
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;
  ~Replica() override;

  // Recovers from disk. Fails if the node can't start; nothing was changed then.
  Status recover();
  void start();
  // Listeners are called in the order they were added. They outlive what is on the strand.
  void add_listener(ReplicaListener* listener) { listeners_.push_back(listener); }

  // ---- for fsd
  // A write. `request.cxid` is given by the caller, rising within its session.
  // With `at_once`, `done` runs as soon as the txn is in the tree, before the next one is and still
  // under the tree's lock: what it reads is the state that the write made.
  void submit(tree::Request request, Completion done, bool at_once = false);
  // A barrier: `done` runs once this node has applied everything committed before the call, with a
  // quorum's word for it. It renews `session` (if not 0) as of the call, too.
  void sync(SessionId session, Completion done);
  // A fresh session id of this node's, for a client, and for the mount (tree/types.h).
  SessionId new_session_id() { return own_sessions_.new_id(); }
  SessionId new_mount_session_id() { return own_sessions_.new_mount_id(); }
  // What passwords of sessions are made with, here and at the other servers; empty: not known.
  const std::string& secret() const { return zab_->state().secret; }
  // Some member gives its sessions passwords that are ZooKeeper's, or this node is to.
  bool has_public_passwords() const;
  // A session of this node's clients was heard of.
  void touch_session(SessionId session, int32_t timeout_ms);
  // The session's client has connected to this node. kOk: the session lives, is renewed, and is
  // this node's; its requests name the outcome's zxid as their attachment, and no request that came
  // by an older one can take effect any more. kSessionExpired: it is over. kConnectionLoss: the
  // leader is gone, nobody knows.
  // `identities` are those of its new connection. `with_secret`: it has shown a password that was
  // made with the secret, and is given no other (tree::Session).
  void attach(SessionId session, int32_t timeout_ms, Completion done,
              tree::Identities identities = {}, bool with_secret = false);

  template <class Read>
  auto read(const Read& body) const {
    return tree_.read(body);
  }
  // On the strand only: no lock is needed there.
  const tree::Tree& tree() const { return tree_.get(); }

  bool is_serving() const {
    return service_ == Service::kHoldingRequests || service_ == Service::kFull;
  }
  // From recovery until it serves: the log holds txns of which only a leader can say that they were
  // committed. Their writers may have been answered before the restart.
  bool has_unsettled_txns() const { return !is_serving() && tree_.applied() < recovery_.log_end(); }
  // Why this node's tree is not to be trusted, until it has taken over the others' data. Empty: it
  // is.
  const std::string& divergence() const { return tree_.doubt(); }
  bool is_disk_full() const { return log_.is_full() || recovery_.lacks_room(); }
  const Zab& zab() const { return *zab_; }
  // What is amiss: whom this node waits for, what contradicts what, and what to do about it.
  std::vector<std::string> troubles() const;
  // When it heard of other members, and why it has no connection to one.
  const Contacts& contacts() const { return contacts_; }
  int64_t now_ms() const { return environment_.now_ms(); }
  std::vector<MemberStatus> member_status() const;
  // Whether `member_status` is the word of a leader that knows; else it names members alone.
  bool knows_members() const {
    return zab_->role() == Role::kLeading || !reported_members_.empty();
  }
  // Voters that the leader has with it, itself included.
  size_t synced_voter_count() const;
  size_t pending_count() const { return pending_.size(); }
  // What waits, in bytes: requests of this node, txns for the log, the traffic of one
  // learner that is brought up to date.
  size_t pending_bytes() const { return pending_.bytes(); }
  size_t log_queue_bytes() const { return log_.queue_bytes(); }
  size_t supply_bytes() const { return supply_.max_waiting_bytes(); }
  // Null: this node does not serve as the leader.
  const Leadership* leadership() const { return leadership_ ? &*leadership_ : nullptr; }
  // What it has counted of its work, and how long its disks took.
  const Measures& measures() const { return measures_; }
  Durations log_write_times() const { return log_.write_times(); }
  Durations snapshot_write_times() const { return snapshotter_.write_times(); }
  size_t barrier_count() const { return barriers_.count(); }
  // How long this node has served as the leader by now; 0: it does not.
  int64_t leads_for_us() const {
    std::optional<int64_t> since_us = measures_.service.leads_since_us();
    return since_us ? environment_.now_us() - *since_us : 0;
  }
  // On disk, of what is kept of the past. Any thread.
  uint64_t history_bytes() const { return history_.bytes(); }
  const ReplicaConfig& config() const { return config_; }

  // ---- for the strand
  void on_timer();
  void on_vote(ServerId from, const Notification& notification) override;
  void on_double(ServerId id, std::string text) override;
  void on_reached(ServerId id, Door door) override;
  void on_unreachable(ServerId id, Door door, const std::string& why) override;
  void on_link_up(LinkId link) override;
  LinkId new_link_id() override { return next_accepted_link_++; }
  void on_link_accepted(LinkId link) override;
  void on_link_down(LinkId link) override;
  void on_packet(LinkId link, Packet packet) override;
  void on_part(LinkId link) override;
  void on_snapshot(LinkId link, std::unique_ptr<tree::Tree> tree) override;
  void end_of_batch();
  // A snapshot now; for tests and for shutdown.
  void take_snapshot();
  // A snapshot of what this node shows now, or showed later, as a file. With or without a leader.
  void ask_snapshot(Snapshotter::Asker asker);
  // Nothing runs on the strand any more: who waits is never answered, and nothing of his is held.
  void drop_completions();

 private:
  // How far this node serves, in the order in which it gets there.
  enum class Service {
    kNone,             // it has no leader, or does not have its leader's history yet
    kCatchingUp,       // its role is established, and what the role begins with is to be applied
    kHoldingRequests,  // it answers reads and barriers, and does not know yet which requests are
                       // out
    kFull,
  };

  // Core.
  void step(const Event& event);
  void carry_out(Action& action);
  void on_append(const action::Append& append);
  void on_begin_sync(const action::BeginSync& begin);
  void on_role_changed(const action::RoleChanged& change);
  void on_serve(const action::Serve& serve);
  void on_settle();
  LogPipeline::ReadPlan plan_reading() const;
  void on_settled(LogPipeline::Settled settled);
  std::string encode(const Packet& packet);
  void send_packet(LinkId link, const Packet& packet);
  void forget_link(LinkId link);

  // Learners that are brought up to date (replica_sync.cc).
  LearnerSupply::Outcomes supply_outcomes();
  void send_snapshot(const action::SendSnapshot& send);
  size_t chunk_bytes() const { return std::min(config_.piece_bytes, kSnapshotChunkBytes); }
  void cut_off(LinkId link, const std::string& reason);

  // Log and snapshots.
  LogPipeline::Outcomes log_outcomes();
  void on_log_written(const LogPipeline::Written& written);
  Snapshotter::Outcomes snapshot_outcomes();
  void trim_history();
  void save_promise(const action::SaveAcceptedEpoch& save);
  void promise_saved(const Promise& promise, const DiskStatus& status);

  // Recovery and healing (replica_recovery.cc).
  Recovery::Options recovery_options() const;
  Recovery::Outcomes recovery_outcomes();
  FetchAnswers::Outcomes fetch_outcomes();
  void begin();
  void recover_again();
  void take_configuration();
  void take_leaders_configuration();
  std::vector<std::pair<Zxid, Payload>> unapplied_reconfigurations() const;
  bool is_alone() const;
  // `of_snapshots`: a file of about so many bytes did not fit on the snapshots' disk.
  void on_disk_full(const DiskStatus& status, size_t of_snapshots = 0);

  // Requests.
  // As the leader. An error: it was not prepared, and never will be.
  [[nodiscard]] tree::Error process(tree::Request request, ServerId from);
  void process_own(tree::Request request);
  tree::Error send_on(PendingRequests::Number number);
  void bring_mounts_session(SessionId session);
  // What other members forward (replica_forwarded.cc).
  void on_forwarded(const action::Forwarded& forwarded);
  void tell_unproven(SessionId session, ServerId from);
  void on_touched(const action::SessionsTouched& touched);
  void on_answered(const Packet& packet);
  void on_refused(const Packet& packet);
  bool is_still_attached(SessionId session, int32_t timeout_ms);
  void on_revalidated(const Packet& packet);
  void answer_revalidate(LinkId link, SessionId session, int32_t timeout_ms, ServerId from);
  void answer_sync_in_order(LinkId link);
  void answer_what_waited(Zxid committed);
  void answer_ping(const action::AnswerPing& ping);
  void become_ready();
  void resend_pending();
  static void fail(const Completion& done, tree::Error error);
  void fail_pending(PendingRequests::Number number, tree::Error error);
  void fail_attaching();
  void confirm(Barriers::Token token);
  tree::PrepareOptions prepare_options();
  ReconfigLimits reconfig_limits() const;
  void give_configuration_a_version();
  void tell_troubles();
  void know_members();
  void flush_barriers();
  void prove_by_commit();
  Waiting waiting(int64_t now_ms) const;
  bool has_batch_work() const;
  // The last txn that a barrier or SYNC has to wait for, at the leader.
  Zxid last_txn() const {
    bool has_proposed = leadership_ && leadership_->last_proposed().counter() != 0;
    return has_proposed ? leadership_->last_proposed() : tree_.applied();
  }
  void expire_sessions();
  void reap();

  Zxid applicable() const;
  void apply_committed();
  std::optional<Completion> take_committed(const tree::Txn& txn, bool at_once);
  void count_applied(size_t txns);
  void stage_incoming_tree();
  void install_staged_tree();
  void on_divergence();
  std::string describe() const;  // "node 1 epoch 2 zxid 0x200000001"

  ReplicaConfig config_;
  Environment& environment_;
  Transport& transport_;
  std::vector<ReplicaListener*> listeners_;
  KeptHistory history_;
  int64_t next_trim_ms_ = 0;
  SnapshotStore snapshots_;
  LogPipeline log_;
  std::optional<Zab> zab_;

  VisibleTree tree_;
  RecentTxns recent_;
  Recovery recovery_;
  FetchAnswers fetch_answers_;

  Service service_ = Service::kNone;
  bool leader_is_zabfs_ = false;
  std::set<SessionId> brought_;  // of mounts, to this leader of Java's, by this connection
  // Of the requests whose commits prove a barrier to a leader of Apache ZooKeeper. Clients' cxids
  // are positive.
  SessionId proving_session_;
  int32_t proving_cxid_ = INT32_MIN;
  uint64_t role_number_ = 0;
  std::optional<Leadership> leadership_;  // while this node serves as the leader

  PendingRequests pending_;
  Barriers barriers_;
  LearnerSessions learner_sessions_;
  OwnSessions own_sessions_;
  std::vector<MemberStatus> reported_members_;  // by the leader, at a learner
  std::set<LinkId> links_;
  LearnerSupply supply_;
  Snapshotter snapshotter_;
  LinkId next_accepted_link_ = LinkId{1} << 62;
  bool in_batch_ = false;
  bool plans_for_itself_ = false;  // a reconfiguration of this node's own, not a client's
  Troubles troubles_;
  Contacts contacts_;
  Measures measures_;
};

}  // namespace zabfs::consensus
