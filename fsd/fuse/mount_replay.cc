// inotify for what other nodes do (replay.h): which changes the helper does once more, and how the
// mount answers it while it does.
#include <cerrno>
#include <utility>

#include "fsd/fuse/mount.h"
#include "tree/path.h"

namespace zabfs::fsd {

namespace {

bool is_hidden(std::string_view path) {
  return path.find("/@/") != std::string_view::npos || path.ends_with("/@");
}

}  // namespace

// ---- what is to be done, on the strand

// Before the txn is in the tree: deleted znodes are still there, created ones are not.
void Mount::note_replays(const tree::Txn& txn, const std::optional<RenameSeen>& rename) {
  if (!config_.inotify) return;
  bool ours = txn.header.session == session_.id() && native_.contains(txn.header.cxid);
  const tree::Tree& tree = service_.replica().tree();
  // What the kernel holds of a name that goes or comes, it holds now.
  auto note = [&](Replay type, std::string_view path) {
    if (is_hidden(path)) return;
    ReplayOp op;
    op.type = type;
    op.path = std::string(path);
    if (!hold(op)) return;
    if (const tree::ZNode* node = tree.find(path)) op.kind = view(tree, *node, op.path).kind;
    replays_.push_back(std::move(op));
  };
  auto note_again = [&](Replay type, std::string_view path, size_t size) {
    if (is_hidden(path)) return;
    ReplayOp& op = replays_.emplace_back();
    op.type = type;
    op.path = std::string(path);
    op.size = size;
  };
  if (ours) {
    return for_each_op(txn, [&](const auto& op) {
      using T = std::decay_t<decltype(op)>;
      if constexpr (std::is_same_v<T, tree::SetDataTxn>) {
        note_again(Replay::kCommit, op.path, op.data.value_or("").size());
      }
    });
  }
  if (rename) {
    size_t before = replays_.size();
    note(Replay::kRename, rename->from);
    KernelNode to_parent = nodes_.held(std::string(tree::parent_path(rename->to)));
    if (replays_.size() == before && to_parent != 0) {
      replays_.emplace_back().type = Replay::kRename;
      replays_.back().path = rename->from;
    }
    if (replays_.size() == before) return;
    replays_.back().to = rename->to;
    replays_.back().to_parent = to_parent;
    return;
  }
  for_each_op(txn, [&](const auto& op) {
    using T = std::decay_t<decltype(op)>;
    if constexpr (std::is_same_v<T, tree::CreateTxn>) {
      note(Replay::kCreate, op.path);
    } else if constexpr (std::is_same_v<T, tree::DeleteTxn>) {
      note(Replay::kDelete, op.path);
    } else if constexpr (std::is_same_v<T, tree::SetDataTxn>) {
      note_again(Replay::kModify, op.path, op.data.value_or("").size());
    } else if constexpr (std::is_same_v<T, tree::SetAclTxn>) {
      note_again(Replay::kAttributes, op.path, 0);
    } else if constexpr (std::is_same_v<T, tree::CloseSessionTxn>) {
      for (const std::string& path : tree.ephemerals_of(txn.header.session)) {
        note(Replay::kDelete, path);
      }
    }
  });
}

bool Mount::hold(ReplayOp& op) const {
  op.parent = nodes_.held(std::string(tree::parent_path(op.path)));
  op.self = nodes_.held(op.path);
  return op.parent != 0 || op.self != 0;
}

// The changes are in the tree.
void Mount::queue_replays() {
  const tree::Tree& tree = service_.replica().tree();
  for (ReplayOp& op : std::exchange(replays_, {})) {
    if (is_repeatable(op.type) && (replayer_.absorb(op) || !hold(op))) continue;
    if (op.type != Replay::kDelete) {
      const tree::ZNode* node = tree.find(op.type == Replay::kRename ? op.to : op.path);
      if (node != nullptr) {  // else it is gone again in the same batch
        View shown = view(tree, *node, op.path);
        op.kind = shown.kind;
        op.size = shown.size;
      }
    }
    if (is_data(op.type) && op.kind != tree::Kind::kFile) continue;
    replayer_.queue(std::move(op));
  }
}

// ---- how the helper is answered, on FUSE workers

std::optional<ReplayOp> Mount::replay_of(fuse_ino_t parent, const char* name) const {
  std::optional<Node> node = nodes_.find(parent);
  if (!node) return std::nullopt;
  return replayer_.current(tree::join_path(node->path, name));
}

// The names of the operation are as they were before it; true if answered.
bool Mount::replay_lookup(fuse_req_t req, const std::string& path) {
  std::optional<ReplayOp> op = replayer_.current(path);
  if (!op) return false;
  bool is_source = path == op->path;
  if (op->type == Replay::kCreate || (op->type == Replay::kRename && !is_source)) {
    fuse_reply_err(req, ENOENT);
    return true;
  }
  if (op->type == Replay::kDelete) {
    reply_gone(req, *op, op->self);
  } else if (op->type == Replay::kRename) {
    reply_replayed(req, *op, op->to);
  } else {
    return false;
  }
  return true;
}

// A name that is gone by now, as something to be deleted.
void Mount::reply_gone(fuse_req_t req, const ReplayOp& op, KernelNode before) {
  View gone;
  gone.kind = op.kind;
  gone.mode = 0600;
  gone.ino = inode_number(tree::Zxid{-1}, op.path);
  fuse_entry_param entry = {};
  entry.ino = nodes_.look_up_gone(before, op.path, op.kind);
  entry.attr = stat_of(gone);
  fuse_reply_entry(req, &entry);
}

// What the operation made, if it is still there and of that kind.
void Mount::reply_replayed(fuse_req_t req, const ReplayOp& op, const std::string& path) {
  fuse_entry_param entry = {};
  bool found = service_.replica().read([&](const tree::Tree& tree) {
    const tree::ZNode* node = tree.find(path);
    return node != nullptr && view(tree, *node, path).kind == op.kind &&
           fill_entry(tree, path, true, entry);
  });
  if (!found) return reply_gone(req, op, 0);
  entry.entry_timeout = 0;
  fuse_reply_entry(req, &entry);
}

// mknod, mkdir and symlink of the helper: what is there already.
void Mount::replay_made(fuse_req_t req, fuse_ino_t parent, const char* name) {
  std::optional<ReplayOp> op = replay_of(parent, name);
  if (!op || op->type != Replay::kCreate) return static_cast<void>(fuse_reply_err(req, EPERM));
  reply_replayed(req, *op, op->path);
}

}  // namespace zabfs::fsd
