// One line of the audit log, as ZooKeeper has it (Java: AuditEvent): fields `name=value` with tabs
// between, and only those that are known.
//
//   session=0x1000 user=alice ip=10.0.0.7 operation=create znode=/a znode_type=persistent
//   result=success
//
// Values are escaped (log_line.h), so no path and no name of a user makes a line or a field of its
// own. One that is longer than kMaxValueBytes is cut, and says so: journald splits lines of more
// than 48 KiB, and the rest of such a line would be one that a client has made up.
//
// Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tree/acl.h"
#include "tree/types.h"

namespace zabfs::fsd::audit {

// Users of the machine are known by their number here; their names are looked up when a line is
// written, as that can take long.
struct Who {
  tree::SessionId session;         // 0: none
  std::vector<std::string> users;  // as Java's AuthUtil.getUsers: ids without their schemes
  std::vector<uint32_t> uids;
  std::string ip;  // empty: none
};
Who who_of(tree::SessionId session, const tree::Identities& identities, std::string ip);

enum class Result { kSuccess, kFailure, kInvoked };  // kInvoked: it is not known what came of it

inline constexpr size_t kMaxValueBytes = 4'000;  // before its escapes, which are 4 bytes at most

struct Event {
  Who who;
  const char* operation = "";
  std::string znode = {}, znode_type = {}, acl = {};
  Result result = Result::kSuccess;

  size_t size_bytes() const;  // of memory
};

// `users` with the names of `uids` behind them.
std::string text_of(const Event& event, const std::vector<std::string>& users);

}  // namespace zabfs::fsd::audit
