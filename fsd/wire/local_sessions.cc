#include "fsd/wire/local_sessions.h"

namespace zabfs::fsd::wire {

bool LocalSessions::touch(tree::SessionId session, int64_t now_ms) {
  auto found = sessions_.find(session);
  if (found == sessions_.end()) return false;
  found->second.heard_ms = now_ms;
  return true;
}

bool LocalSessions::reopen(tree::SessionId session, int32_t timeout_ms, int64_t now_ms) {
  auto found = sessions_.find(session);
  if (found == sessions_.end()) return false;
  found->second = {timeout_ms, now_ms};
  return true;
}

LocalSessions::Course LocalSessions::course(const tree::Request& request) const {
  if (!sessions_.contains(request.session)) return Course::kToLeader;
  if (request.type == tree::OpCode::kCloseSession) return Course::kClose;
  if (!tree::creates_ephemeral(request)) return Course::kToLeader;
  return may_upgrade_ ? Course::kUpgrade : Course::kRefuse;
}

int32_t LocalSessions::take(tree::SessionId session) {
  auto found = sessions_.find(session);
  if (found == sessions_.end()) return 0;
  int32_t timeout_ms = found->second.timeout_ms;
  sessions_.erase(found);
  return timeout_ms;
}

std::vector<tree::SessionId> LocalSessions::take_expired(int64_t now_ms) {
  std::vector<tree::SessionId> expired;
  std::erase_if(sessions_, [&](const auto& entry) {
    const auto& [session, local] = entry;
    bool is_over = now_ms - local.heard_ms > local.timeout_ms;
    if (is_over) expired.push_back(session);
    return is_over;
  });
  return expired;
}

}  // namespace zabfs::fsd::wire
