#include "tree/tree.h"

#include <libdeflate.h>

#include <algorithm>
#include <utility>

#include "tree/path.h"
#include "tree/snapshot.h"

namespace zabfs::tree {

namespace {

constexpr uint64_t kTtlTag = 0xFF00000000000000;

// On from `crc`. libdeflate takes a null pointer, which is what no bytes may have, for a new begin.
uint32_t crc_of(uint32_t crc, std::string_view bytes) {
  return bytes.empty() ? crc : ::libdeflate_crc32(crc, bytes.data(), bytes.size());
}

Bytes to_bytes(std::optional<std::string_view> data) { return data ? Bytes(*data) : Bytes(); }

void append_change(std::vector<Change>* changes, ChangeType type, std::string_view path, Zxid zxid,
                   const ZNode& node, AclTable::Number parent_acl, Bytes before = {}) {
  if (changes == nullptr) return;
  changes->push_back(Change{type, std::string(path), zxid, node.acl, parent_acl, node.stat.version,
                            std::move(before)});
}

}  // namespace

Failure failure_of(const Outcome& outcome) {
  for (size_t i = 0; i < outcome.ops.size(); ++i) {
    Error error = outcome.ops[i].error;
    if (error != Error::kOk && error != Error::kRuntimeInconsistency) return {error, i};
  }
  return {outcome.error, 0};
}

OwnerKind owner_kind(int64_t owner) {
  if (owner == 0) return OwnerKind::kPersistent;
  if (owner == kContainerOwner) return OwnerKind::kContainer;
  if ((static_cast<uint64_t>(owner) & kTtlTag) == kTtlTag) return OwnerKind::kTtl;
  return OwnerKind::kEphemeral;
}

int64_t ttl_owner(int64_t ttl_ms) {
  return static_cast<int64_t>(kTtlTag | static_cast<uint64_t>(ttl_ms));
}

int64_t owner_ttl_ms(int64_t owner) { return owner & kMaxTtlMs; }

int64_t node_digest(std::string_view path, const Bytes& data, const NodeStat& stat) {
  if (path.starts_with("/zookeeper/")) return 0;
  if (path == "/") path = {};
  char fields[60];
  char* position = fields;
  auto put = [&position](auto value) {
    value = jute::to_big_endian(value);
    std::memcpy(position, &value, sizeof(value));
    position += sizeof(value);
  };
  for (int64_t value :
       {stat.czxid.value, stat.mzxid.value, stat.pzxid.value, stat.ctime_ms, stat.mtime_ms}) {
    put(value);
  }
  for (int32_t value : {stat.version, stat.cversion, stat.aversion}) put(value);
  put(stat.owner);
  uint32_t crc = crc_of(crc_of(0, path), data.view());
  return crc_of(crc, std::string_view(fields, sizeof(fields)));
}

Tree::Tree() {
  root_ = allocate();
  mutable_node(root_).name = Name("");
  mutable_node(root_).data = Bytes("");
  acls_.hold(mutable_node(root_).acl);
  node_count_ = 1;
  put_on_digest(root_, "/");
  NodeId zookeeper = attach(root_, "zookeeper", NodeStat{}, Bytes(""), 0);
  attach(zookeeper, "quota", NodeStat{}, Bytes(""), 0);
  NodeStat config;
  config.aversion = -1;
  attach(zookeeper, "config", config, Bytes(""), acls_.intern({{kPermRead, {"world", "anyone"}}}));
}

Tree::~Tree() = default;

NodeId Tree::allocate() {
  NodeId id;
  if (!free_.empty()) {
    id = free_.back();
    free_.pop_back();
  } else {
    id = next_unused_++;
    if ((id >> kChunkBits) == slab_.size()) slab_.push_back(std::make_unique<ZNode[]>(kChunkSize));
  }
  mutable_node(id).snapshot_mark = snapshot_mark_;
  return id;
}

void Tree::release(NodeId id) {
  if (snapshot_ != nullptr) {
    graveyard_.push_back(id);  // a snapshot may still need its name and parent
    return;
  }
  mutable_node(id) = ZNode();
  free_.push_back(id);
}

NodeId Tree::attach(NodeId parent, std::string_view name, const NodeStat& stat, Bytes data,
                    AclTable::Number acl) {
  NodeId id = allocate();
  ZNode& child = mutable_node(id);
  child.name = Name(name);
  child.parent = parent;
  child.stat = stat;
  child.data = std::move(data);
  child.acl = acls_.hold(acl);
  mutable_node(parent).children.insert(id, name_of());
  ++node_count_;
  data_bytes_ += child.data.size();
  enlist_owner(id, true);
  put_on_digest(id, path_of(child));
  return id;
}

void Tree::detach(NodeId id) {
  take_off_digest(id);
  enlist_owner(id, false);
  ZNode& child = mutable_node(id);
  acls_.let_go(child.acl);
  without_acl_.erase(id);
  data_bytes_ -= child.data.size();
  --node_count_;
  mutable_node(child.parent).children.erase(id, name_of());
  release(id);
}

void Tree::enlist_owner(NodeId id, bool enlist) {
  int64_t owner = node(id).stat.owner;
  auto update = [&](std::set<NodeId>& ids) {
    if (enlist) {
      ids.insert(id);
    } else {
      ids.erase(id);
    }
  };
  switch (owner_kind(owner)) {
    case OwnerKind::kPersistent:
      return;
    case OwnerKind::kContainer:
      return update(containers_);
    case OwnerKind::kTtl:
      return update(ttls_);
    case OwnerKind::kEphemeral: {
      auto owned = ephemerals_.try_emplace(SessionId{owner}).first;
      update(owned->second);
      if (owned->second.empty()) ephemerals_.erase(owned);
      return;
    }
  }
}

void Tree::before_change(NodeId id) {
  if (snapshot_ != nullptr) snapshot_->keep(id);
}

int64_t Tree::digest_of(std::string_view path, const ZNode& subject) const {
  if (subject.digest == 0) return node_digest(path, subject.data, subject.stat);
  return subject.digest;
}

// What the znode adds to the digest of the tree: taken off before a change, put on after it.
void Tree::take_off_digest(NodeId id) {
  const ZNode& subject = node(id);
  int64_t own = subject.digest != 0 ? subject.digest : digest_of(path_of(subject), subject);
  digest_ = static_cast<int64_t>(static_cast<uint64_t>(digest_) - static_cast<uint64_t>(own));
}

void Tree::put_on_digest(NodeId id, std::string_view path) {
  ZNode& subject = mutable_node(id);
  int64_t own = node_digest(path, subject.data, subject.stat);
  subject.digest = static_cast<uint32_t>(own);
  digest_ = static_cast<int64_t>(static_cast<uint64_t>(digest_) + static_cast<uint64_t>(own));
}

const ZNode* Tree::child(const ZNode& parent, std::string_view name) const {
  NodeId id = parent.children.find(name, name_of());
  return id == kNoNodeId ? nullptr : &node(id);
}

NodeId Tree::find_id(std::string_view path) const {
  if (path == "/") return root_;
  if (path.empty() || path[0] != '/') return kNoNodeId;
  NodeId id = root_;
  while (!path.empty()) {
    path.remove_prefix(1);
    size_t end = path.find('/');
    id = node(id).children.find(path.substr(0, end), name_of());
    if (id == kNoNodeId) return kNoNodeId;
    path = end == std::string_view::npos ? std::string_view() : path.substr(end);
  }
  return id;
}

const ZNode* Tree::find(std::string_view path) const {
  NodeId id = find_id(path);
  return id == kNoNodeId ? nullptr : &node(id);
}

std::string Tree::path_of(const ZNode& subject) const {
  if (subject.parent == kNoNodeId) return "/";
  size_t size = 0;
  for (const ZNode* at = &subject; at->parent != kNoNodeId; at = &node(at->parent)) {
    size += at->name.view().size() + 1;
  }
  std::string path(size, '/');
  for (const ZNode* at = &subject; at->parent != kNoNodeId; at = &node(at->parent)) {
    std::string_view name = at->name.view();
    size -= name.size();
    path.replace(size, name.size(), name);
    --size;
  }
  return path;
}

Stat Tree::stat_of(const ZNode& subject) const {
  const NodeStat& s = subject.stat;
  Stat stat;
  stat.czxid = s.czxid;
  stat.mzxid = s.mzxid;
  stat.ctime_ms = s.ctime_ms;
  stat.mtime_ms = s.mtime_ms;
  stat.version = s.version;
  stat.num_children = static_cast<int32_t>(subject.children.size());
  stat.cversion = static_cast<int32_t>(static_cast<uint32_t>(s.cversion) * 2 -
                                       static_cast<uint32_t>(stat.num_children));
  stat.aversion = s.aversion;
  stat.ephemeral_owner = owner_kind(s.owner) == OwnerKind::kEphemeral ? s.owner : 0;
  stat.data_length = static_cast<int32_t>(subject.data.size());
  stat.pzxid = s.pzxid;
  return stat;
}

std::vector<std::string> Tree::ephemerals_of(SessionId session) const {
  std::vector<std::string> paths;
  auto owned = ephemerals_.find(session);
  if (owned == ephemerals_.end()) return paths;
  for (NodeId id : owned->second) paths.push_back(path_of(node(id)));
  std::sort(paths.begin(), paths.end());
  return paths;
}

void Tree::note_epoch(Zxid start) {
  if (start > last_zxid_) last_zxid_ = start;
}

void Tree::set_configuration(std::string_view text) {
  NodeId id = find_id(kConfigPath);
  if (id == kNoNodeId) return;
  before_change(id);
  ZNode& config = mutable_node(id);
  data_bytes_ += text.size() - config.data.size();
  config.data = Bytes(text);
  config.stat.version = -1;
}

std::unique_ptr<SnapshotCursor> Tree::begin_snapshot() {
  return std::unique_ptr<SnapshotCursor>(new SnapshotCursor(*this));
}

Outcome Tree::apply(const Txn& txn, std::vector<Change>* changes) {
  const TxnHeader& header = txn.header;
  acls_.forget_unused();
  Outcome outcome;
  outcome.type = header.type;
  outcome.zxid = header.zxid;
  if (const auto* session = std::get_if<CreateSessionTxn>(&txn.body)) {
    sessions_[header.session] = new_session(header.cxid, session->timeout_ms);
  } else if (const auto* close = std::get_if<CloseSessionTxn>(&txn.body)) {
    apply_close_session(header, *close, changes);
  } else if (const auto* multi = std::get_if<MultiTxn>(&txn.body)) {
    apply_multi(header, *multi, outcome, changes);
  } else {
    std::visit(
        [&](const auto& body) {
          if constexpr (std::is_constructible_v<OpBody, decltype(body)>) {
            apply_op(header, header.type, OpBody(body), outcome, changes);
          }
        },
        txn.body);
  }
  note_request(txn);
  last_zxid_ = header.zxid;
  if (txn.digest && *txn.digest != digest_) digest_agrees_ = false;
  return outcome;
}

void Tree::note_request(const Txn& txn) {
  if (is_late(txn)) return;
  auto found = sessions_.find(txn.header.session);
  if (found == sessions_.end()) return;
  Session& session = found->second;
  if (txn.header.cxid > 0) session.last_cxid = txn.header.cxid;
  if (!is_attach(txn)) return;
  session = attached(session, txn.header.cxid, txn.header.zxid);
}

// A znode came without its ACL, and here is the txn that made it.
void Tree::note_acl(NodeId id, const AclList& acl) {
  if (without_acl_.erase(id) == 0) return;
  acls_.let_go(std::exchange(mutable_node(id).acl, acls_.hold(acl)));
}

std::string Tree::path_without_acl() const {
  return without_acl_.empty() ? std::string() : path_of(node(*without_acl_.begin()));
}

void Tree::apply_op(const TxnHeader& header, OpCode type, const OpBody& body, OpOutcome& outcome,
                    std::vector<Change>* changes) {
  outcome.type = type;
  if (const auto* create = std::get_if<CreateTxn>(&body)) {
    outcome.error = apply_create(header, type, *create, outcome, changes);
  } else if (const auto* remove = std::get_if<DeleteTxn>(&body)) {
    outcome.error = apply_delete(header, remove->path, changes);
  } else if (const auto* set_data = std::get_if<SetDataTxn>(&body)) {
    outcome.error = apply_set_data(header, *set_data, outcome, changes);
  } else if (const auto* set_acl = std::get_if<SetAclTxn>(&body)) {
    outcome.error = apply_set_acl(header, *set_acl, outcome, changes);
  } else if (const auto* error = std::get_if<ErrorTxn>(&body)) {
    outcome.error = error->error;
  }
}

Error Tree::apply_create(const TxnHeader& header, OpCode type, const CreateTxn& txn,
                         OpOutcome& outcome, std::vector<Change>* changes) {
  outcome.path = txn.path;
  NodeId parent_id = find_id(parent_path(txn.path));
  if (parent_id == kNoNodeId) return Error::kNoNode;
  before_change(parent_id);
  ZNode& parent = mutable_node(parent_id);
  NodeId existing = parent.children.find(base_name(txn.path), name_of());
  if (existing == kNoNodeId || type == OpCode::kCreate) {
    int32_t cversion = txn.parent_cversion == -1 ? parent.stat.cversion + 1 : txn.parent_cversion;
    if (cversion > parent.stat.cversion) {
      take_off_digest(parent_id);
      parent.stat.cversion = cversion;
      parent.stat.pzxid = header.zxid;
      parent.times.children_ms = header.time_ms;
      put_on_digest(parent_id, parent_path(txn.path));
    }
  }
  if (existing != kNoNodeId) {
    note_acl(existing, txn.acl);
    return Error::kNodeExists;
  }

  NodeStat stat;
  stat.czxid = stat.mzxid = stat.pzxid = header.zxid;
  stat.ctime_ms = stat.mtime_ms = header.time_ms;
  if (type == OpCode::kCreateContainer) {
    stat.owner = kContainerOwner;
  } else if (type == OpCode::kCreateTtl) {
    stat.owner = ttl_owner(txn.ttl_ms);
  } else if (txn.ephemeral) {
    stat.owner = header.session.value;
  }
  NodeId id =
      attach(parent_id, base_name(txn.path), stat, to_bytes(txn.data), acls_.intern(txn.acl));
  note_quota_znode(txn.path, true);
  add_usage(txn.path, 1, static_cast<int64_t>(node(id).data.size()));
  outcome.stat = stat_of(node(id));
  append_change(changes, ChangeType::kCreated, txn.path, header.zxid, node(id), parent.acl);
  return Error::kOk;
}

Error Tree::apply_delete(const TxnHeader& header, std::string_view path,
                         std::vector<Change>* changes) {
  NodeId parent_id = find_id(parent_path(path));
  if (parent_id == kNoNodeId || path == "/") return Error::kNoNode;
  before_change(parent_id);
  ZNode& parent = mutable_node(parent_id);
  if (header.zxid > parent.stat.pzxid) {
    take_off_digest(parent_id);
    parent.stat.pzxid = header.zxid;
    parent.times.children_ms = header.time_ms;
    put_on_digest(parent_id, parent_path(path));
  }
  NodeId id = parent.children.find(base_name(path), name_of());
  if (id == kNoNodeId) return Error::kNoNode;
  before_change(id);
  append_change(changes, ChangeType::kDeleted, path, header.zxid, node(id), parent.acl,
                node(id).data);
  auto bytes = static_cast<int64_t>(node(id).data.size());
  detach(id);
  note_quota_znode(path, false);
  add_usage(path, -1, -bytes);
  return Error::kOk;
}

Error Tree::apply_set_data(const TxnHeader& header, const SetDataTxn& txn, OpOutcome& outcome,
                           std::vector<Change>* changes) {
  NodeId id = find_id(txn.path);
  if (id == kNoNodeId) return Error::kNoNode;
  before_change(id);
  ZNode& subject = mutable_node(id);
  take_off_digest(id);
  auto old_bytes = static_cast<int64_t>(subject.data.size());
  data_bytes_ -= subject.data.size();
  Bytes before = std::exchange(subject.data, to_bytes(txn.data));
  data_bytes_ += subject.data.size();
  add_usage(txn.path, 0, static_cast<int64_t>(subject.data.size()) - old_bytes);
  subject.stat.mzxid = header.zxid;
  subject.stat.mtime_ms = header.time_ms;
  subject.stat.version = txn.version;
  put_on_digest(id, txn.path);
  outcome.stat = stat_of(subject);
  append_change(changes, ChangeType::kDataChanged, txn.path, header.zxid, subject, 0,
                std::move(before));
  return Error::kOk;
}

Error Tree::apply_set_acl(const TxnHeader& header, const SetAclTxn& txn, OpOutcome& outcome,
                          std::vector<Change>* changes) {
  NodeId id = find_id(txn.path);
  if (id == kNoNodeId) return Error::kNoNode;
  before_change(id);
  ZNode& subject = mutable_node(id);
  take_off_digest(id);
  subject.stat.aversion = txn.version;
  subject.times.acl_ms = header.time_ms;
  AclTable::Number before = std::exchange(subject.acl, acls_.hold(txn.acl));
  acls_.let_go(before);
  without_acl_.erase(id);
  put_on_digest(id, txn.path);
  outcome.stat = stat_of(subject);
  append_change(changes, ChangeType::kAclChanged, txn.path, header.zxid, subject, 0);
  return Error::kOk;
}

void Tree::apply_multi(const TxnHeader& header, const MultiTxn& multi, Outcome& outcome,
                       std::vector<Change>* changes) {
  bool failed = multi.failed();
  for (const Op& op : multi.ops) {
    OpOutcome& result = outcome.ops.emplace_back();
    result.type = op.type;
    if (!failed) {
      apply_op(header, op.type, op.body, result, changes);
    } else if (op.type == OpCode::kError) {
      result.error = std::get<ErrorTxn>(op.body).error;
    } else {
      result.type = OpCode::kError;
    }
    if (outcome.error == Error::kOk) outcome.error = result.error;
  }
}

void Tree::apply_close_session(const TxnHeader& header, const CloseSessionTxn& txn,
                               std::vector<Change>* changes) {
  sessions_.erase(header.session);
  for (std::string_view path : txn.paths) apply_delete(header, path, changes);
  // The list is complete; what it lacks can only come from a log without lists (3.5).
  for (const std::string& path : ephemerals_of(header.session)) {
    apply_delete(header, path, changes);
  }
}

}  // namespace zabfs::tree
