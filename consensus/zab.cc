#include "consensus/zab.h"

#include <algorithm>
#include <utility>

namespace zabfs::consensus {

namespace {

constexpr int kFreeJoins = 2;  // a leader may not be one yet when it is first dialled
constexpr int64_t kJoinWaitMs = 100;
constexpr int kMaxJoinDoublings = 16;
constexpr int64_t kForeignNoticeTicks = 5;
constexpr int64_t kLatelyMs = 5'000;  // who looks says so every second

}  // namespace

const char* role_name(Role role) {
  switch (role) {
    case Role::kSettling:
    case Role::kLooking:
      return "looking";
    case Role::kFollowing:
      return "follower";
    case Role::kObserving:
      return "observer";
    case Role::kLeading:
      return "leader";
  }
  return "?";
}

Zab::Zab(ZabConfig config, ZabState state)
    : config_(std::move(config)), state_(std::move(state)), election_(config_, state_.membership) {
  committed_ = state_.committed;
}

void Zab::start(int64_t now_ms, Actions& out) {
  // By then no leader still collects promises with one of this node's former life among them:
  // initLimit after its start it has a quorum of them, or is over (Leader::took_too_long).
  vote_not_before_ms_ = now_ms + config_.init_ms() + config_.tick_ms;
  look(now_ms, out);
}

void Zab::look(int64_t now_ms, Actions& out) {
  role_ = Role::kLooking;
  leader_id_ = ServerId{};
  out.push_back(action::RoleChanged{role_, leader_id_, ""});
  election_.start(now_ms, state_, out);
  join(election_.tick(now_ms, out), now_ms, out);
}

// Whom the election gave, if it did.
void Zab::join(std::optional<ServerId> leader, int64_t now_ms, Actions& out) {
  bool waits = leader && *leader != config_.me && now_ms < join_not_before_ms_;
  if (leader && !waits) return enter(*leader, now_ms, out);
  deadline_ms_ = waits ? join_not_before_ms_ : election_.deadline_ms();
  if (election_.everyone_is_empty()) gain_vote(out);
}

// A leader that could not be joined may be the same the next time.
void Zab::wait_to_join(int64_t now_ms, const std::string& failure) {
  if (++failed_joins_ <= kFreeJoins) return;
  join_trouble_ = failure;
  int doublings = std::min(failed_joins_ - kFreeJoins - 1, kMaxJoinDoublings);
  join_not_before_ms_ = now_ms + std::min(kJoinWaitMs << doublings, int64_t{config_.tick_ms});
}

void Zab::gain_vote(Actions& out) {
  if (!state_.membership.is_understood()) return;  // whoever gave it may be none to ask
  if (std::exchange(gaining_vote_, true)) return;
  out.push_back(
      action::SaveAcceptedEpoch{std::max(state_.accepted_epoch, state_.current_epoch), true});
}

// A voter without a vote observes its leader until this node's state is as good as any other's:
// synchronised, and in an epoch that a majority of the others reports (ZAB.md section 3).
//
// Why it may vote then, whatever it had promised: say it had promised an epoch E, to a leader that
// it has forgotten. That leader gave up, or had a quorum's promises before `vote_not_before_ms_`.
// The majority that agrees now has one of those who promised E in it, other than this node, and is
// asked only after that: who has promised E follows in no earlier epoch, so the one that they agree
// on, which this node saves as promised, is E or a later one. It does not matter for how long that
// leader still synchronises: where another epoch than E is agreed on, a majority without this node
// has promised more than E, and was synchronised from whoever acknowledged E before.
void Zab::seek_vote(int64_t now_ms, const Event& event, Actions& out) {
  if (const auto* vote = std::get_if<event::VoteReceived>(&event)) {
    const Notification& n = vote->notification;
    bool settled = n.state == PeerState::kFollowing || n.state == PeerState::kLeading;
    if (settled && n.vote.leader == leader_id_ && n.vote.peer_epoch == state_.current_epoch &&
        is_serving()) {
      agreeing_.insert(vote->from);
    } else {
      agreeing_.erase(vote->from);
    }
  }
  if (!is_serving()) return;
  // Where it is no member yet, nobody ever counted on a promise of its.
  bool is_new = !state_.membership.is_member(config_.me);
  bool is_whole = asked_ms_ >= vote_not_before_ms_ && state_.membership.is_quorum(agreeing_);
  if (is_new || is_whole) gain_vote(out);
  state_.empty = false;
  if (now_ms >= next_question_ms_) {
    agreeing_.clear();
    asked_ms_ = now_ms;
    next_question_ms_ = now_ms + config_.tick_ms;
    election_.ask(out);
  }
  deadline_ms_ = std::min(deadline_ms_, next_question_ms_);
}

void Zab::enter(ServerId leader, int64_t now_ms, Actions& out) {
  leader_id_ = leader;
  if (leader == config_.me) {
    role_ = Role::kLeading;
    out.push_back(action::RoleChanged{role_, leader_id_, ""});
    leader_.emplace(config_, state_, committed_, now_ms, out);
    deadline_ms_ = leader_->deadline_ms();
  } else {
    bool follows = may_vote(config_, state_);
    role_ = follows ? Role::kFollowing : Role::kObserving;
    agreeing_.clear();
    out.push_back(action::RoleChanged{role_, leader_id_, ""});
    learner_.emplace(config_, state_, committed_, leader, !follows, now_ms, out);
    deadline_ms_ = learner_->deadline_ms();
  }
}

void Zab::leave(const std::string& why, Actions& out) {
  committed_ = committed();
  leader_.reset();
  learner_.reset();
  role_ = Role::kSettling;
  leader_id_ = ServerId{};
  deadline_ms_ = INT64_MAX;
  out.push_back(action::RoleChanged{role_, leader_id_, why});
  out.push_back(action::Settle{});
}

void Zab::step(int64_t now_ms, const Event& event, Actions& out) {
  if (const auto* synced = std::get_if<event::Synced>(&event)) {
    state_.durable = std::max(state_.durable, synced->zxid);
  } else if (const auto* accepted = std::get_if<event::AcceptedEpochSaved>(&event)) {
    state_.accepted_epoch = std::max(state_.accepted_epoch, accepted->epoch);
    if (accepted->ensemble) state_.ensemble = *accepted->ensemble;
    if (!accepted->secret.empty()) state_.secret = accepted->secret;
    if (accepted->votes && !state_.votes && !state_.diverged) {
      state_.votes = true;
      gaining_vote_ = false;
      if (role_ == Role::kLooking) look(now_ms, out);
      return keep_role(out);
    }
  } else if (const auto* purged = std::get_if<event::Purged>(&event)) {
    state_.history.purge(purged->base);
    return;
  } else if (const auto* shorter = std::get_if<event::SnapshotIsShorter>(&event)) {
    state_.diff_from = shorter->before;
    return;
  } else if (const auto* settled = std::get_if<event::Settled>(&event)) {
    state_.history = settled->history;
    state_.durable = state_.history.last();
    state_.ensemble_holds = state_.durable != Zxid{};
    state_.current_epoch = settled->current_epoch;
    state_.membership.truncate(Zxid{});
    for (const auto& [zxid, txn] : settled->reconfigurations) {
      state_.membership.appended(zxid, *txn);
    }
    state_.membership.committed(committed_);
    out.push_back(action::MembershipChanged{});
    return look(now_ms, out);
  } else if (const auto* diverged = std::get_if<event::Diverged>(&event)) {
    state_.diverged = true;
    state_.votes = false;
    if (role_ != Role::kSettling) leave(diverged->why, out);
    return;
  } else if (const auto* stalled = std::get_if<event::StorageStalled>(&event)) {
    gaining_vote_ = false;  // it may have been what could not be written
    if (leader_) leader_->tell_disk_full(out);
    if (learner_) learner_->tell_disk_full(out);
    if (role_ != Role::kSettling) leave(stalled->why, out);
    return;
  }
  // Whoever wants to be led here learns that this node doesn't.
  const auto* packet = std::get_if<event::PacketReceived>(&event);
  if (packet != nullptr && !leader_ && packet->link != link_to_leader()) {
    out.push_back(action::Close{packet->link, "this node does not lead"});
    return;
  }
  uint64_t before = state_.membership.changes();
  step_role(now_ms, event, out);
  if (state_.membership.changes() == before) return;
  out.push_back(action::MembershipChanged{});
  keep_role(out);
}

// A configuration may leave this node without its role, or give it another.
void Zab::keep_role(Actions& out) {
  bool follows = may_vote(config_, state_);
  const Membership& membership = state_.membership;
  bool may_lead = membership.is_voter(config_.me) && !membership.is_weightless(config_.me);
  if (role_ == Role::kLeading && is_serving() && !may_lead) {
    leave("this node has no vote, or one without weight, from now on", out);
  } else if (role_ == Role::kFollowing && !follows) {
    leave("this node observes from now on", out);
  } else if (role_ == Role::kObserving && follows) {
    leave("this node has a vote now", out);
  }
}

// A line about the members that this one waits for (waiting.h).
void Zab::note_word(int64_t now_ms, const event::VoteReceived& vote) {
  if (!state_.membership.is_voter(vote.from)) return;
  const Notification& n = vote.notification;
  Word word{now_ms, false, false};
  word.is_empty = n.state == PeerState::kLooking && n.vote.peer_epoch == 0 &&
                  (n.vote.zxid == Zxid{} || n.vote.zxid == Zxid{-1});
  const Ensemble& own = state_.membership.in_force();
  if (version_in(n.config) == own.version()) {
    std::optional<Ensemble> other = parse_ensemble(n.config);
    word.has_other_voters = other && (other->voter_names() != own.voter_names() ||
                                      other->hierarchy().text() != own.hierarchy().text());
  }
  words_[vote.from] = word;
}

Waiting Zab::waiting(int64_t now_ms) const {
  Waiting waiting;
  waiting.me = config_.me;
  waiting.serving = is_serving();
  waiting.has_vote = has_vote();
  waiting.is_empty = state_.empty;
  waiting.begins_by_itself = config_.begins_by_itself;
  waiting.membership = state_.membership;
  waiting.configured = config_.ensemble;
  for (const auto& [id, word] : words_) {
    if (word.is_empty) waiting.seen_empty.insert(id);
    if (now_ms - word.at_ms > kLatelyMs) continue;
    waiting.heard.insert(id);
    if (word.has_other_voters) waiting.other_voters.insert(id);
  }
  return waiting;
}

void Zab::step_role(int64_t now_ms, const Event& event, Actions& out) {
  const auto* vote = std::get_if<event::VoteReceived>(&event);
  if (vote != nullptr && state_.is_foreign(vote->notification.ensemble)) {
    return note_foreigner(now_ms, *vote, out);
  }
  if (role_ == Role::kLooking) {
    std::optional<ServerId> leader;
    if (vote != nullptr) {
      note_word(now_ms, *vote);
      bool counts = may_learn(config_, state_.membership, vote->from);
      bool is_newer = counts && state_.membership.adopt(vote->notification.config);
      bool is_news = counts && state_.membership.hear_of(vote->notification.proposed);
      if (is_news || is_newer) {
        out.push_back(action::MembershipChanged{});
        return look(now_ms, out);
      }
      leader = election_.receive(now_ms, vote->from, vote->notification, out);
    } else if (std::holds_alternative<event::Tick>(event)) {
      leader = election_.tick(now_ms, out);
    }
    return join(leader, now_ms, out);
  }
  if (role_ == Role::kSettling) return;
  if (vote != nullptr) {
    if (role_ != Role::kObserving || knows_better(*vote)) answer(now_ms, *vote, out);
    if (lacks_vote()) seek_vote(now_ms, event, out);
    return;
  }
  bool was_serving = is_serving();
  std::string failure;
  if (leader_) {
    leader_->step(now_ms, event, out);
    failure = leader_->failure();
    deadline_ms_ = leader_->deadline_ms();
  } else {
    learner_->step(now_ms, event, out);
    failure = learner_->failure();
    deadline_ms_ = learner_->deadline_ms();
  }
  if (!was_serving && is_serving()) {
    state_.ensemble_holds = true;
    election_.set_established(state_.current_epoch, state_.ensemble);
    failed_joins_ = 0;
    join_trouble_.clear();
    if (learner_ && learner_->took_snapshot()) state_.diverged = false;
  }
  if (!failure.empty()) {
    if (learner_ && !is_serving()) wait_to_join(now_ms, failure);
    return leave(failure, out);
  }
  if (lacks_vote()) seek_vote(now_ms, event, out);
}

// Its vote is about another history than this. It is told so by an answer that says which.
void Zab::note_foreigner(int64_t now_ms, const event::VoteReceived& vote, Actions& out) {
  if (!is_serving()) join_trouble_ = foreign_ensemble(vote.from);
  if (now_ms < next_foreign_notice_ms_) return;
  next_foreign_notice_ms_ = now_ms + kForeignNoticeTicks * config_.tick_ms;
  out.push_back(action::Notice{foreign_ensemble(vote.from)});
  if (role_ != Role::kLooking && role_ != Role::kSettling) answer(now_ms, vote, out);
}

void Zab::answer(int64_t now_ms, const event::VoteReceived& vote, Actions& out) {
  PeerState state = role_ == Role::kLeading     ? PeerState::kLeading
                    : role_ == Role::kFollowing ? PeerState::kFollowing
                                                : PeerState::kObserving;
  election_.answer(now_ms, vote.from, state, vote.notification, out);
}

// Observers have no say in elections; but who looks for a leader among the voters of an old
// configuration may find nothing but them.
bool Zab::knows_better(const event::VoteReceived& vote) const {
  return vote.notification.state == PeerState::kLooking &&
         version_in(vote.notification.config) < state_.membership.in_force().version();
}

bool Zab::is_serving() const {
  return (leader_ && leader_->is_established()) || (learner_ && learner_->is_serving());
}

Zxid Zab::committed() const {
  // What a learner hears before UPTODATE is a promise of the leader's, not yet a commit.
  if (leader_ && leader_->is_established()) return leader_->committed();
  if (learner_ && learner_->is_serving()) return learner_->committed();
  return committed_;
}

std::vector<MemberStatus> Zab::member_status() const {
  return leader_ ? leader_->member_status() : std::vector<MemberStatus>();
}

std::set<ServerId> Zab::synced_followers() const {
  return leader_ ? leader_->synced_followers() : std::set<ServerId>();
}

std::set<ServerId> Zab::answering_followers(int64_t now_ms) const {
  return leader_ ? leader_->answering_followers(now_ms) : std::set<ServerId>();
}

}  // namespace zabfs::consensus
