#include "consensus/learner.h"

#include <algorithm>

#include "tree/jute.h"

namespace zabfs::consensus {
namespace {

constexpr int64_t kRedialMs = 20;  // the leader may not have decided yet
// The end of a log that no leader can have: it sends a snapshot.
constexpr Zxid kNoCommonLog = Zxid::make(0, UINT32_MAX);
constexpr int64_t kDialTicks = 2;  // a leader that turns learners away for so long is none

// Leader::status_text; empty: it says nothing. What follows the roles older leaders don't say.
std::vector<MemberStatus> decode_status(std::string_view text, int64_t now_ms) {
  if (text.empty()) return {};
  tree::jute::Reader in(text);
  std::vector<MemberStatus> members(in.count(20));
  for (MemberStatus& member : members) {
    member.id.value = in.i64();
    int32_t role = in.i32();
    if (role < 0 || role > static_cast<int32_t>(Role::kLeading)) in.fail();
    member.role = static_cast<Role>(role);
    member.zxid.value = in.i64();
  }
  if (!in.ok()) return {};
  for (MemberStatus& member : members) {
    if (in.rest().size() < 4) break;
    int32_t passwords = in.i32();
    if (passwords == static_cast<int32_t>(Passwords::kPublic) ||
        passwords == static_cast<int32_t>(Passwords::kSecret)) {
      member.passwords = static_cast<Passwords>(passwords);
    }
  }
  for (MemberStatus& member : members) {
    if (in.at_end()) break;
    member.facts.version = checked_version(in.string());
    member.facts.disk_full = in.boolean();
    int64_t ago_ms = in.i64();
    if (ago_ms >= 0 && ago_ms <= now_ms) member.facts.heard_ms = now_ms - ago_ms;
    if (!in.ok()) member.facts = {};
  }
  return members;
}

std::string lost_history(Zxid theirs, Zxid known) {
  return "the leader lacks txns that were committed, those after zxid " + zxid_name(theirs) +
         " up to " + zxid_name(known) +
         ": the others have lost history. To keep it, give them this node's data; to do without it,"
         " move this node's data directory away";
}

}  // namespace

std::string foreign_ensemble(ServerId other) {
  return "server " + std::to_string(other.value) +
         " belongs to another ensemble, begun anew with the same server numbers. If this node is to"
         " join that one, move its data directory away";
}

Learner::Learner(const ZabConfig& config, ZabState& state, Zxid committed, ServerId leader,
                 bool observes, int64_t now_ms, Actions& out)
    : config_(config),
      state_(state),
      leader_(leader),
      observes_(observes),
      known_committed_(std::min(committed, state.history.last())),
      committed_(committed),
      heard_ms_(now_ms) {
  link_ = state_.next_link++;
  out.push_back(action::Dial{leader_, link_});
  set_deadline(now_ms);
}

void Learner::step(int64_t now_ms, const Event& event, Actions& out) {
  if (const auto* packet = std::get_if<event::PacketReceived>(&event)) {
    if (packet->link != link_) return;
    heard_ms_ = now_ms;
    on_packet(packet->packet, out);
  } else if (const auto* part = std::get_if<event::PartReceived>(&event)) {
    if (part->link == link_) heard_ms_ = now_ms;
  } else if (std::holds_alternative<event::Synced>(event)) {
    acknowledge(out);
  } else if (const auto* up = std::get_if<event::LinkUp>(&event)) {
    if (up->link != link_ || phase_ != Phase::kDialling) return;
    phase_ = Phase::kInfoSent;
    const Membership& membership = state_.membership;
    // A reconfiguration that it does not understand may make a voter of it, too.
    bool may_be_voter = is_to_vote(config_, membership) || !membership.is_understood();
    bool lacks_vote = observes_ && may_be_voter;
    LearnerInfo info{lacks_vote ? without_vote(config_.me) : config_.me,
                     state_.membership.in_force().version(),
                     true,
                     state_.settled_ensemble(),
                     true,
                     config_.version};
    send(Packet(observes_ ? PacketType::kObserverInfo : PacketType::kFollowerInfo,
                Zxid::make(state_.accepted_epoch, 0), encode_learner_info(info)),
         out);
  } else if (const auto* down = std::get_if<event::LinkDown>(&event)) {
    if (down->link != link_) return;
    // The elected leader may not be listening yet: try again, within initLimit.
    if (phase_ == Phase::kDialling || phase_ == Phase::kInfoSent) {
      phase_ = Phase::kDialling;
      // From the first refusal on: before it, the leader's name may have been looked up for long.
      if (!turned_away_ms_) turned_away_ms_ = now_ms;
      redial_at_ms_ = now_ms + kRedialMs;
      link_ = 0;
    } else {
      failure_ = "lost the connection to the leader";
    }
  } else if (const auto* snapshot = std::get_if<event::SnapshotReceived>(&event)) {
    if (phase_ != Phase::kReceivingSnapshot) return;
    phase_ = Phase::kSyncing;
    state_.membership.adopt(snapshot->configuration);
    if (new_leader_waits_) take_over_ensemble(out);
  } else if (const auto* saved = std::get_if<event::AcceptedEpochSaved>(&event)) {
    bool is_taken_over = saved->ensemble == new_ensemble_ && saved->secret == new_secret_;
    if (phase_ == Phase::kSavingEnsemble && is_taken_over) return end_sync(out);
    if (phase_ != Phase::kSavingAccepted || saved->epoch != epoch_) return;
    promise(out);
  } else if (std::holds_alternative<event::EpochSaved>(event)) {
    if (phase_ != Phase::kSavingEpoch) return;
    state_.current_epoch = epoch_;
    phase_ = Phase::kWaitingUpToDate;
    send(Packet(PacketType::kAck, Zxid::make(epoch_, 0)), out);
    acknowledge(out);
  } else if (std::holds_alternative<event::Tick>(event)) {
    on_tick(now_ms, out);
  }
  set_deadline(now_ms);
}

void Learner::set_deadline(int64_t now_ms) {
  deadline_ms_ = heard_ms_ + (phase_ == Phase::kServing ? config_.sync_ms() : config_.init_ms());
  if (phase_ == Phase::kDialling && link_ == 0) deadline_ms_ = redial_at_ms_;
  deadline_ms_ = std::max(deadline_ms_, now_ms + 1);
}

void Learner::on_tick(int64_t now_ms, Actions& out) {
  if (phase_ == Phase::kServing) {
    if (now_ms - heard_ms_ >= config_.sync_ms()) failure_ = "no word from the leader in syncLimit";
    return;
  }
  // However long a snapshot takes, it may while it comes in; silence may not.
  if (now_ms - heard_ms_ >= config_.init_ms()) {
    failure_ = "could not join the leader within initLimit";
    return;
  }
  if (phase_ == Phase::kDialling && turned_away_ms_ &&
      now_ms - *turned_away_ms_ > kDialTicks * config_.tick_ms) {
    failure_ = "the elected leader does not lead";
    return;
  }
  if (phase_ == Phase::kDialling && link_ == 0 && now_ms >= redial_at_ms_) {
    link_ = state_.next_link++;
    out.push_back(action::Dial{leader_, link_});
  }
}

bool Learner::expect(bool holds, const Packet& packet) {
  if (!holds && failure_.empty()) {
    failure_ = std::string("unexpected ") + packet_name(packet.type) + " from the leader";
  }
  return holds;
}

void Learner::on_packet(const Packet& packet, Actions& out) {
  switch (packet.type) {
    case PacketType::kLeaderInfo:
      return on_leader_info(packet, out);
    case PacketType::kDiff:
    case PacketType::kTrunc:
    case PacketType::kSnap:
      return on_sync_mode(packet, out);
    case PacketType::kProposal:
      return on_proposal(packet, out);
    case PacketType::kCommit:
      return on_commit(packet.zxid, out);
    case PacketType::kInform:
      return on_inform(packet, out);
    case PacketType::kCommitAndActivate:
    case PacketType::kInformAndActivate:
      return on_activate(packet, out);
    case PacketType::kNewLeader:
      return on_new_leader(packet, out);
    case PacketType::kUpToDate:
      if (expect(phase_ == Phase::kWaitingUpToDate, packet)) on_up_to_date(out);
      return;
    case PacketType::kPing:
      return on_ping(packet, out);
    case PacketType::kSync:
    case PacketType::kRevalidate:
    case PacketType::kRefused:
      out.push_back(action::Answered{packet});
      return;
    case PacketType::kFetchTxns:
    case PacketType::kDiskFull:
    case PacketType::kRequest:
    case PacketType::kAck:
    case PacketType::kFollowerInfo:
    case PacketType::kObserverInfo:
    case PacketType::kAckEpoch:
      expect(false, packet);
      return;
  }
}

void Learner::on_ping(const Packet& packet, Actions& out) {
  std::vector<MemberStatus> members = decode_status(packet.bytes(), heard_ms_);
  for (const MemberStatus& member : members) {
    state_.note_passwords(member.id, member.passwords);
    if (state_.membership.is_member(member.id)) state_.facts[member.id] = member.facts;
  }
  // A Java leader takes nothing before the ACK of NEWLEADER. For one of ours the answer says that
  // the synchronisation goes on.
  bool is_synced = phase_ == Phase::kWaitingUpToDate || phase_ == Phase::kServing;
  if (!is_synced && !leader_is_zabfs_) return;
  out.push_back(action::AnswerPing{packet.zxid, std::move(members)});
}

void Learner::tell_disk_full(Actions& out) {
  if (phase_ == Phase::kServing && leader_is_zabfs_) {
    send(Packet(PacketType::kDiskFull, committed_), out);
  }
}

void Learner::on_leader_info(const Packet& packet, Actions& out) {
  if (!expect(phase_ == Phase::kInfoSent, packet)) return;
  LeaderInfo info = decode_leader_info(packet.bytes());
  leader_is_zabfs_ = info.is_zabfs;
  if (state_.is_foreign(info.ensemble)) {
    failure_ = foreign_ensemble(leader_);
    return;
  }
  if (state_.settled_ensemble() == 0 && state_.ensemble != info.ensemble) {
    new_ensemble_ = info.ensemble;
  }
  if (info.secret != state_.secret) new_secret_ = info.secret;
  state_.note_passwords(leader_, info.secret.empty() ? Passwords::kPublic : Passwords::kSecret);
  epoch_ = packet.zxid.epoch();
  if (!expect(epoch_ <= kMaxEpoch, packet)) return;
  if (epoch_ > state_.accepted_epoch) {
    phase_ = Phase::kSavingAccepted;
    out.push_back(action::SaveAcceptedEpoch{epoch_, state_.votes});
  } else if (epoch_ == state_.accepted_epoch) {
    // Promised before: the answer must not count twice (Java: ACKEPOCH with -1).
    phase_ = Phase::kEpochAcked;
    std::string data;
    tree::jute::Writer(data).i32(-1);
    send(Packet(PacketType::kAckEpoch, claimed_last(), std::move(data)), out);
  } else {
    failure_ = "the leader's epoch " + std::to_string(epoch_) + " is behind the accepted " +
               std::to_string(state_.accepted_epoch);
  }
}

void Learner::promise(Actions& out) {
  state_.accepted_epoch = epoch_;
  phase_ = Phase::kEpochAcked;
  std::string data;
  tree::jute::Writer(data).i32(static_cast<int32_t>(state_.current_epoch));
  send(Packet(PacketType::kAckEpoch, claimed_last(), std::move(data)), out);
}

Zxid Learner::claimed_last() const {
  bool wants_snapshot = state_.diverged || state_.parted_in_epoch == epoch_;
  return wants_snapshot ? kNoCommonLog : state_.history.last();
}

void Learner::on_sync_mode(const Packet& packet, Actions& out) {
  if (!expect(phase_ == Phase::kEpochAcked, packet)) return;
  phase_ = Phase::kSyncing;
  begin_sync(packet, out);
}

void Learner::begin_sync(const Packet& packet, Actions& out) {
  if (packet.type == PacketType::kDiff) {
    mode_ = SyncMode::kDiff;
    committed_ = std::max(committed_, state_.history.last());
    note_sync("DIFF: the txns after " + zxid_name(state_.history.last()), out);
    out.push_back(action::BeginSync{mode_, state_.history.last(), link_});
  } else if (packet.type == PacketType::kTrunc) {
    mode_ = SyncMode::kTrunc;
    if (!expect(packet.zxid <= state_.history.last(), packet)) return;
    // To the start of an epoch: that is where the one before it ends.
    bool is_epoch_start = packet.zxid.counter() == 0;
    Zxid end = is_epoch_start ? state_.history.last_through(packet.zxid) : packet.zxid;
    if (end < committed_) {
      failure_ = lost_history(end, committed_);
      return;
    }
    if (packet.zxid < state_.history.base()) {
      state_.parted_in_epoch = epoch_;
      failure_ =
          "the snapshot that this node's log begins with holds txns that were never committed";
      return;
    }
    if (!expect(state_.history.contains(end), packet)) return;
    committed_ = std::max(committed_, end);
    note_sync("TRUNC: this node's log, which ends at " + zxid_name(state_.history.last()) +
                  ", is to end at " + zxid_name(end),
              out);
    state_.history.truncate(end);
    state_.membership.truncate(end);
    state_.durable = std::min(state_.durable, end);
    out.push_back(action::BeginSync{mode_, end, link_});
  } else {
    // It may be older than what this node has applied: the txns that follow lead back to there.
    mode_ = SyncMode::kSnap;
    committed_ = packet.zxid;
    note_sync("SNAP: a snapshot at " + zxid_name(packet.zxid), out);
    if (leader_is_zabfs_) return begin_log_at(packet.zxid, out);
    behind_snapshot_.emplace().history.reset(packet.zxid);
    out.push_back(action::ReceiveSnapshot{link_});
  }
}

void Learner::note_sync(const std::string& what, Actions& out) const {
  out.push_back(
      action::Notice{"the leader, server " + std::to_string(leader_.value) + ", sends " + what});
}

void Learner::begin_log_at(Zxid snapshot, Actions& out) {
  phase_ = Phase::kReceivingSnapshot;
  state_.history.reset(snapshot);
  state_.membership.truncate(Zxid{});
  state_.durable = snapshot;
  out.push_back(action::BeginSync{mode_, snapshot, link_});
}

// All txns that a Java leader's snapshot may have parts of have been applied to it by now: it is
// exact at the last one that was committed. So the log begins there.
void Learner::complete_snapshot(Actions& out) {
  std::deque<LogTxn> proposals = std::move(behind_snapshot_->proposals);
  behind_snapshot_.reset();
  begin_log_at(committed_, out);
  for (const LogTxn& txn : proposals) {
    if (!observes_) unacknowledged_.push_back(txn.zxid);
    append(txn.zxid, txn.txn, out);
  }
}

void Learner::on_proposal(const Packet& packet, Actions& out) {
  bool in_sync = phase_ == Phase::kSyncing || phase_ == Phase::kReceivingSnapshot;
  bool after = phase_ == Phase::kSavingEnsemble || phase_ == Phase::kSavingEpoch ||
               phase_ == Phase::kWaitingUpToDate || phase_ == Phase::kServing;
  if (!expect(in_sync || after, packet)) return;
  if (is_in_snapshot(packet.zxid)) return;
  if (!packet.data) {
    failure_ = "a proposal without a txn";
    return;
  }
  if (behind_snapshot_) return on_proposal_behind_snapshot(packet);
  if (!state_.history.follows(packet.zxid)) return on_gap(in_sync);
  if (packet.type == PacketType::kProposal && !observes_) unacknowledged_.push_back(packet.zxid);
  append(packet.zxid, packet.data, out);
}

// A Java leader may not notice that its kept log lacks txns (FORMATS.md 7.4). It would send the
// same DIFF again and again.
void Learner::on_gap(bool in_sync) {
  failure_ = "a gap in the leader's proposals";
  if (!in_sync || leader_is_zabfs_) return;
  state_.parted_in_epoch = epoch_;
  failure_ += ": its log lacks txns, so it is asked for a whole snapshot";
}

void Learner::on_proposal_behind_snapshot(const Packet& packet) {
  if (!behind_snapshot_->history.follows(packet.zxid)) {
    failure_ = "a gap in the proposals behind the leader's snapshot";
    return;
  }
  behind_snapshot_->history.append(packet.zxid);
  behind_snapshot_->proposals.push_back({packet.zxid, packet.data});
}

// Java begins to forward before it takes the snapshot.
bool Learner::is_in_snapshot(Zxid zxid) const {
  return behind_snapshot_ && zxid <= behind_snapshot_->history.base();
}

void Learner::append(Zxid zxid, const Payload& txn, Actions& out) {
  state_.history.append(zxid);
  state_.membership.appended(zxid, *txn);
  uncommitted_.push_back(zxid);
  out.push_back(action::Append{zxid, txn});
}

void Learner::on_commit(Zxid zxid, Actions& out) {
  if (is_in_snapshot(zxid)) return;
  if (behind_snapshot_) return on_commit_behind_snapshot(zxid, out);
  if (uncommitted_.empty() || uncommitted_.front() != zxid) {
    failure_ = "COMMIT out of order";
    return;
  }
  uncommitted_.pop_front();
  committed_ = zxid;
  if (phase_ != Phase::kServing) return;
  state_.membership.committed(committed_);
  out.push_back(action::Commit{committed_});
}

void Learner::on_commit_behind_snapshot(Zxid zxid, Actions& out) {
  std::deque<LogTxn>& proposals = behind_snapshot_->proposals;
  if (proposals.empty() || proposals.front().zxid != zxid) {
    failure_ = "a COMMIT that is out of order";
    return;
  }
  out.push_back(action::ApplyToSnapshot{zxid, std::move(proposals.front().txn)});
  proposals.pop_front();
  committed_ = zxid;
}

void Learner::on_inform(const Packet& packet, Actions& out) {
  on_proposal(packet, out);
  if (failure_.empty()) on_commit(packet.zxid, out);
}

// The configuration comes into force as every commit of one does.
void Learner::on_activate(const Packet& packet, Actions& out) {
  tree::jute::Reader in(packet.bytes());
  ServerId next_leader{in.i64()};
  bool has_txn = packet.type == PacketType::kCommitAndActivate || !in.at_end();
  if (!expect(in.ok() && has_txn, packet)) return;
  if (packet.type == PacketType::kCommitAndActivate) {
    on_commit(packet.zxid, out);
  } else {
    on_inform(Packet(PacketType::kInform, packet.zxid, std::string(in.rest())), out);
  }
  // A Java leader that the configuration leaves out goes when enough of its learners have.
  if (failure_.empty() && next_leader != leader_) {
    failure_ = "the leader hands over to server " + std::to_string(next_leader.value);
  }
}

void Learner::on_new_leader(const Packet& packet, Actions& out) {
  if (phase_ == Phase::kInfoSent) {
    failure_ = too_old(leader_, "it asks for no promise of its epoch");
    return;
  }
  if (!leader_is_zabfs_ && packet.bytes().empty()) {
    failure_ = too_old(leader_, "its NEWLEADER has no configuration");
    return;
  }
  bool in_sync = phase_ == Phase::kSyncing || phase_ == Phase::kReceivingSnapshot;
  if (!expect(in_sync && packet.zxid.epoch() == epoch_, packet)) return;
  if (committed_ < known_committed_) {
    failure_ = lost_history(committed_, known_committed_);
    return;
  }
  if (behind_snapshot_) complete_snapshot(out);
  state_.membership.adopt(packet.bytes());
  // The group in the log ends only when the snapshot it refers to is on disk.
  new_leader_waits_ = phase_ == Phase::kReceivingSnapshot;
  if (!new_leader_waits_) take_over_ensemble(out);
}

void Learner::take_over_ensemble(Actions& out) {
  if (!new_ensemble_ && new_secret_.empty()) return end_sync(out);
  phase_ = Phase::kSavingEnsemble;
  out.push_back(
      action::SaveAcceptedEpoch{state_.accepted_epoch, state_.votes, new_ensemble_, new_secret_});
}

void Learner::end_sync(Actions& out) {
  // What the sync brought with its COMMIT needs no ACK of its own; NEWLEADER's stands for it.
  std::erase_if(unacknowledged_, [this](Zxid zxid) { return zxid <= committed_; });
  phase_ = Phase::kSavingEpoch;
  out.push_back(action::EndSync{epoch_});
}

void Learner::on_up_to_date(Actions& out) {
  phase_ = Phase::kServing;
  state_.membership.committed(committed_);
  send(Packet(PacketType::kAck, Zxid::make(epoch_, 0)), out);
  out.push_back(action::Commit{committed_});
  out.push_back(action::Serve{epoch_, leader_is_zabfs_, mode_});
}

// ACKs what is durable; only ever called for an event that said so.
void Learner::acknowledge(Actions& out) {
  if (phase_ != Phase::kWaitingUpToDate && phase_ != Phase::kServing) return;
  Zxid last;
  while (!unacknowledged_.empty() && unacknowledged_.front() <= state_.durable) {
    last = unacknowledged_.front();
    unacknowledged_.pop_front();
    // A Java leader wants one ACK a proposal; for ours the last stands for all.
    if (!leader_is_zabfs_) send(Packet(PacketType::kAck, last), out);
  }
  if (leader_is_zabfs_ && last != Zxid{}) send(Packet(PacketType::kAck, last), out);
}

}  // namespace zabfs::consensus
