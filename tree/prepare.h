// The leader's half of a write: a request in, the transactions that every node will apply out.
//
// Each request becomes one txn (an error txn if it fails). Some need others before it: a rename
// over a file and a write that sets times or the kind change an ACL first, which ZooKeeper has no
// way to do inside a multi; a session with many ephemerals deletes some of them before it closes.
// The last txn carries the request's session and cxid. No txn is larger than max_txn_bytes: a
// request that would need a larger one fails (BadArguments; of zabfs's own, kTooLarge). Order of
// checks and codes: FORMATS.md 2.1, 5.3; Java: PrepRequestProcessor. Pure; called by the replica's
// driver only, while it leads.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tree/outstanding.h"
#include "tree/request.h"
#include "tree/tree.h"

namespace zabfs::tree {

struct PreparedTxn {
  Zxid zxid;
  std::string bytes;
};

// What Java takes from system properties, and zoo.cfg says here.
struct PrepareOptions {
  bool extended_types = false;  // extendedTypesEnabled: TTL nodes
  bool skip_acl = false;        // skipACL
  bool enforce_quota = false;   // enforceQuota: hard limits
  bool local_sessions = false;  // localSessionsEnabled: unknown ones are some server's
  Limits limits;
  // A rename over a file removes that one and makes another (plain_requests.h), in place of giving
  // it the data and the ACL of the first.
  bool replaces_files = false;
  size_t max_txn_bytes = Limits().txn_bytes();  // the simulator's is smaller
  std::set<std::string> acl_schemes;            // beside world, auth, ip and digest: authProvider.N
  // The text of the configuration that a reconfig request leads to, as of the version that it would
  // have. None: reconfigEnabled is not set.
  std::function<Result<std::string>(std::string_view body, Zxid version)> plan_reconfig;
};

class Preparer {
 public:
  explicit Preparer(const Tree& tree, PrepareOptions options = {})
      : outstanding_(tree), tree_(tree), options_(options) {}

  // Whether the request may be prepared at all. kSessionMoved: it came by an attachment that is
  // over, and must never take effect. kConnectionLoss: a later request of its attachment, or the
  // same, was prepared before. Neither becomes a txn: under its session and cxid the log may hold
  // another's.
  Error admit(const Request& request) const;
  bool knows(SessionId session) const { return find_session(session).has_value(); }
  // The server that the session's client is at, and else its requests come from: server_byte, or
  // kAnywhere. Of a session that nobody knows, the one that made its id.
  int16_t home_of(SessionId session) const;
  // Whether that is the session's attachment, once all that is outstanding is applied.
  bool is_attached(SessionId session, Zxid attachment) const;
  // Prepares one request; its first txn gets the zxid `first`, at the leader's wall clock
  // `time_ms`.
  std::vector<PreparedTxn> prepare(const Request& request, Zxid first, int64_t time_ms);
  // The txn that answers one that may not be prepared. It changes nothing.
  static PreparedTxn refuse(const Request& request, Zxid zxid, int64_t time_ms, Error error);
  // The tree has applied everything up to `zxid`.
  void applied(Zxid zxid);
  // A new leadership: nothing is outstanding but what the tree has.
  void reset();

 private:
  struct SessionChange {
    Zxid zxid;
    std::optional<Session> session;  // none: it is closed
  };
  struct Amount {
    int64_t znodes = 0;
    int64_t bytes = 0;
  };

  Error prepare_body(const Request& request, Txn& txn);
  Error prepare_op(const Request& request, OpCode type, jute::Reader& in, Op& op);
  Error check_flags(OpCode type, int32_t flags, int64_t ttl_ms) const;
  Error prepare_create(const Request& request, OpCode type, jute::Reader& in, Op& op);
  Error prepare_delete(const Request& request, jute::Reader& in, Op& op);
  Error prepare_delete_container(const Request& request, Op& op);
  Error prepare_set_data(const Request& request, jute::Reader& in, Op& op);
  Error prepare_set_acl(const Request& request, jute::Reader& in, Op& op);
  Error prepare_reconfig(const Request& request, Op& op);
  Error prepare_check(const Request& request, jute::Reader& in, Op& op);
  Error prepare_multi(const Request& request, Txn& txn);
  Error prepare_close_session(const Request& request, Txn& txn);
  Error prepare_ext(const Request& request, Txn& txn);
  Error prepare_ext_write(const ExtWrite& ext, Txn& txn);
  Error prepare_ext_append(const ExtAppend& ext, Txn& txn);
  Error prepare_ext_set_posix(const ExtSetPosix& ext, Txn& txn);
  Error prepare_ext_remove(const ExtRemove& ext, Txn& txn);
  Error prepare_ext_rename(const ExtRename& ext, Txn& txn);
  Error rename_over_file(const ExtRename& ext, Record source, Record target, Txn& txn);
  Error exchange(const ExtRename& ext, Record source, Record target, Txn& txn);

  // The effects of one op on the outstanding state, and the op that says so.
  Op make_create(std::string_view path, std::optional<std::string_view> data, const AclList& acl,
                 OpCode type, int64_t owner);
  Op make_delete(std::string_view path);
  Op make_set_data(std::string_view path, Record record, std::optional<std::string_view> data);
  Op make_set_acl(std::string_view path, Record record, AclList acl);
  void add_origin(const Request& request, std::vector<PreparedTxn>& out);
  // Emits a txn of its own, before the request's.
  void emit_first(Op op);
  // `owner`: of the top in place of its own, if that is to be another.
  Error copy_subtree(std::string_view from, std::string_view to, MultiTxn& multi, size_t& size,
                     std::optional<int64_t> owner = std::nullopt);
  Error delete_subtree(std::string_view top, MultiTxn& multi, size_t& size);
  static Amount made_within(std::string_view top, const MultiTxn& multi);
  void settle_kind(std::string_view path, std::optional<Record>& record);
  AclList moved_acl(std::string_view from, const Record& record, const NodeStat& then) const;

  Error prepare_attach(const Request& request, Txn& txn);
  // As it will be once all that is outstanding is applied.
  std::optional<Session> find_session(SessionId id) const;
  void note_request(const Request& request);
  // kOk, or why this session may not write: it is not open, or has moved to another server.
  Error check_session(const Request& request) const;
  Error check_quota(std::string_view path, int64_t count, int64_t bytes) const;
  // For zabfs's own requests. Nothing that shrinks is refused: a user whose quota was set below
  // what is there gets back under it with rm and truncate.
  Error check_growth(std::string_view path, const Amount& growth) const;
  // What came from one directory to another. A move within one quota adds nothing to it.
  Error check_arrival(std::string_view from, std::string_view to, const Amount& growth) const;
  bool allows(const Record& record, int32_t wanted, const Request& request) const;
  // A user who may not search the directories above `path` is not to learn what is there.
  bool may_reach(std::string_view path, const Request& request) const;
  std::string_view keep(std::string text) { return arena_.emplace_back(std::move(text)); }

  Outstanding outstanding_;
  const Tree& tree_;
  const PrepareOptions options_;
  std::map<SessionId, SessionChange> session_changes_;
  // Of the request being prepared:
  Zxid zxid_;
  int64_t time_ms_ = 0;
  std::deque<std::string> arena_;  // backs the views in its txns
  std::vector<PreparedTxn>* out_ = nullptr;
  std::string origin_;
};

}  // namespace zabfs::tree
