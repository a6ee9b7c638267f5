// The barriers that are under way at this node, and what each of them waits for.
//
// After a barrier (Replica::sync, ZooKeeper's `sync`), a read shows everything that was committed
// before the call. A quorum has to confirm the leader for that (ZAB.md section 4.5). A barrier
// takes one of three ways, by the role of the node and by where it comes from:
//
//   this node learns   waits -> sent to the leader -> SYNC came, waits until applied -> done
//                      (of Apache ZooKeeper: a commit of this node's own takes the place of SYNC)
//   this node leads    waits -> a quorum is asked  -> confirmed, waits until applied -> done
//   a learner's, here           a quorum is asked  -> confirmed, waits until committed -> SYNC
//
// SYNC carries no number. A leader answers in order, and a link keeps that order. So a SYNC answers
// the oldest barrier that was sent.
//
// Barriers outlive the role of their node. Example with this node as the leader of epoch 3:
//   1. Barrier A asks the quorum. The quorum confirms, and A waits for (3,7), the last txn that
//      this node has proposed.
//   2. Barrier B asks the quorum. The leadership ends before anybody answers.
//   3. Another node leads epoch 4 with a history that ends at (3,5). (3,7) was never committed, and
//      nobody will ever apply it.
//   4. `leave_role` has put B back among those that wait. B goes to the new leader.
//   5. A needs no other leader, since a quorum has confirmed one after the call. But A must not
//      wait for (3,7) for good. When this node serves in epoch 4, it has applied everything that
//      was committed in older epochs, and `take_older_than` gives A back.
// The barriers of learners are forgotten with the role, since each learner asks its next leader.
//
// The class also holds the answers to REVALIDATE, which wait for a COMMIT like the answers to SYNC.
//
// Limits: none of its own. Whoever asks waits for the answer.
//
// Threading: an object of the strand. Pure: it sends nothing, runs no completion, knows no time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "consensus/completion.h"
#include "consensus/protocol.h"

namespace zabfs::consensus {

class Barriers {
 public:
  using Token = uint64_t;  // of one question to the quorum: event::ConfirmLeadership
  struct Question {
    Token token;
    SessionId session;  // whose barrier it is; 0: no session's
  };
  struct Reply {
    LinkId link;
    Packet packet;
  };

  // ---- barriers of this node
  void add(SessionId session, Completion done);
  // Whether some have gone neither to the leader nor to a quorum.
  bool has_waiting() const { return !waiting_.empty(); }
  // Begun and not answered yet, of this node and, at the leader, of its learners.
  size_t count() const {
    return waiting_.size() + sent_.size() + confirming_.size() + until_committed_.size() +
           until_applied_.size();
  }
  // As a learner: the oldest that waits goes to the leader now. Its session.
  SessionId send_next();
  // SYNC came. `committed`: as far as this node knows of commits, all of which came before it.
  void answered(Zxid committed);
  // As the leader: the oldest that waits asks the quorum.
  Question ask_next();

  // ---- for learners, as the leader
  // A SYNC of this learner's asks the quorum.
  Token ask_for(LinkId learner);
  void reply_when_committed(Zxid zxid, Reply reply);

  // The quorum has confirmed the leadership. All that the leader has proposed by now, up to
  // `proposed`, counts as begun before the barrier. A token of an earlier role does nothing.
  void confirmed(Token token, Zxid proposed);

  // ---- what is due, one at a time, in the order of zxids
  std::optional<Reply> take_committed(Zxid committed);
  std::optional<Completion> take_applied(Zxid applied);
  bool has_applied(Zxid applied) const;
  // This node serves in that epoch, and has applied all that was committed before it.
  std::vector<Completion> take_older_than(uint32_t epoch);

  // Those that are not answered go behind those that wait: first the sent ones, then those that
  // asked a quorum.
  void leave_role();

 private:
  struct Barrier {
    SessionId session;
    Completion done;
  };

  std::deque<Barrier> waiting_;
  std::deque<Barrier> sent_;  // to the leader; answers come in this order
  std::map<Token, std::variant<Barrier, LinkId>> confirming_;
  Token next_token_ = 1;
  std::multimap<Zxid, Reply> until_committed_;
  std::multimap<Zxid, Completion> until_applied_;
};

}  // namespace zabfs::consensus
