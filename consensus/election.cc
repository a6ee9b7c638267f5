#include "consensus/election.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace zabfs::consensus {
namespace {

constexpr int64_t kFinalizeWaitMs = 200;  // Java: finalizeWait
constexpr int64_t kMinResendMs = 200;
constexpr int64_t kMaxResendMs = 1'000;  // Java: 60 s, which a healed network then waits for
constexpr int64_t kNobody = INT64_MIN;   // an observer's vote
constexpr Zxid kNoVote{-1};

bool beats(const Vote& a, const Vote& b) {
  return std::tuple(a.peer_epoch, a.zxid, a.leader) > std::tuple(b.peer_epoch, b.zxid, b.leader);
}

}  // namespace

void Election::start(int64_t now_ms, const ZabState& state, Actions& out) {
  ++round_;
  received_.clear();
  settled_.clear();
  decide_at_ms_.reset();
  votes_ = state.votes;
  empty_ = state.empty;
  nonce_ = state.nonce;
  if (votes_) {
    own_ = Vote{config_.me, state.durable, state.current_epoch};
  } else if (config_.ensemble.is_voter(config_.me)) {
    // Java ignores zxid -1 as a vote; ours tell by the epoch whether anything was ever here.
    own_ = Vote{config_.me, kNoVote, empty_ ? 0 : 1};
  } else {
    own_ = Vote{ServerId{kNobody}, Zxid{kNobody}, kNobody};
  }
  vote_ = own_;
  note_own_vote();
  resend_ms_ = kMinResendMs;
  resend_at_ms_ = now_ms + resend_ms_;
  broadcast(out);
}

std::optional<ServerId> Election::tick(int64_t now_ms, Actions& out) {
  if (supported(received_, vote_, true)) {
    if (!decide_at_ms_) decide_at_ms_ = now_ms + kFinalizeWaitMs;
    if (now_ms >= *decide_at_ms_ || unanimous()) return vote_.leader;
  } else {
    decide_at_ms_.reset();
  }
  if (now_ms >= resend_at_ms_) {
    resend_ms_ = std::min(resend_ms_ * 2, kMaxResendMs);
    resend_at_ms_ = now_ms + resend_ms_;
    broadcast(out);
  }
  return std::nullopt;
}

int64_t Election::deadline_ms() const {
  return decide_at_ms_ ? std::min(*decide_at_ms_, resend_at_ms_) : resend_at_ms_;
}

std::optional<ServerId> Election::receive(int64_t now_ms, ServerId from, const Notification& n,
                                          Actions& out) {
  if (!config_.ensemble.is_voter(from)) {
    send(from, PeerState::kLooking, round_, out);
    return std::nullopt;
  }
  switch (n.state) {
    case PeerState::kLooking:
      return receive_looking(now_ms, from, n, out);
    case PeerState::kFollowing:
    case PeerState::kLeading:
      return receive_settled(from, n);
    case PeerState::kObserving:
      return std::nullopt;
  }
  return std::nullopt;
}

std::optional<ServerId> Election::receive_looking(int64_t now_ms, ServerId from,
                                                  const Notification& n, Actions& out) {
  if (!votes_ && n.round == nonce_) {  // an answer to this node's question
    bool is_empty = n.vote.peer_epoch == 0 && (n.vote.zxid == kNoVote || n.vote.zxid == Zxid{});
    if (is_empty) {
      seen_empty_.insert(from);
    } else {
      seen_empty_.erase(from);
    }
    return std::nullopt;
  }
  if (n.vote.zxid == kNoVote) {  // a node without a vote (a wiped disk) asks
    send(from, PeerState::kLooking, n.round, out);
    return std::nullopt;
  }
  if (!config_.ensemble.is_voter(n.vote.leader)) return std::nullopt;
  if (n.round < round_) {
    send(from, PeerState::kLooking, round_, out);
    return std::nullopt;
  }
  bool changed = false;
  if (n.round > round_) {
    round_ = n.round;
    received_.clear();
    decide_at_ms_.reset();
    vote_ = beats(n.vote, own_) ? n.vote : own_;
    changed = true;
  } else if (beats(n.vote, vote_)) {
    vote_ = n.vote;
    decide_at_ms_.reset();
    changed = true;
  }
  received_[from] = Received{n.vote, n.round, n.state};
  note_own_vote();
  if (changed) broadcast(out);
  return tick(now_ms, out);
}

std::optional<ServerId> Election::receive_settled(ServerId from, const Notification& n) {
  Received received{n.vote, n.round, n.state};
  if (n.round == round_) received_[from] = received;
  settled_[from] = received;
  bool same_round = n.round == round_ && supported(received_, n.vote, false);
  if (!same_round && !supported(settled_, n.vote, false)) return std::nullopt;
  if (!leader_confirms(n.vote.leader, n.round)) return std::nullopt;
  round_ = n.round;
  vote_ = n.vote;
  return n.vote.leader;
}

void Election::note_own_vote() {
  if (votes_) received_[config_.me] = Received{vote_, round_, PeerState::kLooking};
}

bool Election::everyone_is_empty() const {
  if (votes_ || !empty_ || !config_.ensemble.is_voter(config_.me)) return false;
  return std::all_of(config_.ensemble.members().begin(), config_.ensemble.members().end(),
                     [this](const auto& entry) {
                       return entry.second.observer || entry.first == config_.me ||
                              seen_empty_.contains(entry.first);
                     });
}

void Election::ask(Actions& out) {
  own_.peer_epoch = 1;  // by now there is something here
  broadcast(out);
}

// A leader is only believed in if it says itself that it leads.
bool Election::leader_confirms(ServerId leader, int64_t round) const {
  if (leader == config_.me) return round == round_;
  auto place = settled_.find(leader);
  return place != settled_.end() && place->second.state == PeerState::kLeading;
}

bool Election::supported(const std::map<ServerId, Received>& votes, const Vote& vote,
                         bool looking) const {
  // Others may still follow what this node was before it lost its vote.
  if (!votes_ && vote.leader == config_.me) return false;
  std::set<ServerId> supporters;
  for (const auto& [id, received] : votes) {
    bool equal = looking ? received.vote == vote
                         : received.vote.leader == vote.leader &&
                               received.vote.peer_epoch == vote.peer_epoch;
    if (equal) supporters.insert(id);
  }
  return config_.ensemble.is_quorum(supporters);
}

// Every voter agrees, so no better vote can come.
bool Election::unanimous() const {
  return std::all_of(config_.ensemble.members().begin(), config_.ensemble.members().end(),
                     [this](const auto& entry) {
                       if (entry.second.observer) return true;
                       auto place = received_.find(entry.first);
                       return place != received_.end() && place->second.vote == vote_;
                     });
}

void Election::broadcast(Actions& out) const {
  for (const auto& [id, member] : config_.ensemble.members()) {
    if (id == config_.me || member.observer) continue;
    bool asks = !votes_ && config_.ensemble.is_voter(config_.me);
    send(id, PeerState::kLooking, asks ? nonce_ : round_, out);
  }
}

void Election::answer(ServerId to, PeerState state, const Notification& n, Actions& out) const {
  if (n.state == PeerState::kLooking || !config_.ensemble.is_voter(to)) {
    send(to, state, round_, out);
  }
}

void Election::send(ServerId to, PeerState state, int64_t round, Actions& out) const {
  Notification notification;
  notification.state = state;
  notification.vote = state == PeerState::kLooking && !votes_ ? own_ : vote_;
  notification.round = round;
  notification.config = config_.ensemble.text();
  out.push_back(action::SendVote{to, std::move(notification)});
}

}  // namespace zabfs::consensus
