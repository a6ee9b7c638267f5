#include "consensus/election.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace zabfs::consensus {
namespace {

constexpr int64_t kFinalizeWaitMs = 200;  // Java: finalizeWait
constexpr int64_t kMinResendMs = 200;
constexpr int64_t kMaxResendMs = 1'000;  // Java: 60 s, which a healed network then waits for
// To one node, within a tick. Two that each have something to say to what the other says, for good
// (each in no configuration of the other's, or of rounds that only one of them takes over), stop
// after these; who still looks then says so again by itself.
constexpr int kRepliesPerTick = 6;
constexpr size_t kMaxRepliedTo = 1'000;
constexpr int64_t kNobody = INT64_MIN;  // an observer's vote
constexpr Zxid kNoVote{-1};

bool is_of_empty_node(const Vote& vote) {
  return vote.peer_epoch == 0 && (vote.zxid == kNoVote || vote.zxid == Zxid{});
}

constexpr int kHeardBeforeQuestion = 2;  // of ours, one answers in that time
constexpr int64_t kQuestionRounds = int64_t{1} << 40;
constexpr int64_t kMaxJavaRound = kFirstNonce / 2;

}  // namespace

// Who has no weight never leads, as in Java. Of equals, one that every voter knows of is better
// than one of a configuration that is proposed.
bool Election::beats(const Vote& a, const Vote& b) const {
  auto rank = [this](const Vote& vote) {
    return std::tuple(!membership_.is_weightless(vote.leader), vote.peer_epoch, vote.zxid,
                      membership_.in_force().is_voter(vote.leader), vote.leader);
  };
  return rank(a) > rank(b);
}

