// The replicated state machine: the znodes, the session table and the ephemerals, changed by
// nothing but `apply`.
//
// Pure: no clock, thread, randomness or I/O. Not thread-safe: the owner gives `apply` exclusive
// access and everything const shared access. References into the tree last until the next apply.
// Rules: FORMATS.md 1.10, 5.3, 5.5; Java: DataTree.processTxn.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tree/quota.h"
#include "tree/txn.h"
#include "tree/znode.h"

namespace zabfs::tree {

class SnapshotCursor;

enum class ChangeType { kCreated, kDeleted, kDataChanged, kAclChanged };

// One effect of a txn.
struct Change {
  ChangeType type;
  std::string path;
  Zxid zxid;
  // Who may be told of it (FORMATS.md 2.2): by the znode's ACL, of a deleted one its
  // last, and by its parent's.
  AclTable::Number acl = 0, parent_acl = 0;
  int32_t version = 0;  // of its data, of a deleted one its last
  Bytes before{};       // its data before, if that was deleted or changed
};

// What a txn came to: for the client that asked, and for the checks of the simulator.
struct OpOutcome {
  OpCode type = OpCode::kError;
  Error error = Error::kOk;
  std::string path;  // of creates
  Stat stat;         // of creates, setData and setACL
};
struct Outcome : OpOutcome {
  Zxid zxid;
  std::vector<OpOutcome> ops;  // of a multi
};

// The operation that a multi failed at, and why; those behind it say only that they were not done.
// Of another request 0, and its error.
struct Failure {
  Error error = Error::kOk;
  size_t op = 0;
};
Failure failure_of(const Outcome& outcome);

struct Session {
  int32_t timeout_ms = 0;
  Zxid attachment = kFirstAttachment;
  int32_t last_cxid = 0;  // of its requests, as far as this node has seen them pass; 0: none
  int16_t home = kWhereItWasMade;  // the server that its client is at: server_byte
  // Its client has a password that was made with the ensemble's secret. Else one that follows from
  // the session's id may be all it has, as long as the client has not come twice since the last
  // server of Apache ZooKeeper left.
  bool is_with_secret = false;
  bool operator==(const Session&) const = default;
};
// As the txns of that cxid make it.
inline Session new_session(int32_t cxid, int32_t timeout_ms) {
  Session session{timeout_ms};
  session.is_with_secret = is_with_secret(cxid);
  return session;
}
inline Session attached(const Session& session, int32_t cxid, Zxid attachment) {
  return {session.timeout_ms, attachment, 0, attached_to(cxid), is_with_secret(cxid)};
}

class Tree {
 public:
  Tree();  // "/", "/zookeeper", "/zookeeper/quota" and "/zookeeper/config"
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;
  ~Tree();

  // Applies one committed txn. Never fails: what the leader found wrong is an error txn. Appends
  // what changed to `changes` if it is not null.
  Outcome apply(const Txn& txn, std::vector<Change>* changes);

  // The zxid of the last txn applied; an epoch's start (counter 0) counts (`note_epoch`).
  Zxid last_zxid() const { return last_zxid_; }
  void note_epoch(Zxid start);
  // The data of /zookeeper/config as long as no transaction has said what it is (Java:
  // ZKDatabase.initConfigInZKDatabase).
  void set_configuration(std::string_view text);

  const ZNode* find(std::string_view path) const;
  const ZNode* child(const ZNode& parent, std::string_view name) const;
  const ZNode& root() const { return node(root_); }
  const ZNode& node(NodeId id) const { return slab_[id >> kChunkBits][id & (kChunkSize - 1)]; }
  std::string path_of(const ZNode& node) const;
  Stat stat_of(const ZNode& node) const;
  const AclList& acl_of(const ZNode& node) const { return acls_.list(node.acl); }
  // The same for who keeps it past the next apply.
  std::shared_ptr<const AclList> shared_acl_of(const ZNode& node) const {
    return acls_.shared(node.acl);
  }
  // Also of what a deleted znode had, until the next apply.
  const AclList& acl_list(AclTable::Number number) const { return acls_.list(number); }
  // Visits children as (const ZNode&), in no particular but a repeatable order.
  template <class Visit>
  void for_each_child(const ZNode& parent, const Visit& visit) const {
    parent.children.for_each([&](NodeId id) { visit(node(id)); });
  }

  size_t node_count() const { return node_count_; }
  size_t data_bytes() const { return data_bytes_; }
  int64_t digest() const { return digest_; }
  // What this znode, at `path`, adds to it.
  int64_t digest_of(std::string_view path, const ZNode& node) const;
  // Whether every txn that carried a digest so far agreed with this tree's.
  bool digest_agrees() const { return digest_agrees_; }

