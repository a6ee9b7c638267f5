#include "fsd/history/moves.h"

#include <algorithm>
#include <variant>

#include "fsd/history/access.h"
#include "tree/path.h"

namespace zabfs::fsd {

void Moves::before(const tree::Txn& txn, const tree::Tree& tree) {
  taken_.clear();
  from_.clear();
  to_.clear();
  const auto* multi = std::get_if<tree::MultiTxn>(&txn.body);
  if (multi == nullptr || multi->failed()) return;
  // What only removes moves nothing.
  bool puts = std::any_of(multi->ops.begin(), multi->ops.end(), [](const tree::Op& op) {
    return std::holds_alternative<tree::CreateTxn>(op.body) ||
           std::holds_alternative<tree::SetDataTxn>(op.body);
  });
  if (!puts) return;
  for (const tree::Op& op : multi->ops) {
    const auto* removed = std::get_if<tree::DeleteTxn>(&op.body);
    if (removed == nullptr || is_hidden(removed->path)) continue;
    std::string path(removed->path);
    const tree::ZNode* node = tree.find(path);
    if (node == nullptr) continue;  // made by this txn
    uint64_t inode = view_of(tree, *node, path, options_).ino;
    taken_[inode] = {path, above_of(tree, path, options_)};
  }
}

void Moves::after(const std::vector<tree::Change>& changes, const tree::Tree& tree) {
  if (taken_.empty()) return;
  for (const tree::Change& change : changes) {
    if (change.type == tree::ChangeType::kDeleted || is_hidden(change.path)) continue;
    const tree::ZNode* node = tree.find(change.path);
    if (node == nullptr) continue;
    auto taken = taken_.find(view_of(tree, *node, change.path, options_).ino);
    if (taken == taken_.end() || taken->second.path == change.path) continue;
    from_[change.path] = std::make_shared<const Moved>(taken->second);
    to_[taken->second.path] =
        std::make_shared<const Moved>(Moved{change.path, above_of(tree, change.path, options_)});
  }
}

std::shared_ptr<const Moved> Moves::from(const std::string& path) const {
  auto found = from_.find(path);
  return found == from_.end() ? nullptr : found->second;
}

std::shared_ptr<const Moved> Moves::to(const std::string& path) const {
  auto found = to_.find(path);
  return found == to_.end() ? nullptr : found->second;
}

std::vector<Moves::Move> Moves::topmost() const {
  std::vector<Move> moves;
  for (const auto& [path, moved] : from_) {
    auto above = from_.find(std::string(tree::parent_path(path)));
    bool goes_along = above != from_.end() &&
                      above->second->path == tree::parent_path(moved->path) &&
                      tree::base_name(path) == tree::base_name(moved->path);
    if (goes_along) continue;
    moves.push_back({moved->path, path, moved->above, to_.at(moved->path)->above});
  }
  return moves;
}

}  // namespace zabfs::fsd
