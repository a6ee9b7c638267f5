#include "fsd/fuse/txn_view.h"

#include "tree/path.h"

namespace zabfs::fsd {

std::optional<RenameSeen> find_rename(const tree::MultiTxn& multi, const tree::Tree& tree) {
  if (multi.ops.size() < 2 || multi.failed()) return std::nullopt;
  const auto* last = std::get_if<tree::DeleteTxn>(&multi.ops.back().body);
  if (last == nullptr) return std::nullopt;
  const tree::ZNode* source = tree.find(last->path);
  if (source == nullptr) return std::nullopt;
  const auto* over = std::get_if<tree::SetDataTxn>(&multi.ops.front().body);
  if (over != nullptr && multi.ops.size() == 2) {
    if (over->data.value_or("") != source->data.view()) return std::nullopt;
    return RenameSeen{std::string(last->path), std::string(over->path)};
  }
  size_t creates = 0, deletes_after = 0;
  const tree::CreateTxn* top = nullptr;
  for (const tree::Op& op : multi.ops) {
    if (const auto* create = std::get_if<tree::CreateTxn>(&op.body)) {
      if (top == nullptr) top = create;
      if (deletes_after > 0 || !tree::is_within(create->path, top->path)) return std::nullopt;
      ++creates;
    } else if (const auto* remove = std::get_if<tree::DeleteTxn>(&op.body)) {
      if (top == nullptr) continue;  // of the target that is replaced
      if (!tree::is_within(remove->path, last->path)) return std::nullopt;
      ++deletes_after;
    } else {
      return std::nullopt;
    }
  }
  if (top == nullptr || creates != deletes_after) return std::nullopt;
  if (top->data.value_or("") != source->data.view()) return std::nullopt;
  return RenameSeen{std::string(last->path), std::string(top->path)};
}

}  // namespace zabfs::fsd