  const std::map<SessionId, Session>& sessions() const { return sessions_; }
  // Paths of a session's ephemerals, sorted.
  std::vector<std::string> ephemerals_of(SessionId session) const;
  // The deepest path at or above `path` that has a quota; empty if there is none.
  std::string_view quota_above(std::string_view path) const;
  const std::set<NodeId>& containers() const { return containers_; }
  const std::set<NodeId>& ttl_nodes() const { return ttls_; }

  // ---- of a tree that came in a Java server's snapshot
  // Such a snapshot is taken while txns are applied: it has parts of them, and ACLs may be missing.
  // Those come with the txns. A znode whose ACL is still missing; empty: there is none.
  std::string path_without_acl() const;
  // Counts anew what quotas count: to be called once those txns have been applied.
  void find_quotas();

  // Starts an exact snapshot of the tree as it is now. At most one is under way at a time.
  std::unique_ptr<SnapshotCursor> begin_snapshot();

 private:
  friend class SnapshotCursor;
  friend class SnapshotLoader;

  static constexpr uint32_t kChunkBits = 12;
  static constexpr uint32_t kChunkSize = 1u << kChunkBits;

  ZNode& mutable_node(NodeId id) { return slab_[id >> kChunkBits][id & (kChunkSize - 1)]; }
  NodeId find_id(std::string_view path) const;
  auto name_of() const {
    return [this](NodeId id) { return node(id).name.view(); };
  }
  NodeId allocate();
  void release(NodeId id);
  // Links a new znode under `parent` and into the owner sets, and lets it hold its ACL. Everything
  // but that is the caller's.
  NodeId attach(NodeId parent, std::string_view name, const NodeStat& stat, Bytes data,
                AclTable::Number acl);
  void detach(NodeId id);
  void enlist_owner(NodeId id, bool enlist);
  // Quotas (tree_quota.cc).
  void note_quota_znode(std::string_view path, bool exists);
  void count_usage(std::string_view path);
  void add_usage(std::string_view path, int64_t count, int64_t bytes);
  void put_usage(std::string_view path, const QuotaTrack& usage);
  // To be called before any change of a znode: an unfinished snapshot keeps its old state.
  void before_change(NodeId id);
  void take_off_digest(NodeId id);
  void put_on_digest(NodeId id, std::string_view path);

  void note_request(const Txn& txn);
  void note_acl(NodeId id, const AclList& acl);
  Error apply_create(const TxnHeader& header, OpCode type, const CreateTxn& txn, OpOutcome& outcome,
                     std::vector<Change>* changes);
  Error apply_delete(const TxnHeader& header, std::string_view path, std::vector<Change>* changes);
  Error apply_set_data(const TxnHeader& header, const SetDataTxn& txn, OpOutcome& outcome,
                       std::vector<Change>* changes);
  Error apply_set_acl(const TxnHeader& header, const SetAclTxn& txn, OpOutcome& outcome,
                      std::vector<Change>* changes);
  void apply_op(const TxnHeader& header, OpCode type, const OpBody& body, OpOutcome& outcome,
                std::vector<Change>* changes);
  void apply_multi(const TxnHeader& header, const MultiTxn& multi, Outcome& outcome,
                   std::vector<Change>* changes);
  void apply_close_session(const TxnHeader& header, const CloseSessionTxn& txn,
                           std::vector<Change>* changes);

  std::vector<std::unique_ptr<ZNode[]>> slab_;
  std::vector<NodeId> free_;
  NodeId next_unused_ = 0;
  NodeId root_ = 0;
  size_t node_count_ = 0;
  size_t data_bytes_ = 0;
  AclTable acls_;
  std::map<SessionId, Session> sessions_;
  std::unordered_map<SessionId, std::set<NodeId>> ephemerals_;
  std::set<NodeId> containers_;
  std::set<NodeId> ttls_;
  std::set<NodeId> without_acl_;               // it is not known yet
  std::set<std::string, std::less<>> quotas_;  // paths that have limits
  Zxid last_zxid_;
  int64_t digest_ = 0;
  bool digest_agrees_ = true;

  SnapshotCursor* snapshot_ = nullptr;
  uint32_t snapshot_mark_ = 0;
  std::vector<NodeId> graveyard_;  // freed during a snapshot; reusable after it
};

// ZooKeeper's digest of one znode, version 2 (FORMATS.md 5.5).
int64_t node_digest(std::string_view path, const Bytes& data, const NodeStat& stat);

}  // namespace zabfs::tree
