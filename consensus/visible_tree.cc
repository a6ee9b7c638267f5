#include "consensus/visible_tree.h"

#include <optional>
#include <utility>

#include "tree/txn.h"

namespace zabfs::consensus {

void VisibleTree::set_configuration(std::string_view text) {
  WriterLock lock(mutex_);
  tree_->set_configuration(text);
}

void VisibleTree::show(std::shared_ptr<tree::Tree> tree) {
  {
    WriterLock lock(mutex_);
    std::swap(tree_, tree);  // the old one goes when the lock is free
  }
  applied_ = get().last_zxid();
  doubt_.clear();
}

std::shared_ptr<tree::Tree> VisibleTree::show_staged(const std::deque<LogTxn>& txns) {
  std::vector<tree::Txn> missing;
  for (const LogTxn& txn : txns) {
    if (txn.zxid > applied_) break;
    std::optional<tree::Txn> decoded = tree::decode_txn(*txn.txn);
    if (!decoded) return nullptr;
    if (txn.zxid > staged_->last_zxid()) missing.push_back(std::move(*decoded));
  }
  for (const tree::Txn& txn : missing) staged_->apply(txn, nullptr);
  std::shared_ptr<tree::Tree> tree = std::exchange(staged_, nullptr);
  {
    WriterLock lock(mutex_);
    std::swap(tree_, tree);
  }
  applied_ = get().last_zxid();
  doubt_.clear();
  return tree;
}

std::shared_ptr<VisibleTree::Walk> VisibleTree::begin_walk() {
  WriterLock lock(mutex_);
  return std::shared_ptr<Walk>(new Walk(*this, tree_));
}

}  // namespace zabfs::consensus
