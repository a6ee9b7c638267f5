// The sessions that this server alone knows (Java: LocalSessionTracker). They cost the ensemble no
// txn, and so they can't hold ephemeral znodes.
//
// A local session ends when its client closes it, or is not heard of for its timeout. If the server
// is told to (localSessionsUpgradingEnabled), a session becomes the ensemble's with its first
// ephemeral: what holds an ephemeral must outlive this server.
//
// On the strand. Pure: time comes from the caller.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "tree/request.h"
#include "tree/types.h"

namespace zabfs::fsd::wire {

class LocalSessions {
 public:
  // The way of a request for a write.
  enum class Course {
    kToLeader,  // as any other session's
    kUpgrade,   // the same, once the session is the ensemble's
    kClose,     // it ends the session, and nobody else need hear of it
    kRefuse,    // it makes an ephemeral
  };

  explicit LocalSessions(bool may_upgrade) : may_upgrade_(may_upgrade) {}

  void open(tree::SessionId session, int32_t timeout_ms, int64_t now_ms) {
    sessions_[session] = {timeout_ms, now_ms};
  }
  size_t size() const { return sessions_.size(); }
  // Its client was heard of. False: it is no local session.
  bool touch(tree::SessionId session, int64_t now_ms);
  // Its client comes back, with a new timeout. False: it is no local session.
  bool reopen(tree::SessionId session, int32_t timeout_ms, int64_t now_ms);
  Course course(const tree::Request& request) const;
  // It is closed, or becomes the ensemble's. Its timeout.
  int32_t take(tree::SessionId session);
  // Forgets those whose clients were not heard of for too long.
  std::vector<tree::SessionId> take_expired(int64_t now_ms);

 private:
  struct Session {
    int32_t timeout_ms = 0;
    int64_t heard_ms = 0;
  };

  const bool may_upgrade_;
  std::map<tree::SessionId, Session> sessions_;
};

}  // namespace zabfs::fsd::wire
