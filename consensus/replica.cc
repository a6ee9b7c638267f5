#include "consensus/replica.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tree/jute.h"

namespace zabfs::consensus {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr size_t kPromiseBytes = 8u << 10;  // its two copies, with all that a disk adds

// Why a committed txn can't be applied, and what to do. The bytes are what the leader sent: a log
// on the disk with other bytes has another checksum.
std::string unknown_txn(const LogTxn& txn, ServerId leader, bool leader_is_zabfs) {
  std::optional<tree::TxnHeader> header = tree::decode_txn_header(*txn.txn);
  std::string type = header ? fmt::format(" (type {})", static_cast<int>(header->type)) : "";
  return fmt::format(
      "committed txn 0x{:x}{} is none that this release of zabfs knows, so this node can't go on. "
      "The leader is server {}, which runs {}. Run on this node the release that the newest member "
      "runs; of ZooKeeper, 3.5 to 3.9 are known",
      txn.zxid.value, type, leader.value, leader_is_zabfs ? "zabfs" : "ZooKeeper");
}

}  // namespace

Replica::Replica(ReplicaConfig config, Environment& environment, Transport& transport,
                 Disk& log_disk, Disk& snapshot_disk)
    : config_(std::move(config)),
      environment_(environment),
      transport_(transport),
      history_(config_.history, log_disk, snapshot_disk),
      snapshots_(history_.snapshot_disk()),
      log_({config_.segment_bytes, config_.max_log_queue_bytes, config_.slow_sync_ms}, environment,
           history_.log_disk(), snapshots_, log_outcomes()),
      recent_(config_.window_txns),
      recovery_(recovery_options(), environment, history_.snapshot_disk(), snapshots_, log_, tree_,
                recovery_outcomes()),
      fetch_answers_(config_.max_fetch_bytes, log_, fetch_outcomes()),
      pending_(config_.max_pending, config_.max_pending_bytes),
      supply_({config_.max_supply_bytes, config_.piece_bytes}, environment, transport, log_,
              snapshots_, recent_, supply_outcomes()),
      snapshotter_({config_.zab.me, config_.snapshot_txns, config_.snapshot_retain, chunk_bytes()},
                   environment, snapshots_, log_, tree_, snapshot_outcomes()) {
  config_.zab.admits_strangers = config_.reconfig_enabled;
  if (config_.min_session_ms == 0) config_.min_session_ms = 2 * config_.zab.tick_ms;
  if (config_.max_session_ms == 0) config_.max_session_ms = 20 * config_.zab.tick_ms;
}

Replica::~Replica() = default;

std::string Replica::describe() const {
  return fmt::format("node {} epoch {} zxid 0x{:x}", config_.zab.me.value, zab_ ? zab_->epoch() : 0,
                     tree_.applied().value);
}

// ---- events

void Replica::start() {
  own_sessions_.begin(config_.zab.me, environment_.wall_ms(),
                      [this] { return environment_.random(); });
  begin();
  end_of_batch();
}

void Replica::begin() {
  if (recovery_.is_mending()) return recovery_.ask_next();
  Actions actions;
  zab_->start(environment_.now_ms(), actions);
  for (Action& action : actions) carry_out(action);
}

bool Replica::has_public_passwords() const {
  if (config_.public_passwords) return true;
  const ZabState& state = zab_->state();
  return std::any_of(state.public_passwords.begin(), state.public_passwords.end(),
                     [&](ServerId id) { return state.membership.is_member(id); });
}

void Replica::step(const Event& event) {
  Actions actions;
  zab_->step(environment_.now_ms(), event, actions);
  for (Action& action : actions) carry_out(action);
}

void Replica::on_timer() {
  int64_t now_ms = environment_.now_ms();
  if (recovery_.is_mending()) return recovery_.on_timer();
  if (now_ms >= zab_->deadline_ms()) {
    for (LinkId link : supply_.take_fed()) step(event::LearnerFed{link});
    step(event::Tick{});
  }
  if (troubles_.is_look_due(now_ms)) tell_troubles();
  log_.on_timer();
  if (now_ms >= next_trim_ms_) trim_history();
  if (leadership_) {
    for (ReplicaListener* listener : listeners_) listener->name_touched();
    expire_sessions();
    reap();
  }
}