void Election::start(int64_t now_ms, const ZabState& state, Actions& out) {
  ++round_;
  received_.clear();
  settled_.clear();
  decide_at_ms_.reset();
  votes_ = may_vote(config_, state) && membership_.is_voter(config_.me);
  empty_ = state.empty;
  ensemble_ = state.settled_ensemble();
  nonce_ = state.nonce;
  if (votes_) {
    own_ = Vote{config_.me, state.durable, state.current_epoch};
  } else if (membership_.is_voter(config_.me)) {
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
  if (!membership_.is_voter(from)) {
    // It may lead all the same, as a voter of a configuration that this node does not know of yet.
    if (n.state == PeerState::kLeading) settled_[from] = Received{n.vote, n.round, n.state};
    reply(now_ms, from, PeerState::kLooking, round_, out);
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
  if (n.round == nonce_) {            // an answer to this node's question
    if (votes_) return std::nullopt;  // it comes late; what it gives is no round
    note_answer(from, n.vote);
    return std::nullopt;
  }
  if (n.vote.zxid == kNoVote) {  // a node without a vote (a wiped disk) asks
    reply(now_ms, from, PeerState::kLooking, n.round, out);
    return std::nullopt;
  }
  if (n.vote.leader.value == kNobody) return std::nullopt;  // it has no vote, by its own word
  if (n.round >= kFirstNonce) return std::nullopt;  // an answer to a former start of this node's
  if (empty_ && !votes_ && config_.begins_by_itself) {
    auto asked = java_questions_.find(from);
    if (asked != java_questions_.end() && asked->second.round == n.round && n.round > 0) {
      note_answer(from, n.vote);
    } else if (is_of_empty_node(n.vote)) {
      question_java(from, n.round, out);
    }
  }
  if (n.round < round_) {
    reply(now_ms, from, PeerState::kLooking, round_, out);
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

// What a node that is looking said of itself after this node's start. Its vote is for itself, or
// for a better one than it is.
void Election::note_answer(ServerId from, const Vote& vote) {
  if (is_of_empty_node(vote)) {
    seen_empty_.insert(from);
  } else {
    seen_empty_.erase(from);
  }
}

// Says a vote for this node, in a round that nobody can have named before this node's start. Java
// takes that round over, and says so (ZAB.md section 3.7).
void Election::question_java(ServerId from, int64_t round, Actions& out) {
  JavaQuestion& question = java_questions_[from];
  if (seen_empty_.contains(from) || round > kMaxJavaRound) return;
  if (++question.heard < kHeardBeforeQuestion) return;
  question.heard = 0;
  if (question.round <= round) question.round = round + 1 + nonce_ % kQuestionRounds;
  Notification notification;
  notification.vote = Vote{config_.me, Zxid{}, 0};
  notification.round = question.round;
  notification.config = membership_.in_force().text();
  out.push_back(action::SendVote{from, std::move(notification)});
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
  if (votes_ || !empty_ || !membership_.is_voter(config_.me)) return false;
  if (!config_.begins_by_itself) return false;
  std::set<ServerId> voters = membership_.voters();
  return std::all_of(voters.begin(), voters.end(),
                     [this](ServerId id) { return id == config_.me || seen_empty_.contains(id); });
}

void Election::ask(Actions& out) {
  own_.peer_epoch = 1;  // by now there is something here
  broadcast(out);
}

// A leader is only believed in if it says itself that it leads.
bool Election::leader_confirms(ServerId leader, int64_t round) const {
  if (leader == config_.me) return round == round_;
  auto found = settled_.find(leader);
  return found != settled_.end() && found->second.state == PeerState::kLeading;
}

bool Election::supported(const std::map<ServerId, Received>& votes, const Vote& vote,
                         bool looking) const {
  if (vote.leader.value == kNobody) return false;
  if (looking && membership_.is_weightless(vote.leader)) return false;
  // Others may still follow what this node was before it lost its vote.
  if (!votes_ && vote.leader == config_.me) return false;
  std::set<ServerId> supporters;
  for (const auto& [id, received] : votes) {
    bool equal = looking ? received.vote == vote
                         : received.vote.leader == vote.leader &&
                               received.vote.peer_epoch == vote.peer_epoch;
    if (equal) supporters.insert(id);
  }
  // Those who have settled may have done so without a configuration that is only proposed here.
  return looking ? membership_.is_quorum(supporters) : membership_.in_force().is_quorum(supporters);
}

// Every voter agrees, those of a configuration that was only heard of, too: no better vote can
// come.
bool Election::unanimous() const {
  std::map<ServerId, Member> all = membership_.addresses();
  return std::all_of(all.begin(), all.end(), [this](const auto& entry) {
    if (entry.second.observer && !membership_.is_voter(entry.first)) return true;
    auto found = received_.find(entry.first);
    return found != received_.end() && found->second.vote == vote_;
  });
}

void Election::broadcast(Actions& out) const {
  for (ServerId id : membership_.voters()) {
    if (id == config_.me) continue;
    bool asks = !votes_ && membership_.is_voter(config_.me);
    send(id, PeerState::kLooking, asks ? nonce_ : round_, out);
  }
}

void Election::answer(int64_t now_ms, ServerId to, PeerState state, const Notification& n,
                      Actions& out) {
  if (n.state == PeerState::kLooking || !membership_.is_voter(to)) {
    reply(now_ms, to, state, round_, out);
  }
}

void Election::reply(int64_t now_ms, ServerId to, PeerState state, int64_t round, Actions& out) {
  if (replies_.size() > kMaxRepliedTo) replies_.clear();
  Replies& replies = replies_.try_emplace(to, Replies{now_ms, 0}).first->second;
  if (now_ms - replies.since_ms >= config_.tick_ms) replies = Replies{now_ms, 0};
  // Java answers each notification from what is no voter to it.
  if (replies.count >= (state == PeerState::kObserving ? 1 : kRepliesPerTick)) return;
  ++replies.count;
  send(to, state, round, out);
}

void Election::send(ServerId to, PeerState state, int64_t round, Actions& out) const {
  Notification notification;
  notification.state = state;
  notification.vote = state == PeerState::kLooking && !votes_ ? own_ : vote_;
  notification.round = round;
  notification.ensemble = ensemble_;
  notification.config = membership_.in_force().text();
  const Ensemble* proposed = membership_.known_as_proposed();
  if (proposed != nullptr) notification.proposed = proposed->text();
  out.push_back(action::SendVote{to, std::move(notification)});
}

}  // namespace zabfs::consensus
