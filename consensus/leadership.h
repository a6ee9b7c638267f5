// What a leader knows of sessions and requests, from the moment it serves until its role ends. The
// protocol's part of a leader is Leader (leader.h); this class decides which requests become txns.
//
// The replica makes one when it begins to serve as the leader, and destroys it with the role. So
// nothing of one leadership reaches the next: each session gets its full time again, and who a
// client is has to be said anew (ZAB.md sections 4.1 and 4.3).
//
// A member speaks for the sessions that live with it, and for no others: those that it has made,
// until their clients come to another, and those whose clients have come to it. The leader knows
// who a client is by what its server said when the session came there. Later requests may add only
// what a client proves on its connection. The identity of the superuser is left to a mount, to root
// of the member's machine, and to those that prove what this node's zoo.cfg says.
//
// Limits: the sessions of the tree and those that are in the log already.
//
// Threading: an object of the strand. Pure: time is an argument, txns and sessions that have
// expired are return values. It reads the replica's tree, which must outlive it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "consensus/protocol.h"
#include "tree/prepare.h"
#include "tree/session_tracker.h"

namespace zabfs::consensus {

class Leadership {
 public:
  struct Options {
    ServerId me;
    int32_t tick_ms = 2000;
    int64_t reap_interval_ms = 60'000;  // of empty containers and TTL nodes
    // Who is the superuser at other members' client ports, too: as zoo.cfg has them.
    std::string super_digest, x509_super;
  };
  struct Prepared {
    // Not kOk: the request was not prepared, and never will be.
    tree::Error error = tree::Error::kOk;
    std::vector<tree::PreparedTxn> txns;  // to be proposed, in this order
    bool was_unproven = false;            // it named identities that nothing confirms
  };

  // All sessions of the tree begin with their full time.
  Leadership(Options options, const tree::Tree& tree, tree::PrepareOptions prepare, uint32_t epoch,
             int64_t now_ms);

  // What a request of that server's becomes. It renews the request's session.
  [[nodiscard]] Prepared prepare(tree::Request request, ServerId from, int64_t now_ms,
                                 int64_t wall_ms);
  // The last zxid that was prepared; its counter is 0 where there is none.
  Zxid last_proposed() const { return last_proposed_; }
  // The tree has applied everything up to `zxid`, and has closed that session.
  void applied(Zxid zxid) { preparer_.applied(zxid); }
  void closed(SessionId session);

  // Whether that server speaks for the session.
  bool lives_at(SessionId session, ServerId server) const;
  bool is_attached(SessionId session, Zxid attachment) const {
    return preparer_.is_attached(session, attachment);
  }
  const tree::SessionTracker& sessions() const { return tracker_; }
  // A session was heard of; false: it is not there, or is expiring, or its close was prepared.
  bool touch(SessionId session, int64_t now_ms);
  // Its client has come back to this node with that timeout.
  bool touch(SessionId session, int32_t timeout_ms, int64_t now_ms) {
    return tracker_.touch(session, timeout_ms, now_ms);
  }
  // A member has heard of it. What the session's own server says of its time counts, others' word
  // only keeps it alive.
  void touched_at(ServerId server, SessionId session, int32_t timeout_ms, int64_t now_ms);

  // Sessions whose time has run out, each once. The caller closes them.
  std::vector<SessionId> take_expired(int64_t now_ms) { return tracker_.take_expired(now_ms); }
  // Paths of empty containers and outlived TTL nodes (FORMATS.md 2.3), once an interval. The caller
  // deletes them.
  std::vector<std::string> take_to_reap(int64_t now_ms, int64_t wall_ms);

 private:
  tree::Error check_origin(tree::Request& request, ServerId from, bool& was_unproven);
  bool take_off_unproven(tree::Request& request);
  bool is_superuser(const tree::Id& id) const;

  const Options options_;
  const tree::Tree& tree_;
  tree::Preparer preparer_;
  tree::SessionTracker tracker_;
  // Of sessions at other members: who their clients are since their connections began.
  std::map<SessionId, tree::Identities> proven_;
  Zxid last_proposed_;
  int64_t next_reap_ms_;
};

}  // namespace zabfs::consensus
