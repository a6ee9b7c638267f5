#include "fsd/fuse/replay_feed.h"

#include <cerrno>
#include <utility>

#include "fsd/view/contenders.h"
#include "tree/path.h"

namespace zabfs::fsd {

// ---- what is to be done

// The kernel holds the name now, if it holds it at all: the tree is about to change.
void ReplayFeed::note_op(Replay type, std::string_view path) {
  if (is_hidden(path)) return;
  ReplayOp op;
  op.type = type;
  op.path = std::string(path);
  if (!hold(op)) return;
  const tree::Tree& tree = service_.replica().tree();
  if (const tree::ZNode* node = tree.find(path)) {
    if (is_unlisted(*node)) return;  // so nobody hears of it
    op.kind = reader_.view(tree, *node, op.path).kind;
  }
  ops_.push_back(std::move(op));
}

void ReplayFeed::note_again(Replay type, std::string_view path, size_t size) {
  if (is_hidden(path)) return;
  ReplayOp& op = ops_.emplace_back();
  op.type = type;
  op.path = std::string(path);
  op.size = size;
}

void ReplayFeed::note_own(const tree::Txn& txn) {
  for_each_op(txn, [&](const auto& op) {
    using T = std::decay_t<decltype(op)>;
    if constexpr (std::is_same_v<T, tree::SetDataTxn>) {
      note_again(Replay::kCommit, op.path, op.data.value_or("").size());
    }
  });
}

void ReplayFeed::note_rename(const RenameSeen& rename) {
  size_t before = ops_.size();
  note_op(Replay::kRename, rename.from);
  KernelNode to_parent = nodes_.held(std::string(tree::parent_path(rename.to)));
  if (ops_.size() == before && to_parent != 0) {
    ops_.emplace_back().type = Replay::kRename;
    ops_.back().path = rename.from;
  }
  if (ops_.size() == before) return;
  ops_.back().to = rename.to;
  ops_.back().to_parent = to_parent;
}

void ReplayFeed::note(const tree::Txn& txn, const std::optional<RenameSeen>& rename) {
  if (!is_on_) return;
  if (writes_.is_native(txn)) return note_own(txn);
  if (rename) return note_rename(*rename);
  for_each_op(txn, [&](const auto& op) {
    using T = std::decay_t<decltype(op)>;
    if constexpr (std::is_same_v<T, tree::CreateTxn>) {
      bool is_listed =
          !op.ephemeral || !is_unlisted(tree::base_name(op.path), op.data.value_or(""));
      if (is_listed) note_op(Replay::kCreate, op.path);
    } else if constexpr (std::is_same_v<T, tree::DeleteTxn>) {
      note_op(Replay::kDelete, op.path);
    } else if constexpr (std::is_same_v<T, tree::SetDataTxn>) {
      note_again(Replay::kModify, op.path, op.data.value_or("").size());
    } else if constexpr (std::is_same_v<T, tree::SetAclTxn>) {
      note_again(Replay::kAttributes, op.path, 0);
    } else if constexpr (std::is_same_v<T, tree::CloseSessionTxn>) {
      for (const std::string& path : service_.replica().tree().ephemerals_of(txn.header.session)) {
        note_op(Replay::kDelete, path);
      }
    }
  });
}

// What the kernel holds of the name and its directory; false if nothing.
bool ReplayFeed::hold(ReplayOp& op) const {
  op.parent = nodes_.held(std::string(tree::parent_path(op.path)));
  op.self = nodes_.held(op.path);
  return op.parent != 0 || op.self != 0;
}

void ReplayFeed::queue() {
  const tree::Tree& tree = service_.replica().tree();
  for (ReplayOp& op : std::exchange(ops_, {})) {
    if (is_repeatable(op.type) && (replayer_.absorb(op) || !hold(op))) continue;
    if (op.type != Replay::kDelete) {
      const tree::ZNode* node = tree.find(op.type == Replay::kRename ? op.to : op.path);
      if (node != nullptr) {  // else it is gone again in the same batch
        View shown = reader_.view(tree, *node, op.path);
        op.kind = shown.kind;
        op.size = shown.size;
      }
    }
    if (is_data(op.type) && op.kind != tree::Kind::kFile) continue;
    replayer_.queue(std::move(op));
  }
}

// ---- how the helper is answered

std::optional<ReplayOp> ReplayFeed::current(KernelNode parent, const std::string& name) const {
  std::optional<Node> node = nodes_.find(parent);
  if (!node) return std::nullopt;
  return replayer_.current(tree::join_path(node->path, name));
}

bool ReplayFeed::lookup(const RequestPtr& request, const std::string& path) {
  std::optional<ReplayOp> op = replayer_.current(path);
  if (!op) return false;
  bool is_source = path == op->path;
  if (op->type == Replay::kCreate || (op->type == Replay::kRename && !is_source)) {
    request->reply(ENOENT);
    return true;
  }
  if (op->type == Replay::kDelete) {
    reply_gone(request, *op, op->self);
  } else if (op->type == Replay::kRename) {
    reply_replayed(request, *op, op->to);
  } else {
    return false;
  }
  return true;
}

// A name that is gone by now, as something to be deleted.
void ReplayFeed::reply_gone(const RequestPtr& request, const ReplayOp& op, KernelNode before) {
  View gone;
  gone.kind = op.kind;
  gone.mode = 0600;
  gone.ino = tree::inode_number(tree::Zxid{-1}, op.path);
  fuse_entry_param entry = {};
  entry.ino = nodes_.look_up_gone(before, op.path, op.kind);
  entry.attr = stat_of(gone);
  request->reply_entry(entry);
}

// What the operation made, if it is still there and of that kind.
void ReplayFeed::reply_replayed(const RequestPtr& request, const ReplayOp& op,
                                const std::string& path) {
  fuse_entry_param entry = {};
  bool found = reader_.read([&](const tree::Tree& tree) {
    const tree::ZNode* node = tree.find(path);
    return node != nullptr && reader_.view(tree, *node, path).kind == op.kind &&
           answers_.fill_entry(tree, path, true, entry);
  });
  if (!found) return reply_gone(request, op, 0);
  entry.entry_timeout = 0;
  request->reply_entry(entry);
}

void ReplayFeed::made(const RequestPtr& request, KernelNode parent, const std::string& name) {
  std::optional<ReplayOp> op = current(parent, name);
  if (!op || op->type != Replay::kCreate) return static_cast<void>(request->reply(EPERM));
  reply_replayed(request, *op, op->path);
}

void ReplayFeed::confirm(const RequestPtr& request, Replay type, KernelNode parent,
                         const std::string& name) {
  std::optional<ReplayOp> op = current(parent, name);
  request->reply(op && op->type == type ? 0 : EPERM);
}

}  // namespace zabfs::fsd
