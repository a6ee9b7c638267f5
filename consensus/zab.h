// The ZAB core: one event in, actions out. Election, leader and learner are its parts.
//
// Pure: no clock, thread, randomness or I/O. Time is an argument (monotonic milliseconds). The
// driver (replica.h) carries the actions out in order and reports what came of them as events.
// Rules: ZAB.md section 1; Java: FastLeaderElection, Leader, LearnerHandler, Learner.
//
// Two rules that the rest leans on:
//   - an ACK leaves only in answer to an event that says "synced";
//   - leaving a role ends in kSettling: the driver waits for log writes under way, drops what was
//     not written, and says `Settled`. So what is voted for is durable, and no completion outlives
//     the role it was started for.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "consensus/election.h"
#include "consensus/leader.h"
#include "consensus/learner.h"
#include "consensus/protocol.h"
#include "consensus/waiting.h"

namespace zabfs::consensus {

class Zab {
 public:
  Zab(ZabConfig config, ZabState state);

  // Starts looking for a leader.
  void start(int64_t now_ms, Actions& out);
  void step(int64_t now_ms, const Event& event, Actions& out);
  // When a Tick is due, if nothing else happens before.
  int64_t deadline_ms() const { return deadline_ms_; }

  Role role() const { return role_; }
  ServerId leader() const { return leader_id_; }
  LinkId link_to_leader() const { return learner_ ? learner_->link() : 0; }
  bool is_serving() const;
  // A vote that it has, or had once it was one of a configuration's voters.
  bool votes() const { return state_.votes && state_.membership.is_understood(); }
  Waiting waiting(int64_t now_ms) const;
  bool has_vote() const { return may_vote(config_, state_); }
  const ZabState& state() const { return state_; }
  const ZabConfig& config() const { return config_; }
  uint32_t epoch() const { return state_.current_epoch; }
  Zxid committed() const;
  // Of a leader: its learners, itself included.
  std::vector<MemberStatus> member_status() const;
  std::set<ServerId> synced_followers() const;
  std::set<ServerId> answering_followers(int64_t now_ms) const;  // leader.h
  // Why the leader could not be joined, time after time. Empty: it could, or nobody tried.
  const std::string& join_trouble() const { return join_trouble_; }
  const Membership& membership() const { return state_.membership; }
  const Ensemble& ensemble() const { return state_.membership.in_force(); }

 private:
  void leave(const std::string& why, Actions& out);
  void enter(ServerId leader, int64_t now_ms, Actions& out);
  void look(int64_t now_ms, Actions& out);
  void step_role(int64_t now_ms, const Event& event, Actions& out);
  void gain_vote(Actions& out);
  void seek_vote(int64_t now_ms, const Event& event, Actions& out);
  void note_word(int64_t now_ms, const event::VoteReceived& vote);
  bool knows_better(const event::VoteReceived& vote) const;
  void keep_role(Actions& out);
  void join(std::optional<ServerId> leader, int64_t now_ms, Actions& out);
  void wait_to_join(int64_t now_ms, const std::string& failure);
  void answer(int64_t now_ms, const event::VoteReceived& vote, Actions& out);
  void note_foreigner(int64_t now_ms, const event::VoteReceived& vote, Actions& out);
  bool lacks_vote() const { return !state_.votes && is_to_vote(config_, state_.membership); }

  ZabConfig config_;
  ZabState state_;
  Role role_ = Role::kSettling;
  ServerId leader_id_;
  Zxid committed_;
  Election election_;
  std::optional<Leader> leader_;
  std::optional<Learner> learner_;
  int64_t deadline_ms_ = 0;
  int failed_joins_ = 0;  // one after the other, without having served
  int64_t join_not_before_ms_ = 0;
  std::string join_trouble_;
  int64_t next_foreign_notice_ms_ = 0;
  struct Word {
    int64_t at_ms = 0;
    bool is_empty = false;
    bool has_other_voters = false;
  };
  std::map<ServerId, Word> words_;  // the last of each voter, while this node looks
  // Of a voter without its vote.
  bool gaining_vote_ = false;  // being saved
  int64_t vote_not_before_ms_ = 0;
  int64_t asked_ms_ = 0;
  int64_t next_question_ms_ = 0;
  std::set<ServerId> agreeing_;  // voters that report the same leader and epoch
};

}  // namespace zabfs::consensus