void Replica::on_vote(ServerId from, const Notification& notification) {
  contacts_.heard(from, environment_.now_ms());
  if (zab_->state().is_foreign(notification.ensemble)) {
    contacts_.failed(from, Door::kElection, foreign_ensemble(from));
  }
  step(event::VoteReceived{from, notification});
}

void Replica::on_reached(ServerId id, Door door) {
  contacts_.reached(id, door);
  contacts_.heard(id, environment_.now_ms());
}

void Replica::on_unreachable(ServerId id, Door door, const std::string& why) {
  contacts_.failed(id, door, why);
}

void Replica::on_link_up(LinkId link) {
  if (recovery_.is_mending_on(link)) {
    links_.insert(link);
    return recovery_.on_link_up();
  }
  if (link != zab_->link_to_leader()) return transport_.close(link, "the role it was for is over");
  links_.insert(link);
  transport_.hold(link, log_.holds_links());
  step(event::LinkUp{link});
}

void Replica::on_link_accepted(LinkId link) {
  links_.insert(link);
  transport_.hold(link, log_.holds_links());
  step(event::LinkAccepted{link});
}

void Replica::forget_link(LinkId link) {
  links_.erase(link);
  supply_.forget(link);
}

void Replica::on_link_down(LinkId link) {
  forget_link(link);
  if (recovery_.is_mending_on(link)) return recovery_.on_link_down();
  step(event::LinkDown{link});
}

void Replica::on_packet(LinkId link, Packet packet) {
  if (!links_.contains(link)) return;
  if (recovery_.is_mending_on(link)) return recovery_.on_packet(packet);
  if (packet.type == PacketType::kFetchTxns) return fetch_answers_.answer(link, packet.bytes());
  step(event::PacketReceived{link, std::move(packet)});
}

void Replica::on_part(LinkId link) {
  if (links_.contains(link)) step(event::PartReceived{link});
}

// ---- actions

