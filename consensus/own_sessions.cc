#include "consensus/own_sessions.h"

#include "tree/request.h"

namespace zabfs::consensus {

void OwnSessions::begin(ServerId me, int64_t wall_ms, const std::function<uint64_t()>& random) {
  auto time = static_cast<uint64_t>(wall_ms);
  uint64_t server = tree::server_byte(me);
  last_id_ = static_cast<int64_t>(((time << 24) >> 8) | (random() & 0x7fff) | (server << 56));
  last_mount_id_ = static_cast<int64_t>(((time << 24) >> 16) | (random() & 0x7f) | (server << 48));
  next_attach_ = static_cast<uint32_t>(random());
}

int32_t OwnSessions::new_attach_cxid(ServerId server, bool with_secret) {
  return tree::attach_cxid(next_attach_++, tree::server_byte(server), with_secret);
}

std::optional<Zxid> OwnSessions::attachment(SessionId session) const {
  auto found = attachments_.find(session);
  if (found == attachments_.end()) return std::nullopt;
  return found->second;
}

void OwnSessions::keep_only(const std::function<bool(SessionId)>& lives) {
  std::erase_if(attachments_, [&](const auto& entry) { return !lives(entry.first); });
}

}  // namespace zabfs::consensus
