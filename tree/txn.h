// Transactions as ZooKeeper encodes them (FORMATS.md section 5), in proposals, in INFORM
// and in our log: TxnHeader, body, optional TxnDigest. Behind it may be who made it (origin.h).
//
// A decoded Txn borrows from the bytes it was decoded from.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tree/acl.h"
#include "tree/types.h"

namespace zabfs::tree {

struct TxnHeader {
  SessionId session;
  int32_t cxid = 0;
  Zxid zxid;
  int64_t time_ms = 0;  // the leader's wall clock
  OpCode type = OpCode::kError;
};

// create, create2, createContainer and createTTL, told apart by the type beside it.
struct CreateTxn {
  std::string_view path;  // with its sequence suffix
  std::optional<std::string_view> data;
  AclList acl;
  bool ephemeral = false;
  int32_t parent_cversion = -1;  // the parent's new stored cversion; -1 is "one more" (old logs)
  int64_t ttl_ms = 0;
};
struct DeleteTxn {
  std::string_view path;
};
struct SetDataTxn {
  std::string_view path;
  std::optional<std::string_view> data;
  int32_t version = 0;  // the new version
};
struct SetAclTxn {
  std::string_view path;
  AclList acl;
  int32_t version = 0;  // the new aversion
};
struct CheckTxn {
  std::string_view path;
  int32_t version = 0;
};
struct CreateSessionTxn {
  int32_t timeout_ms = 0;
};
struct CloseSessionTxn {
  std::vector<std::string_view> paths;
};
struct ErrorTxn {
  Error error = Error::kOk;
};

using OpBody = std::variant<CreateTxn, DeleteTxn, SetDataTxn, SetAclTxn, CheckTxn, ErrorTxn>;
struct Op {
  OpCode type = OpCode::kError;
  OpBody body;
};
struct MultiTxn {
  std::vector<Op> ops;
  // A multi with an error among its ops applies nothing.
  bool failed() const;
};

struct Txn {
  TxnHeader header;
  std::variant<CreateTxn, DeleteTxn, SetDataTxn, SetAclTxn, CheckTxn, ErrorTxn, CreateSessionTxn,
               CloseSessionTxn, MultiTxn>
      body;
  std::optional<int64_t> digest;  // the tree's digest after this txn
  std::string_view origin = {};   // who made it (origin.h); only behind a digest
};

// An attach txn (OpCode::kExtAttach) travels as an error txn that names no error: to Apache
// ZooKeeper it is one without effect.
bool is_attach(const Txn& txn);
// The answer to a request that a server of Apache ZooKeeper forwarded too late: its session is at
// another server by then. It says nothing of the requests that the session makes there, although
// one of them may have the same cxid.
bool is_late(const Txn& txn);

// Appends the encoding to `out`.
void encode_txn(const Txn& txn, std::string& out);
// nullopt if the bytes are not a transaction.
std::optional<Txn> decode_txn(std::string_view bytes);
// Only the header, for those who need no more.
std::optional<TxnHeader> decode_txn_header(std::string_view bytes);

}  // namespace zabfs::tree