void Replica::carry_out(Action& any) {
  if (auto* send = std::get_if<action::Send>(&any)) {
    PacketType type = send->packet.type;
    bool commits = type == PacketType::kCommit || type == PacketType::kCommitAndActivate;
    if (commits) answer_what_waited(Zxid{send->packet.zxid.value - 1});
    std::string bytes = encode(send->packet);
    for (LinkId link : send->links) supply_.send(link, bytes);
  } else if (auto* append = std::get_if<action::Append>(&any)) {
    on_append(*append);
  } else if (std::holds_alternative<action::Commit>(any)) {
    // Committed txns are applied once a batch: apply_committed.
  } else if (auto* inform = std::get_if<action::Inform>(&any)) {
    answer_what_waited(Zxid{inform->zxid.value - 1});
    Payload txn = recent_.find(inform->zxid);
    Packet packet(PacketType::kInform, inform->zxid, txn);
    if (inform->next_leader) {
      std::string data;
      tree::jute::Writer out(data);
      out.i64(inform->next_leader->value);
      out.raw(*txn);
      packet = Packet(PacketType::kInformAndActivate, inform->zxid, std::move(data));
    }
    for (LinkId link : inform->links) send_packet(link, packet);
  } else if (auto* forwarded = std::get_if<action::Forwarded>(&any)) {
    on_forwarded(*forwarded);
  } else if (auto* answered = std::get_if<action::Answered>(&any)) {
    on_answered(answered->packet);
  } else if (auto* ping = std::get_if<action::AnswerPing>(&any)) {
    answer_ping(*ping);
  } else if (auto* touched = std::get_if<action::SessionsTouched>(&any)) {
    on_touched(*touched);
  } else if (auto* confirmed = std::get_if<action::Confirmed>(&any)) {
    barriers_.confirmed(confirmed->token, last_txn());
  } else if (auto* vote = std::get_if<action::SendVote>(&any)) {
    transport_.send_vote(vote->to, vote->notification);
  } else if (auto* dial = std::get_if<action::Dial>(&any)) {
    transport_.dial(dial->leader, dial->link);
  } else if (auto* close = std::get_if<action::Close>(&any)) {
    forget_link(close->link);
    transport_.close(close->link, close->reason);
  } else if (auto* history = std::get_if<action::SendHistory>(&any)) {
    ++measures_.histories_sent;
    supply_.send_history(*history);
  } else if (auto* snapshot = std::get_if<action::SendSnapshot>(&any)) {
    ++measures_.snapshots_sent;
    send_snapshot(*snapshot);
  } else if (auto* receive = std::get_if<action::ReceiveSnapshot>(&any)) {
    snapshotter_.begin_fuzzy(receive->link);
  } else if (auto* apply = std::get_if<action::ApplyToSnapshot>(&any)) {
    snapshotter_.apply_to_fuzzy(apply->zxid, *apply->txn);
  } else if (auto* begin = std::get_if<action::BeginSync>(&any)) {
    on_begin_sync(*begin);
  } else if (auto* end = std::get_if<action::EndSync>(&any)) {
    log_.append({log_format::RecordType::kEndSync, Zxid{}, end->epoch, nullptr});
  } else if (auto* save = std::get_if<action::SaveAcceptedEpoch>(&any)) {
    save_promise(*save);
  } else if (auto* change = std::get_if<action::RoleChanged>(&any)) {
    on_role_changed(*change);
  } else if (auto* serve = std::get_if<action::Serve>(&any)) {
    on_serve(*serve);
  } else if (std::holds_alternative<action::MembershipChanged>(any)) {
    know_members();
    if (!zab_->membership().is_overridden()) config_.intervention = {};  // it is done
    for (ReplicaListener* listener : listeners_) listener->standing_changed();
  } else if (auto* notice = std::get_if<action::Notice>(&any)) {
    environment_.log_limited(LogLevel::kInfo, describe() + ": " + notice->text);
  } else if (auto* doubled = std::get_if<action::Doubled>(&any)) {
    on_double(doubled->id,
              fmt::format("two servers say that they are server {}: each ends the other's "
                          "connection to the leader. Give each a number of its own in its myid",
                          doubled->id.value));
  } else if (std::holds_alternative<action::Settle>(any)) {
    on_settle();
  }
}

void Replica::on_append(const action::Append& append) {
  if (zab_->role() != Role::kLeading) ++measures_.proposals_received;
  log_.append({log_format::RecordType::kTxn, append.zxid, 0, append.txn});
  // A learner that lacks more of the log than this is better sent a snapshot (Java:
  // snapshotSizeFactor, a third).
  size_t max_diff_bytes = std::max(config_.min_diff_bytes, Snapshotter::estimate_bytes(tree()) / 3);
  std::optional<Zxid> before = recent_.append(append.zxid, append.txn, max_diff_bytes);
  if (before) step(event::SnapshotIsShorter{*before});
}

void Replica::on_begin_sync(const action::BeginSync& begin) {
  if (begin.mode == SyncMode::kTrunc) {
    if (begin.zxid < tree_.applied()) {
      return environment_.die(
          fmt::format("{}: the leader wants to cut back to 0x{:x}, below what "
                      "was committed",
                      describe(), begin.zxid.value));
    }
    recent_.truncate(begin.zxid);
  } else if (begin.mode == SyncMode::kSnap) {
    recent_.restart(begin.zxid);
  }
  log_.append(
      {log_format::RecordType::kBeginSync, begin.zxid, static_cast<uint32_t>(begin.mode), nullptr});
  if (begin.mode == SyncMode::kSnap) snapshotter_.begin_incoming(begin.link);
}

