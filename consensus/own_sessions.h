// The numbers that this node gives out for sessions, and where the sessions of its own clients
// stand.
//
// Ids of sessions must never come again, at any server (FORMATS.md 1.3). Each begins with the
// server's number. A counter goes on from the time of the start, and begins anywhere, so that ids
// don't come again when the wall clock goes back. Ids of mounts' sessions have a form of their own,
// and no client's connection is given one (ZAB.md section 4.1). The cxids of attach txns are
// counted in the same way.
//
// A session whose client has come to this node is attached here: its requests name the zxid of the
// attach txn (ZAB.md section 4.2). The class keeps the newest that this node has made for each
// session, even when the client has gone to another server since.
//
// Limits: one entry for each session of the tree at most, as the replica tells of those that end.
//
// Threading: an object of the strand. Pure: time and randomness are arguments.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>

#include "tree/types.h"

namespace zabfs::consensus {

using tree::ServerId;
using tree::SessionId;
using tree::Zxid;

class OwnSessions {
 public:
  // The process starts.
  void begin(ServerId me, int64_t wall_ms, const std::function<uint64_t()>& random);
  SessionId new_id() { return SessionId{++last_id_}; }
  SessionId new_mount_id() { return SessionId{++last_mount_id_}; }
  // Of an attach txn to that server.
  int32_t new_attach_cxid(ServerId server, bool with_secret = false);

  void attached(SessionId session, Zxid attachment) { attachments_[session] = attachment; }
  std::optional<Zxid> attachment(SessionId session) const;
  void closed(SessionId session) { attachments_.erase(session); }
  // The tree is another one now: only these sessions are left.
  void keep_only(const std::function<bool(SessionId)>& lives);

 private:
  int64_t last_id_ = 0;
  int64_t last_mount_id_ = 0;
  uint32_t next_attach_ = 0;
  std::map<SessionId, Zxid> attachments_;
};

}  // namespace zabfs::consensus
