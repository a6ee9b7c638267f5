// When sessions expire: the leader's view, rebuilt with full timeouts at the start of every
// leadership (FORMATS.md 1.13; Java: SessionTrackerImpl).
//
// Pure: the time is an argument, monotonic milliseconds. Deadlines are rounded up to a tick.
#pragma once

#include <map>
#include <set>
#include <utility>
#include <vector>

#include "tree/types.h"

namespace zabfs::tree {

class SessionTracker {
 public:
  explicit SessionTracker(int32_t tick_ms) : tick_ms_(tick_ms) {}

  // Starts or renews a session.
  // False: it is expiring, and stays so.
  bool touch(SessionId session, int32_t timeout_ms, int64_t now_ms);
  // Renews a session that is tracked; false if it is not, or is expiring.
  bool touch(SessionId session, int64_t now_ms);
  void remove(SessionId session);
  void clear();
  // Sessions whose time has run out; each is handed out once, and can't be touched any more.
  std::vector<SessionId> take_expired(int64_t now_ms);
  bool contains(SessionId session) const { return sessions_.contains(session); }
  // Those that are not expiring, each with the time (ms) at which it will be, soonest first.
  const std::set<std::pair<int64_t, SessionId>>& by_deadline() const { return by_deadline_; }

 private:
  struct Entry {
    int64_t deadline_ms;
    int32_t timeout_ms;
  };
  int32_t tick_ms_;
  std::map<SessionId, Entry> sessions_;
  std::set<std::pair<int64_t, SessionId>> by_deadline_;
};

}  // namespace zabfs::tree