void Replica::on_role_changed(const action::RoleChanged& change) {
  if (change.role == Role::kSettling) {
    environment_.log(LogLevel::kWarning,
                     fmt::format("{}: gives up its role: {}", describe(), change.why));
    service_ = Service::kNone;
    measures_.service.leaves_role(environment_.now_us());
    measures_.proposals.leave_role();
    reported_members_.clear();
    leadership_.reset();
    fail_attaching();
    barriers_.leave_role();
    for (ReplicaListener* listener : listeners_) listener->standing_changed();
    return;
  }
  if (change.role == Role::kLooking) {
    measures_.service.looks(environment_.now_us());
    std::string voters = zab_->ensemble().voter_names();
    if (const Ensemble* proposed = zab_->membership().proposed()) {
      voters += "; proposed are " + proposed->voter_names();
    }
    environment_.log(LogLevel::kInfo,
                     fmt::format("{}: looking for a leader; voters are {}", describe(), voters));
  } else {
    measures_.service.elected(environment_.now_us());
    environment_.log(LogLevel::kInfo, fmt::format("{}: elected {}; becomes {}", describe(),
                                                  change.leader.value, role_name(change.role)));
  }
}

void Replica::on_serve(const action::Serve& serve) {
  service_ = Service::kCatchingUp;
  contacts_.forget_quorum_ports();
  leader_is_zabfs_ = serve.leader_is_zabfs;
  if (serve.leader_is_zabfs) return;
  pending_.lose_track();
  ServerId leader = zab_->leader();
  if (makes_mounts_ids(leader)) environment_.log(LogLevel::kWarning, unusable_number(leader));
}

void Replica::on_settle() {
  supply_.clear();
  transport_.flush();  // a leader that leaves has said why
  for (LinkId link : std::exchange(links_, {})) transport_.close(link, "the role is over");
  log_.leave_role();
}

// The end of a role: the log on the disk is all there is, and memory says the same. What memory has
// by now is copied, since the lane asks for the plan.
LogPipeline::ReadPlan Replica::plan_reading() const {
  std::optional<Zxid> staged, incoming;
  if (tree_.staged()) staged = tree_.staged()->last_zxid();
  if (snapshotter_.incoming()) incoming = snapshotter_.incoming()->last_zxid();
  return [recent = recent_, applied = tree_.applied(), staged,
          incoming](const History& history) -> std::optional<Zxid> {
    // A SNAP that was given up leaves a base behind what is applied; the log has what is between.
    if (recent.reaches(history.last()) && recent.base() <= applied) return std::nullopt;
    if (history.base() <= applied) return applied;
    return incoming == history.base() ? *incoming : staged.value_or(applied);
  };
}

void Replica::on_settled(LogPipeline::Settled settled) {
  const History& history = settled.history;
  if (settled.found_room) {
    environment_.log(LogLevel::kInfo, fmt::format("{}: there is room again", describe()));
  }
  // Memory is not what it was when the lane was asked: once more.
  if (plan_reading()(history) != settled.read_after) return log_.leave_role();
  // Its end may have reached the disk, and its leader never said UPTODATE.
  const tree::Tree* incoming = snapshotter_.incoming();
  if (incoming && incoming->last_zxid() == history.base()) stage_incoming_tree();
  snapshotter_.drop_incoming();
  if (history.base() <= tree_.applied()) tree_.drop_staged();
  recent_.forget_unwritten(history.last());
  if (settled.read_after) {
    if (!settled.reading.is_whole) return environment_.die("the log can't be read back");
    recent_.restart(*settled.read_after, std::move(settled.reading.txns));
  }
  step(event::Settled{history, settled.current_epoch, unapplied_reconfigurations()});
}

void Replica::save_promise(const action::SaveAcceptedEpoch& save) {
  recovery_.save(
      Promise{save.epoch, save.votes, save.ensemble, save.secret},
      [this](const Promise& saved, const DiskStatus& status) { promise_saved(saved, status); });
}

