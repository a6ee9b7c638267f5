#include "consensus/leader.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "tree/jute.h"

namespace zabfs::consensus {

namespace {

constexpr int kDoubledReturns = 4;

}  // namespace

Leader::Leader(const ZabConfig& config, ZabState& state, Zxid committed, int64_t now_ms,
               Actions& out)
    : config_(config),
      state_(state),
      own_epoch_(state.current_epoch),
      own_last_(state.history.last()),
      committed_(committed),
      now_ms_(now_ms),
      progress_ms_(now_ms),
      next_tick_ms_(now_ms + config.tick_ms / 2),
      quorum_seen_ms_(now_ms) {
  state_.facts[config_.me] = {config_.version};
  try_choose_epoch(out);
}

int64_t Leader::deadline_ms() const { return next_tick_ms_; }

// Checked before anything else counts: nodes that lost their promises rely on it (Zab::start). What
// they rely on is that a quorum has promised this epoch within initLimit, or never does. So nothing
// prolongs the time until then; afterwards a synchronisation does that goes on.
bool Leader::took_too_long(int64_t now_ms) {
  if (phase_ != Phase::kBroadcast && now_ms - progress_ms_ > config_.init_ms()) {
    failure_ = "no quorum came within initLimit";
  }
  return !failure_.empty();
}

// A learner takes its history, behind which our pings wait; or answers one, and has yet to write
// what it took.
void Leader::on_progress(int64_t now_ms, Learner& learner) {
  learner.heard_ms = now_ms;
  bool counts = phase_ == Phase::kSync && learner.phase == LearnerPhase::kSyncing &&
                !learner.observer && state_.membership.is_voter(learner.id);
  if (counts) progress_ms_ = now_ms;
}

void Leader::step(int64_t now_ms, const Event& event, Actions& out) {
  now_ms_ = now_ms;
  if (took_too_long(now_ms)) return;
  if (const auto* packet = std::get_if<event::PacketReceived>(&event)) {
    on_packet(now_ms, packet->link, packet->packet, out);
  } else if (const auto* proposal = std::get_if<event::Propose>(&event)) {
    propose(*proposal, out);
  } else if (std::holds_alternative<event::Synced>(event)) {
    try_commit(out);
  } else if (const auto* accepted = std::get_if<event::LinkAccepted>(&event)) {
    Learner learner;
    learner.heard_ms = now_ms;
    learners_.emplace(accepted->link, learner);
  } else if (const auto* down = std::get_if<event::LinkDown>(&event)) {
    note_loss(down->link, "its connection is gone", out);
    learners_.erase(down->link);
    if (is_established()) announce(out);
    check_confirmation(out);
  } else if (const auto* fed = std::get_if<event::LearnerFed>(&event)) {
    auto found = learners_.find(fed->link);
    if (found != learners_.end()) on_progress(now_ms, found->second);
  } else if (const auto* part = std::get_if<event::PartReceived>(&event)) {
    auto found = learners_.find(part->link);
    if (found != learners_.end()) found->second.heard_ms = now_ms;
  } else if (std::holds_alternative<event::AcceptedEpochSaved>(event)) {
    phase_ = Phase::kEpochAcks;
    for (const auto& [link, learner] : learners_) {
      if (learner.known) send_leader_info(link, state_.secret, out);
    }
    try_save_epoch(out);
  } else if (std::holds_alternative<event::EpochSaved>(event)) {
    state_.current_epoch = epoch_;
    phase_ = Phase::kSync;
    for (auto& [link, learner] : learners_) {
      if (learner.phase == LearnerPhase::kEpochAcked) synchronise(link, learner, out);
    }
    try_establish(out);
  } else if (const auto* confirm = std::get_if<event::ConfirmLeadership>(&event)) {
    waiting_tokens_.push_back(confirm->token);
    if (round_tokens_.empty()) start_confirmation(out);
  } else if (std::holds_alternative<event::Tick>(event)) {
    on_tick(now_ms, out);
  }
}

// ---- discovery

void Leader::on_packet(int64_t now_ms, LinkId link, const Packet& packet, Actions& out) {
  // A link that was accepted before this leadership makes itself known by its first packet.
  Learner& learner = learners_[link];
  learner.heard_ms = now_ms;
  bool is_info =
      packet.type == PacketType::kFollowerInfo || packet.type == PacketType::kObserverInfo;
  if (is_info != !learner.known) {
    return drop(link, std::string("unexpected ") + packet_name(packet.type), out);
  }
  if (is_info) return on_info(link, learner, packet, out);
  switch (packet.type) {
    case PacketType::kAckEpoch:
      return on_ack_epoch(link, learner, packet, out);
    case PacketType::kAck:
      return on_ack(link, learner, packet, out);
    case PacketType::kPing:
      on_progress(now_ms, learner);
      return on_ping(learner, packet, out);
    case PacketType::kRequest:
    case PacketType::kRevalidate:
      if (learner.phase != LearnerPhase::kSynced) {
        return drop(link, "it asks before it is synchronised", out);
      }
      out.push_back(action::Forwarded{link, learner.id, learner.is_zabfs, packet});
      return;
    case PacketType::kDiskFull:
      return on_disk_full(link, learner, out);
    case PacketType::kProposal:
    case PacketType::kCommit:
    case PacketType::kSync:
    case PacketType::kInform:
    case PacketType::kCommitAndActivate:
    case PacketType::kNewLeader:
    case PacketType::kFollowerInfo:
    case PacketType::kUpToDate:
    case PacketType::kDiff:
    case PacketType::kTrunc:
    case PacketType::kSnap:
    case PacketType::kObserverInfo:
    case PacketType::kLeaderInfo:
    case PacketType::kInformAndActivate:
    case PacketType::kFetchTxns:
    case PacketType::kRefused:
      return drop(link, std::string("a learner sent ") + packet_name(packet.type), out);
  }
}

void Leader::on_info(LinkId link, Learner& learner, const Packet& packet, Actions& out) {
  std::optional<LearnerInfo> info = decode_learner_info(packet.bytes());
  if (!info) return drop(link, "malformed LearnerInfo", out);
  if (info->is_too_old) {
    const char* sign = "it names no version of its configuration";
    return drop(link, too_old(member_of(info->id), sign), out);
  }
  if (member_of(info->id) == config_.me) {
    return drop(link, "a learner with this node's own id", out);
  }
  if (!may_learn(config_, state_.membership, info->id)) {
    return drop(
        link,
        "server " + std::to_string(member_of(info->id).value) +
            " is in no configuration: list it in every zoo.cfg, or set reconfigEnabled=true",
        out);
  }
  if (!info->is_zabfs && makes_mounts_ids(member_of(info->id))) {
    return drop(link, unusable_number(member_of(info->id)), out);
  }
  if (packet.zxid.epoch() > kMaxEpoch) return drop(link, "its epoch is impossible", out);
  // It learns from LEADERINFO that it is at the wrong place, and counts for nothing here.
  if (state_.is_foreign(info->ensemble)) {
    return send_leader_info(link, "", out);
  }
  // A follower that no configuration has as a voter follows, too: it is to become one, and its ACKs
  // count from then on.
  // One link a node: a new one ends the old, with what it had not prepared yet and what the node
  // had acknowledged in a former life.
  for (auto old = learners_.begin(); old != learners_.end();) {
    if (old->first != link && old->second.known &&
        member_of(old->second.id) == member_of(info->id)) {
      out.push_back(action::Close{old->first, "the same server connected again"});
      note_return(member_of(info->id), learner.heard_ms, out);
      old = learners_.erase(old);
    } else {
      ++old;
    }
  }
  learner.id = info->id;
  learner.known = true;
  learner.observer = packet.type == PacketType::kObserverInfo;
  learner.is_zabfs = info->is_zabfs;
  learner.has_secret = info->has_secret;
  note_facts(member_of(info->id), {info->is_zabfs ? info->version : std::string(kZooKeeper)});
  learner.phase = LearnerPhase::kInfo;
  learner.last = packet.zxid;  // its accepted epoch, until ACKEPOCH says where its log ends
  if (phase_ == Phase::kDiscovery) return try_choose_epoch(out);
  // It promised that epoch to a node that then did not lead, and may not follow an earlier one.
  if (learner.last.epoch() > epoch_ && state_.membership.is_member(member_of(info->id))) {
    failure_ = "server " + std::to_string(member_of(info->id).value) + " has promised epoch " +
               std::to_string(learner.last.epoch()) + ", and can follow a later leader only";
    return;
  }
  if (phase_ != Phase::kSavingAccepted) send_leader_info(link, state_.secret, out);
}

// Its link goes down next, and until it is back the others are told why.
void Leader::on_disk_full(LinkId link, const Learner& learner, Actions& out) {
  if (!learner.is_zabfs || learner.phase != LearnerPhase::kSynced) {
    return drop(link, "it sent DISKFULL, but is no zabfs server that serves", out);
  }
  auto facts = state_.facts.find(member_of(learner.id));
  if (facts != state_.facts.end()) facts->second.disk_full = true;
}

void Leader::note_facts(ServerId id, MemberFacts facts) {
  if (state_.facts.size() >= 2 * kMaxMembers) {
    std::erase_if(state_.facts,
                  [this](const auto& entry) { return !state_.membership.is_member(entry.first); });
  }
  state_.facts[id] = std::move(facts);
}

// Once, a server may come back before its old connection is known to be gone. Two servers with one
// number do so again and again.
void Leader::note_return(ServerId id, int64_t now_ms, Actions& out) {
  if (!state_.membership.is_member(id)) return;
  Returns& returns = returns_[id];
  if (now_ms - returns.since_ms > 2 * config_.sync_ms()) returns = Returns{now_ms, 0};
  if (++returns.times >= kDoubledReturns) out.push_back(action::Doubled{id});
}

void Leader::try_choose_epoch(Actions& out) {
  std::set<ServerId> heard{config_.me};
  uint32_t highest = state_.accepted_epoch;
  for (const auto& [link, learner] : learners_) {
    if (!learner.known) continue;
    if (!learner.observer) heard.insert(learner.id);
    if (state_.membership.knows(member_of(learner.id))) {
      highest = std::max(highest, learner.last.epoch());
    }
  }
  if (!state_.membership.is_quorum(heard)) return;
  if (highest >= kMaxEpoch) {
    failure_ = "the epochs are used up";
    return;
  }
  epoch_ = highest + 1;
  phase_ = Phase::kSavingAccepted;
  // The first epoch of all: the ensemble begins, and has a number from now on.
  bool begins = state_.current_epoch == 0 && state_.ensemble == 0;
  std::optional<int64_t> number;
  if (begins) number = state_.nonce;
  std::string secret = state_.secret.empty() ? state_.fresh_secret : std::string();
  out.push_back(action::SaveAcceptedEpoch{epoch_, true, number, std::move(secret)});
}

void Leader::send_leader_info(LinkId link, std::string_view secret, Actions& out) const {
  out.push_back(action::Send{
      {link},
      Packet(PacketType::kLeaderInfo, epoch_start(), encode_leader_info(state_.ensemble, secret))});
}

void Leader::on_ack_epoch(LinkId link, Learner& learner, const Packet& packet, Actions& out) {
  if (learner.phase != LearnerPhase::kInfo || packet.bytes().size() != 4) {
    return drop(link, "unexpected ACKEPOCH", out);
  }
  int32_t their_epoch = tree::jute::Reader(packet.bytes()).i32();
  learner.last = packet.zxid;
  learner.phase = LearnerPhase::kEpochAcked;
  if (their_epoch != -1) {
    auto current = static_cast<uint32_t>(std::max(their_epoch, 0));
    bool ahead = std::pair(current, packet.zxid) > std::pair(own_epoch_, own_last_);
    // Without weight it counts for no quorum: what only it has was never committed.
    bool counts = !learner.observer && state_.membership.is_voter(learner.id) &&
                  !state_.membership.is_weightless(learner.id);
    if (ahead && phase_ == Phase::kEpochAcks && counts) {
      failure_ = "server " + std::to_string(member_of(learner.id).value) + " has a longer history";
      return;
    }
    if (ahead && phase_ == Phase::kEpochAcks) return drop(link, "its history is ahead", out);
    learner.epoch_acked = !learner.observer;
  }
  if (phase_ == Phase::kEpochAcks) return try_save_epoch(out);
  if (phase_ == Phase::kSync || phase_ == Phase::kBroadcast) synchronise(link, learner, out);
}

void Leader::try_save_epoch(Actions& out) {
  std::set<ServerId> ackers{config_.me};
  for (const auto& [any, learner] : learners_) {
    if (learner.epoch_acked) ackers.insert(learner.id);
  }
  if (!state_.membership.is_quorum(ackers)) return;
  phase_ = Phase::kSavingEpoch;
  out.push_back(action::BeginSync{SyncMode::kDiff, own_last_, 0});
  out.push_back(action::EndSync{epoch_});
}

// ---- synchronisation

void Leader::synchronise(LinkId link, Learner& learner, Actions& out) {
  const History& history = state_.history;
  // What is sent as committed: before this leadership is established, its whole initial history.
  Zxid limit = phase_ == Phase::kBroadcast ? committed_ : own_last_;
  Zxid theirs = learner.last;
  // A Java server's log may end at the start of an epoch. Then the epoch was established, and the
  // log has all before it and nothing of it (Java: isPeerNewEpochZxid). This leader's history has
  // the same, for it was elected in that epoch or a later one.
  bool is_epoch_start = theirs.counter() == 0 && theirs.epoch() <= own_epoch_;
  if (is_epoch_start) theirs = history.last_through(theirs);
  bool has_theirs = is_epoch_start || history.contains(theirs);
  Zxid common = std::min(has_theirs ? theirs : history.last_of_epoch(theirs.epoch()), limit);
  bool known = has_theirs || common != Zxid{};
  Packet new_leader(PacketType::kNewLeader, epoch_start(), state_.membership.in_force().text());
  bool reaches_back = common >= history.base();
  bool is_short = common >= std::min(state_.diff_from, limit);  // Java: snapshotSizeFactor
  std::string sends = "sends server " + std::to_string(member_of(learner.id).value) +
                      ", whose log ends at " + zxid_name(learner.last) + ", ";
  if (!known || !reaches_back || !is_short) {
    out.push_back(action::Notice{sends + "SNAP: a snapshot"});
    out.push_back(action::SendSnapshot{link, limit, learner.is_zabfs});
  } else if (common == theirs) {
    out.push_back(action::Notice{sends + "DIFF: the txns up to " + zxid_name(limit)});
    out.push_back(action::Send{{link}, Packet(PacketType::kDiff, limit)});
    out.push_back(action::SendHistory{link, common, limit, true});
  } else {
    out.push_back(action::Notice{sends + "TRUNC: its log is to end at " + zxid_name(common)});
    out.push_back(action::Send{{link}, Packet(PacketType::kTrunc, common)});
    out.push_back(action::SendHistory{link, common, limit, true});
  }
  if (!learner.observer) {
    out.push_back(action::SendHistory{link, limit, history.last(), false});
  }
  out.push_back(action::Send{{link}, new_leader});
  learner.last = Zxid{};
  learner.told = limit;
  learner.phase = LearnerPhase::kSyncing;
}

void Leader::on_ack(LinkId link, Learner& learner, const Packet& packet, Actions& out) {
  if (packet.zxid.counter() != 0) {
    // Java 3.8.0 may acknowledge a proposal of the sync before NEWLEADER: noted, counted later.
    bool was_sent = learner.phase >= LearnerPhase::kSyncing && packet.zxid <= state_.history.last();
    if (!was_sent) return drop(link, "ACK of what was not sent", out);
    learner.last = std::max(learner.last, packet.zxid);
    return try_commit(out);
  }
  if (packet.zxid != epoch_start()) return drop(link, "ACK of another epoch's NEWLEADER", out);
  if (learner.phase != LearnerPhase::kSyncing) return;  // the second ACK, after UPTODATE
  learner.phase = LearnerPhase::kSynced;
  state_.note_passwords(member_of(learner.id),
                        learner.has_secret ? Passwords::kSecret : Passwords::kPublic);
  out.push_back(action::Notice{"server " + std::to_string(member_of(learner.id).value) +
                               (learner.observer ? " observes" : " follows")});
  if (phase_ == Phase::kBroadcast) {
    say_up_to_date(link, learner, out);
    return announce(out);
  }
  try_establish(out);
}

void Leader::say_up_to_date(LinkId link, Learner& learner, Actions& out) {
  out.push_back(action::Send{{link}, Packet(PacketType::kUpToDate, Zxid{-1})});
  bool was_told = takes_commits(learner);
  learner.up_to_date = true;
  // Java answers no PING that came before it.
  if (!learner.is_zabfs) learner.pings_sent = learner.pings_answered = 0;
  Zxid zxid = learner.told.epoch() == epoch_ ? learner.told : epoch_start();
  while (!was_told && !learner.observer && committed_.epoch() == epoch_ && zxid < committed_) {
    zxid = zxid.next();
    out.push_back(action::Send{{link}, commit_of(zxid)});
  }
  // It may stand in for one that left before it could prove a leadership under question.
  if (!round_tokens_.empty() && !learner.observer) ask_for_proof(link, learner, out);
}

void Leader::try_establish(Actions& out) {
  if (phase_ != Phase::kSync) return;
  if (!state_.membership.is_quorum(voters_at(LearnerPhase::kSynced))) return;
  phase_ = Phase::kBroadcast;
  committed_ = own_last_;
  state_.membership.committed(committed_);
  out.push_back(action::Commit{committed_});
  out.push_back(action::Serve{epoch_, true, SyncMode::kDiff});
  for (auto& [link, learner] : learners_) {
    if (learner.phase == LearnerPhase::kSynced) say_up_to_date(link, learner, out);
  }
  announce(out);
}

// ---- broadcast

void Leader::propose(const event::Propose& proposal, Actions& out) {
  if (phase_ != Phase::kBroadcast) return;
  state_.history.append(proposal.zxid);
  state_.membership.appended(proposal.zxid, *proposal.txn);
  out.push_back(action::Append{proposal.zxid, proposal.txn});
  action::Send send{{}, Packet(PacketType::kProposal, proposal.zxid, proposal.txn)};
  for (const auto& [link, learner] : learners_) {
    if (!learner.observer && learner.phase >= LearnerPhase::kSyncing) send.links.push_back(link);
  }
  if (!send.links.empty()) out.push_back(std::move(send));
  bool is_last = proposal.zxid.counter() >= config_.last_counter;
  if (is_last) failure_ = "the zxid counter is used up";
}

void Leader::try_commit(Actions& out) {
  if (phase_ != Phase::kBroadcast) return;
  std::map<ServerId, Zxid> reached{{config_.me, state_.durable}};
  std::vector<LinkId> followers, observers;
  bool someone_waits = false;
  for (const auto& [link, learner] : learners_) {
    if (learner.phase < LearnerPhase::kSyncing) continue;
    if (learner.observer) {
      observers.push_back(link);
    } else {
      if (takes_commits(learner)) followers.push_back(link);
      someone_waits = someone_waits || !takes_commits(learner);
      if (learner.phase == LearnerPhase::kSynced) reached[learner.id] = learner.last;
    }
  }
  if (!someone_waits) next_leaders_.clear();
  bool has_new_quorum = true;
  while (has_new_quorum) {
    Zxid target = state_.membership.quorum_zxid(reached);
    // Only a txn of this epoch is committed by counting; it commits all before it.
    if (target.epoch() != epoch_ || target.counter() == 0 || target <= committed_) return;
    Zxid zxid = committed_.epoch() == epoch_ ? committed_ : epoch_start();
    while (zxid < target) {
      zxid = zxid.next();
      std::optional<ServerId> next_leader;
      if (state_.membership.proposed() != nullptr && zxid == state_.membership.proposed_at()) {
        next_leader = leader_under(*state_.membership.proposed(), reached);
        next_leaders_[zxid] = *next_leader;
      }
      if (!followers.empty()) out.push_back(action::Send{followers, commit_of(zxid)});
      if (!observers.empty()) out.push_back(action::Inform{observers, zxid, next_leader});
    }
    committed_ = target;
    out.push_back(action::Commit{committed_});
    // Once a configuration is in force, it alone commits the txns behind it.
    has_new_quorum = state_.membership.committed(committed_);
  }
}

Packet Leader::commit_of(Zxid zxid) const {
  auto next_leader = next_leaders_.find(zxid);
  if (next_leader == next_leaders_.end()) return Packet(PacketType::kCommit, zxid);
  std::string data;
  tree::jute::Writer(data).i64(next_leader->second.value);
  return Packet(PacketType::kCommitAndActivate, zxid, std::move(data));
}

// Who leads under `next`: this node if it can, else the voter there whose log is longest. Who has
// no weight there can't.
ServerId Leader::leader_under(const Ensemble& next, const std::map<ServerId, Zxid>& reached) const {
  if (next.weight(config_.me) > 0) return config_.me;
  ServerId best = config_.me;
  Zxid longest;
  for (auto [id, zxid] : reached) {
    if (next.weight(id) > 0 && zxid >= longest) std::tie(best, longest) = std::pair(id, zxid);
  }
  return best;
}

// ---- liveness and proofs of leadership

void Leader::on_ping(Learner& learner, const Packet& packet, Actions& out) {
  ++learner.pings_answered;
  bool serves = learner.phase == LearnerPhase::kSynced;
  if (serves && !packet.bytes().empty()) {
    out.push_back(action::SessionsTouched{learner.id, packet.data});
  }
  check_confirmation(out);
}

void Leader::send_ping(LinkId link, Learner& learner, Actions& out) {
  Packet ping(PacketType::kPing, state_.history.last());
  if (learner.is_zabfs) ping.data = make_payload(status_text());
  ++learner.pings_sent;
  out.push_back(action::Send{{link}, std::move(ping)});
}

void Leader::on_tick(int64_t now_ms, Actions& out) {
  if (now_ms < next_tick_ms_) return;
  next_tick_ms_ = now_ms + config_.tick_ms / 2;
  std::vector<LinkId> silent;
  for (auto& [link, learner] : learners_) {
    bool synced = learner.phase == LearnerPhase::kSynced;
    int64_t limit_ms = config_.sync_ms() + (synced ? 0 : config_.init_ms());
    if (now_ms - learner.heard_ms > limit_ms) {
      silent.push_back(link);
    } else if (synced || learner.phase == LearnerPhase::kSyncing) {
      send_ping(link, learner, out);
    }
  }
  for (LinkId link : silent) drop(link, "no word within syncLimit", out);
  if (state_.membership.is_quorum(voters_at(LearnerPhase::kSynced))) quorum_seen_ms_ = now_ms;
  if (phase_ == Phase::kBroadcast) {
    // As Java: at a full tick without a synced quorum, the leader steps down.
    if (now_ms - quorum_seen_ms_ >= config_.tick_ms / 2) failure_ = "lost its quorum";
  }
}

void Leader::start_confirmation(Actions& out) {
  round_tokens_ = std::exchange(waiting_tokens_, {});
  round_targets_.clear();
  if (round_tokens_.empty()) return;
  for (auto& [link, learner] : learners_) {
    if (is_counted(learner, LearnerPhase::kSynced)) ask_for_proof(link, learner, out);
  }
  check_confirmation(out);
}

void Leader::ask_for_proof(LinkId link, Learner& learner, Actions& out) {
  send_ping(link, learner, out);
  round_targets_[link] = learner.pings_sent;
}

void Leader::check_confirmation(Actions& out) {
  if (round_tokens_.empty() || phase_ != Phase::kBroadcast) return;
  std::set<ServerId> proven{config_.me};
  for (auto [link, target] : round_targets_) {
    auto found = learners_.find(link);
    if (found != learners_.end() && found->second.pings_answered >= target) {
      proven.insert(found->second.id);
    }
  }
  if (!state_.membership.is_quorum(proven)) return;
  for (uint64_t token : round_tokens_) out.push_back(action::Confirmed{token});
  round_tokens_.clear();
  start_confirmation(out);
}

void Leader::note_loss(LinkId link, const std::string& reason, Actions& out) {
  auto found = learners_.find(link);
  if (found == learners_.end() || found->second.phase != LearnerPhase::kSynced) return;
  const ServerId id = member_of(found->second.id);
  auto facts = state_.facts.find(id);
  if (facts != state_.facts.end()) facts->second.heard_ms = found->second.heard_ms;
  out.push_back(action::Notice{"lost server " + std::to_string(id.value) + ": " + reason});
}

void Leader::drop(LinkId link, const std::string& reason, Actions& out) {
  note_loss(link, reason, out);
  learners_.erase(link);
  out.push_back(action::Close{link, reason});
}

bool Leader::is_counted(const Learner& learner, LearnerPhase at_least) const {
  return learner.known && !learner.observer && learner.phase >= at_least;
}

std::set<ServerId> Leader::voters_at(LearnerPhase at_least) const {
  std::set<ServerId> ids{config_.me};
  for (const auto& [link, learner] : learners_) {
    if (is_counted(learner, at_least)) ids.insert(learner.id);
  }
  return ids;
}

std::set<ServerId> Leader::synced_followers() const { return voters_at(LearnerPhase::kSynced); }

std::set<ServerId> Leader::answering_followers(int64_t now_ms) const {
  std::set<ServerId> ids{config_.me};
  for (const auto& [link, learner] : learners_) {
    // It is asked every half tick.
    bool answers = now_ms - learner.heard_ms <= config_.tick_ms * 7 / 10;
    if (answers && is_counted(learner, LearnerPhase::kSynced)) ids.insert(learner.id);
  }
  return ids;
}

}  // namespace zabfs::consensus
