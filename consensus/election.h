// Fast leader election: a vote that ends when a quorum agrees (FORMATS.md 4.4; Java:
// FastLeaderElection). It is a hint only: safety rests on discovery and synchronisation.
//
// Pure; a part of Zab (zab.h).
#pragma once

#include <map>
#include <optional>
#include <set>

#include "consensus/protocol.h"

namespace zabfs::consensus {

class Election {
 public:
  Election(const ZabConfig& config, const Membership& membership)
      : config_(config), membership_(membership) {}

  // A new round, voting for this node as it is on disk.
  void start(int64_t now_ms, const ZabState& state, Actions& out);
  // Takes a vote; returns the leader once the election has one.
  std::optional<ServerId> receive(int64_t now_ms, ServerId from, const Notification& n,
                                  Actions& out);
  std::optional<ServerId> tick(int64_t now_ms, Actions& out);
  int64_t deadline_ms() const;
  // A new ensemble: this node is empty and has seen every other voter looking and empty, too.
  bool everyone_is_empty() const;
  // Asks all voters whom they follow; for a node without a vote.
  void ask(Actions& out);

  // Outside an election: tells a node that is looking whom this one follows.
  void answer(int64_t now_ms, ServerId to, PeerState state, const Notification& n, Actions& out);
  // The epoch that the elected leader established; answers carry it from then on.
  void set_established(uint32_t epoch, int64_t ensemble) {
    vote_.peer_epoch = epoch;
    ensemble_ = ensemble;
  }

 private:
  struct Received {
    Vote vote;
    int64_t round;
    PeerState state;
  };
  struct Replies {
    int64_t since_ms;
    int count;
  };
  bool beats(const Vote& a, const Vote& b) const;
  void note_own_vote();
  void broadcast(Actions& out) const;
  void send(ServerId to, PeerState state, int64_t round, Actions& out) const;
  void reply(int64_t now_ms, ServerId to, PeerState state, int64_t round, Actions& out);
  bool supported(const std::map<ServerId, Received>& votes, const Vote& vote, bool looking) const;
  bool unanimous() const;
  bool leader_confirms(ServerId leader, int64_t round) const;
  std::optional<ServerId> receive_looking(int64_t now_ms, ServerId from, const Notification& n,
                                          Actions& out);
  void note_answer(ServerId from, const Vote& vote);
  void question_java(ServerId from, int64_t round, Actions& out);
  std::optional<ServerId> receive_settled(ServerId from, const Notification& n);

  const ZabConfig& config_;
  const Membership& membership_;
  bool votes_ = false;  // this node is a voter, with all that it was
  bool empty_ = false;
  int64_t ensemble_ = 0;  // once it holds (ZabState)
  // What a node without a vote gives as its round. Who is looking, too, answers with the same, so
  // that an answer is known from an old vote that a new connection repeats.
  int64_t nonce_ = 0;
  std::set<ServerId> seen_empty_;
  // A Java server does not answer with that number, but takes over the round of a vote.
  struct JavaQuestion {
    int heard = 0;      // votes of its own that it sent since it was last asked
    int64_t round = 0;  // that this node asked it to take over; 0: none yet
  };
  std::map<ServerId, JavaQuestion> java_questions_;
  Vote own_;   // for this node
  Vote vote_;  // the best seen this round; after the election, the winner
  int64_t round_ = 0;
  std::map<ServerId, Received> received_;  // of nodes in this round
  std::map<ServerId, Received> settled_;   // of nodes that follow or lead
  std::map<ServerId, Replies> replies_;    // within a tick
  int64_t resend_ms_ = 0;
  int64_t resend_at_ms_ = 0;
  std::optional<int64_t> decide_at_ms_;  // a quorum agrees; waiting for a better vote until then
};

}  // namespace zabfs::consensus
