#include "tree/session_tracker.h"

namespace zabfs::tree {

bool SessionTracker::touch(SessionId session, int32_t timeout_ms, int64_t now_ms) {
  int64_t deadline_ms = ((now_ms + timeout_ms) / tick_ms_ + 1) * tick_ms_;
  auto [found, added] = sessions_.try_emplace(session, Entry{deadline_ms, timeout_ms});
  if (!added) {
    if (by_deadline_.erase({found->second.deadline_ms, session}) == 0) return false;
    found->second = Entry{deadline_ms, timeout_ms};
  }
  by_deadline_.insert({deadline_ms, session});
  return true;
}

bool SessionTracker::touch(SessionId session, int64_t now_ms) {
  auto found = sessions_.find(session);
  if (found == sessions_.end()) return false;
  return touch(session, found->second.timeout_ms, now_ms);
}

void SessionTracker::remove(SessionId session) {
  auto found = sessions_.find(session);
  if (found == sessions_.end()) return;
  by_deadline_.erase({found->second.deadline_ms, session});
  sessions_.erase(found);
}

void SessionTracker::clear() {
  sessions_.clear();
  by_deadline_.clear();
}

std::vector<SessionId> SessionTracker::take_expired(int64_t now_ms) {
  std::vector<SessionId> expired;
  while (!by_deadline_.empty() && by_deadline_.begin()->first <= now_ms) {
    expired.push_back(by_deadline_.begin()->second);
    by_deadline_.erase(by_deadline_.begin());
  }
  return expired;
}

}  // namespace zabfs::tree
