#include "tree/java_replay.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <string>
#include <utility>

#include "tree/path.h"
#include "tree/snapshot_parts.h"

namespace zabfs::tree {
namespace {

std::string hex(Zxid zxid) {
  char text[2 * sizeof(uint64_t)];
  auto end = std::to_chars(text, std::end(text), static_cast<uint64_t>(zxid.value), 16).ptr;
  return "0x" + std::string(text, end);
}

}  // namespace

JavaReplay::JavaReplay(JavaSnapshot snapshot)
    : tree_(std::move(snapshot.tree)),
      snapshot_zxid_(tree_->last_zxid()),
      digest_zxid_(snapshot.digest_zxid),
      digest_(snapshot.digest),
      last_(snapshot_zxid_),
      highest_(snapshot_zxid_) {
  if (digest_ && digest_zxid_ == snapshot_zxid_) compare(snapshot_zxid_, *digest_);
}

Status JavaReplay::apply(std::string_view bytes) {
  std::optional<TxnHeader> header = decode_txn_header(bytes);
  if (!header) return Status::failed("a transaction without a whole header");
  Zxid zxid = header->zxid;
  if (applied_ == 0 && zxid <= snapshot_zxid_) return {};
  std::optional<Txn> txn = decode_txn(bytes);
  if (!txn) {
    return Status::failed("transaction " + hex(zxid) + " is of type " +
                          std::to_string(static_cast<int32_t>(header->type)) +
                          ", and has no form that ZooKeeper 3.4 to 3.9 write");
  }
  note_order(zxid);
  tree_->apply(*txn, nullptr);
  ++applied_;
  last_time_ms_ = header->time_ms;
  if (txn->digest) compare(zxid, *txn->digest);
  if (digest_ && zxid == digest_zxid_) compare(zxid, *digest_);
  return {};
}

void JavaReplay::note_order(Zxid zxid) {
  if (!zxid.follows(last_) && zxid > last_ && gaps_.size() < kMaxGaps)
    gaps_.push_back({last_, zxid});
  last_ = zxid;
  highest_ = std::max(highest_, zxid);
}

// Until the snapshot's digest is reached, digests may differ, and do so no more afterwards. So the
// last comparison decides.
void JavaReplay::compare(Zxid zxid, int64_t digest) {
  ++compared_;
  if (tree_->digest() == digest) {
    differs_since_.reset();
  } else if (!differs_since_) {
    differs_since_ = zxid;
  }
}

// The sessions that own an ephemeral, and are no more.
std::set<SessionId> JavaReplay::find_dead_sessions() const {
  std::set<SessionId> dead;
  std::vector<const ZNode*> left{&tree_->root()};
  while (!left.empty()) {
    const ZNode& node = *left.back();
    left.pop_back();
    tree_->for_each_child(node, [&left](const ZNode& child) { left.push_back(&child); });
    SessionId owner{node.stat.owner};
    if (owner_kind(owner.value) == OwnerKind::kEphemeral && !tree_->sessions().contains(owner)) {
      dead.insert(owner);
    }
  }
  return dead;
}

// An attach txn each (types.h).
void JavaReplay::mark_sessions() {
  std::vector<SessionId> all;
  for (const auto& [id, session] : tree_->sessions()) all.push_back(id);
  for (SessionId session : all) {
    Txn attach;
    attach.header = {session, 0, kNoAttachment, last_time_ms_, OpCode::kError};
    attach.body = ErrorTxn{Error::kOk};
    tree_->apply(attach, nullptr);
  }
}

Status JavaReplay::finish() {
  if (std::string without_acl = tree_->path_without_acl(); !without_acl.empty()) {
    return Status::failed("neither the snapshot nor the log has the ACL of " + without_acl);
  }
  for (SessionId session : find_dead_sessions()) {
    removed_ephemerals_ += tree_->ephemerals_of(session).size();
    Txn txn;
    txn.header = {session, 0, highest_, last_time_ms_, OpCode::kCloseSession};
    txn.body = CloseSessionTxn{};
    tree_->apply(txn, nullptr);
  }
  mark_sessions();
  tree_->find_quotas();
  tree_->note_epoch(highest_);  // Java's last zxid never falls
  return {};
}

}  // namespace zabfs::tree
