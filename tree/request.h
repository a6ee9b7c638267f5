// Write requests, as they travel from the node that received them to the leader's `prepare`.
//
// Bodies are ZooKeeper's request records (FORMATS.md 1.7), and for the kExt operations
// our own: conditional writes by identity (czxid), atomic append, rename, removal with the hidden
// `@` child, and changes of the posix entry, those for the superuser only; and the attachment of a
// session to the server that its client has connected to (types.h). They are sent only to a leader
// known to be zabfs; what they become in the log are ZooKeeper's txns.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tree/acl.h"
#include "tree/origin.h"
#include "tree/posix.h"
#include "tree/types.h"

namespace zabfs::tree {

struct Request {
  SessionId session;
  int32_t cxid = 0;
  OpCode type = OpCode::kNotification;
  std::string body;
  Identities identities;
  Zxid attachment = kFirstAttachment;  // of the session, as the server that sends it knows it
  LocalUser user = {};                 // of a mount's request
  uint8_t node = 0;                    // server_byte of where it came in, for the leader; 0: none
};

// Whether some operation of it makes an ephemeral znode.
bool creates_ephemeral(const Request& request);
Request superuser_request(SessionId session, int32_t cxid, OpCode type, std::string body);

// create flags (CreateMode)
inline constexpr int32_t kCreatePersistent = 0;
inline constexpr int32_t kCreateEphemeral = 1;
inline constexpr int32_t kCreateSequential = 2;
inline constexpr int32_t kCreateEphemeralSequential = 3;
inline constexpr int32_t kCreateContainerFlag = 4;
inline constexpr int32_t kCreateTtlFlag = 5;
inline constexpr int32_t kCreateTtlSequentialFlag = 6;

// A change of the posix entry. `base` is what the entry becomes first where there is none.
struct PosixChange {
  PosixEntry base;
  std::optional<uint32_t> mode, uid, gid;
  std::optional<Time> mtime;

  bool is_empty() const { return !mode && !uid && !gid && !mtime; }
};
// The entry with the change's mode, owner and group. Not its time, which counts for one version.
PosixEntry changed(PosixEntry posix, const PosixChange& change);
// What of a change still holds. `change.base` is what was committed when the change was asked for,
// and `committed` is what is committed now. Where the two differ, somebody else has changed the
// file since: that change is the later one, and stays.
PosixChange still_holding(PosixChange change, const PosixEntry& committed);

inline constexpr int32_t kAnyVersion = -1;
inline constexpr Zxid kAnyCzxid{-1};
inline constexpr Zxid kAbsent{0};  // as a rename's target: there must be none

std::string create_body(std::string_view path, std::optional<std::string_view> data,
                        const AclList& acl, int32_t flags);
std::string create_ttl_body(std::string_view path, std::optional<std::string_view> data,
                            const AclList& acl, int32_t flags, int64_t ttl_ms);
std::string delete_body(std::string_view path, int32_t version);
std::string set_data_body(std::string_view path, std::optional<std::string_view> data,
                          int32_t version);
std::string set_acl_body(std::string_view path, const AclList& acl, int32_t version);
std::string check_body(std::string_view path, int32_t version);
std::string create_session_body(int32_t timeout_ms);  // of an attachment, too

struct MultiOp {
  OpCode type;
  std::string body;
};
std::string multi_body(const std::vector<MultiOp>& ops);

// Replaces the data of the znode that is (path, czxid), at that version if it is not kAnyVersion.
struct ExtWrite {
  std::string path;
  Zxid czxid = kAnyCzxid;
  int32_t version = kAnyVersion;
  std::string data;
  std::optional<PosixChange> posix;  // its mtime counts for the version that this write makes
};
struct ExtAppend {
  std::string path;
  Zxid czxid = kAnyCzxid;
  std::string data;
};
struct ExtRename {
  std::string from, to;
  Zxid from_czxid = kAnyCzxid;
  Zxid to_czxid = kAnyCzxid;  // kAbsent: fails with kNodeExists if there is one
  bool exchange = false;
};
struct ExtRemove {
  std::string path;
  Zxid czxid = kAnyCzxid;
  bool directory = false;
};
struct ExtSetPosix {
  std::string path;
  Zxid czxid = kAnyCzxid;
  PosixChange change;
};

std::string encode(const ExtWrite& op);
std::string encode(const ExtAppend& op);
std::string encode(const ExtRename& op);
std::string encode(const ExtRemove& op);
std::string encode(const ExtSetPosix& op);
std::optional<ExtWrite> decode_ext_write(std::string_view body);
std::optional<ExtAppend> decode_ext_append(std::string_view body);
std::optional<ExtRename> decode_ext_rename(std::string_view body);
std::optional<ExtRemove> decode_ext_remove(std::string_view body);
std::optional<ExtSetPosix> decode_ext_set_posix(std::string_view body);

}  // namespace zabfs::tree