void Replica::promise_saved(const Promise& promise, const DiskStatus& status) {
  if (status.is_full()) return on_disk_full(status, kPromiseBytes);
  if (!status.ok()) return environment_.die(status.message());
  bool gains_vote = promise.votes && !zab_->state().votes;
  step(event::AcceptedEpochSaved{promise.accepted_epoch, promise.votes, promise.ensemble,
                                 promise.secret});
  if (!gains_vote || !zab_->state().votes) return;
  environment_.log(LogLevel::kInfo, fmt::format("{}: this node votes now", describe()));
  log_.forget_damaged();
}

// ---- applying

// How far this node may apply. With a snapshot of a leader's, what is known to be committed beyond
// this node's tree is in there.
Zxid Replica::applicable() const {
  bool waits = snapshotter_.is_incoming() || tree_.staged();
  return waits ? tree_.applied() : std::min(zab_->committed(), zab_->state().durable);
}

// The request of this node that the txn answers. A zabfs leader refuses this node's late requests
// by a packet, so the txn of a late one is another server's.
std::optional<Completion> Replica::take_committed(const tree::Txn& txn, bool at_once) {
  bool is_others = tree::is_late(txn) && (leadership_ || leader_is_zabfs_);
  if (is_others) return std::nullopt;
  return pending_.take_committed(txn.header, at_once);
}

void Replica::apply_committed() {
  if (tree_.staged() && zab_->is_serving()) install_staged_tree();
  Zxid target = applicable();
  if (target <= tree_.applied()) return;
  std::vector<tree::Txn> txns;
  size_t applied_bytes = 0;
  for (auto next = recent_.after(tree_.applied());
       next != recent_.txns().end() && next->zxid <= target; ++next) {
    std::optional<tree::Txn> txn = tree::decode_txn(*next->txn);
    if (!txn || txn->header.zxid != next->zxid) {
      return environment_.die(describe() + ": " +
                              unknown_txn(*next, zab_->leader(), leader_is_zabfs_));
    }
    txns.push_back(std::move(*txn));
    applied_bytes += next->txn->size();
  }
  if (txns.empty()) {
    return environment_.die(fmt::format("{}: has no txn after 0x{:x}, and 0x{:x} is committed",
                                        describe(), tree_.applied().value, target.value));
  }
  bool agreed = tree().digest_agrees();
  for (ReplicaListener* listener : listeners_) listener->before_publish(txns);
  auto [changes, outcomes] = tree_.publish(
      txns,
      [this](const tree::Txn& txn, const Outcome& outcome, std::span<const tree::Change> own) {
        for (ReplicaListener* listener : listeners_) listener->publishing(own);
        std::optional<Completion> done = take_committed(txn, true);
        if (done && *done) (*done)(outcome);
      });
  snapshotter_.applied(txns.size(), applied_bytes);
  count_applied(txns.size());
  if (leadership_) leadership_->applied(tree_.applied());
  std::vector<std::pair<Completion, const Outcome*>> completions;
  std::vector<SessionId> closed;
  for (size_t i = 0; i < txns.size(); ++i) {
    const tree::TxnHeader& header = txns[i].header;
    if (header.type == OpCode::kCloseSession) {
      if (leadership_) leadership_->closed(header.session);
      own_sessions_.closed(header.session);
      closed.push_back(header.session);
      environment_.log_limited(LogLevel::kInfo,
                               fmt::format("{}: session 0x{:x} closed", describe(),
                                           static_cast<uint64_t>(header.session.value)));
    }
    std::optional<Completion> done = take_committed(txns[i], false);
    if (done && header.type == OpCode::kCreateSession) {
      own_sessions_.attached(header.session, tree::kFirstAttachment);
    }
    if (done) completions.emplace_back(std::move(*done), &outcomes[i]);
  }
  for (ReplicaListener* listener : listeners_) listener->published(changes);
  for (auto& [done, outcome] : completions) {
    if (done) done(*outcome);
  }
  for (SessionId session : closed) {
    for (ReplicaListener* listener : listeners_) listener->session_closed(session);
  }
  recent_.trim(tree_.applied());
  if (agreed && !tree().digest_agrees()) on_divergence();
}

