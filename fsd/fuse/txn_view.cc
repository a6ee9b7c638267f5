#include "fsd/fuse/txn_view.h"

#include "tree/path.h"

namespace zabfs::fsd {

std::string_view TxnBatch::data_before(size_t n, std::string_view path) {
  for (; looked_through_ < n; ++looked_through_) {
    for_each_op(txns_[looked_through_], [this](const auto& op) {
      using T = std::decay_t<decltype(op)>;
      if constexpr (std::is_same_v<T, tree::CreateTxn>) {
        written_[op.path] = op.data.value_or("");
      } else if constexpr (std::is_same_v<T, tree::SetDataTxn>) {
        written_[op.path] = op.data.value_or("");
      }
    });
  }
  auto written = written_.find(path);
  if (written != written_.end()) return written->second;
  const tree::ZNode* node = tree_.find(path);
  return node == nullptr ? std::string_view() : node->data.view();
}

// One is copied aside, the other one to its place, and the first to the other's.
std::optional<RenameSeen> TxnBatch::exchange_in(size_t n, const tree::MultiTxn& multi) {
  std::vector<const tree::CreateTxn*> tops;
  for (const tree::Op& op : multi.ops) {
    const auto* create = std::get_if<tree::CreateTxn>(&op.body);
    if (create == nullptr) continue;
    if (tops.empty() || !tree::is_within(create->path, tops.back()->path)) tops.push_back(create);
  }
  if (tops.size() != 3) return std::nullopt;
  RenameSeen seen;
  seen.aside = tops[0]->path;
  seen.to = tops[1]->path;
  seen.from = tops[2]->path;
  if (seen.aside != tree::aside_path(seen.to)) return std::nullopt;
  bool same_data = tops[0]->data.value_or("") == data_before(n, seen.to) &&
                   tops[1]->data.value_or("") == data_before(n, seen.from);
  return same_data ? std::optional(seen) : std::nullopt;
}

std::optional<RenameSeen> TxnBatch::rename_in(size_t n) {
  const auto* multi = std::get_if<tree::MultiTxn>(&txns_[n].body);
  if (multi == nullptr || multi->ops.size() < 2 || multi->failed()) return std::nullopt;
  const auto* last = std::get_if<tree::DeleteTxn>(&multi->ops.back().body);
  if (last == nullptr) return std::nullopt;
  const auto* over = std::get_if<tree::SetDataTxn>(&multi->ops.front().body);
  if (over != nullptr && multi->ops.size() == 2) {
    if (over->data.value_or("") != data_before(n, last->path)) return std::nullopt;
    return RenameSeen{std::string(last->path), std::string(over->path), over->version};
  }
  if (std::optional<RenameSeen> exchange = exchange_in(n, *multi)) return exchange;
  size_t creates = 0, deletes_after = 0;
  const tree::CreateTxn* top = nullptr;
  for (const tree::Op& op : multi->ops) {
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
  if (top->data.value_or("") != data_before(n, last->path)) return std::nullopt;
  return RenameSeen{std::string(last->path), std::string(top->path), 0};
}

}  // namespace zabfs::fsd