void Replica::count_applied(size_t txns) {
  bool leads = zab_->role() == Role::kLeading;
  (leads ? measures_.commit_count : measures_.commits_received) += txns;
  if (!measures_.proposals.has_any()) return;
  measures_.proposals.applied(tree_.applied(), environment_.now_us());
}

// Somewhere back this node applied other txns than the leader, or its memory is faulty. What it
// holds is no copy of the ensemble's data any more.
void Replica::on_divergence() {
  ++measures_.digest_mismatches;
  std::string text = fmt::format("the tree of this node differs from the leader's at zxid 0x{:x}",
                                 tree_.applied().value);
  // Java's snapshots hold more than their zxid says, until the txns behind them are applied, too.
  if (!leader_is_zabfs_ && !is_alone()) {
    return environment_.log(LogLevel::kError, describe() + ": " + text);
  }
  tree_.distrust(std::move(text));
  environment_.log(
      LogLevel::kError,
      fmt::format("{}: {}; {}", describe(), tree_.doubt(),
                  is_alone() ? "no other member has a copy: export what is needed, and "
                               "start with an empty data directory"
                             : "it leaves, and takes over the others' data"));
  if (!is_alone()) step(event::Diverged{tree_.doubt()});
}

void Replica::stage_incoming_tree() {
  if (std::shared_ptr<tree::Tree> tree = snapshotter_.take_incoming()) tree_.stage(std::move(tree));
}

void Replica::install_staged_tree() {
  environment_.log(LogLevel::kInfo, fmt::format("{}: takes over the leader's snapshot at 0x{:x}",
                                                describe(), tree_.staged()->last_zxid().value));
  for (ReplicaListener* listener : listeners_) listener->before_replace();
  bool was_doubtful = !tree_.doubt().empty();
  std::shared_ptr<tree::Tree> old = tree_.show_staged(recent_.txns());
  if (!old) {
    auto unknown =
        std::find_if(recent_.txns().begin(), recent_.txns().end(),
                     [](const LogTxn& txn) { return !tree::decode_txn(*txn.txn).has_value(); });
    return environment_.die(describe() + ": " +
                            unknown_txn(*unknown, zab_->leader(), leader_is_zabfs_));
  }
  if (was_doubtful) snapshotter_.keep_diverged(std::move(old));
  take_configuration();
  own_sessions_.keep_only([this](SessionId id) { return tree().sessions().contains(id); });
  pending_.lose_track();
  snapshotter_.restart_at(tree_.applied());
  // The log is to say that it was committed, also if nothing more is written.
  log_.seal_soon();
  for (ReplicaListener* listener : listeners_) listener->tree_replaced();
}

bool Replica::has_batch_work() const {
  return applicable() > tree_.applied() || (is_serving() && barriers_.has_waiting()) ||
         barriers_.has_applied(tree_.applied());
}

void Replica::end_of_batch() {
  if (in_batch_) return;
  in_batch_ = true;
  do {
    apply_committed();
    if (service_ == Service::kCatchingUp && tree_.applied() >= applicable()) become_ready();
    answer_what_waited(zab_->committed());
    while (std::optional<Completion> done = barriers_.take_applied(tree_.applied()))
      (*done)(Outcome{});
    flush_barriers();
  } while (has_batch_work());
  // A few txns are written when all is sent that others wait for; many, meanwhile.
  log_.write_many(tree_.applied());
  do {
    transport_.flush();
  } while (supply_.supply());
  for (ReplicaListener* listener : listeners_) listener->batch_over();
  log_.end_of_batch(tree_.applied());
  if (snapshotter_.is_due(is_serving())) take_snapshot();
  int64_t wake_ms = std::min(zab_->deadline_ms(), log_.wake_ms());
  environment_.wake_at(recovery_.is_mending() ? recovery_.wake_ms() : wake_ms);
  in_batch_ = false;
}

}  // namespace zabfs::consensus
