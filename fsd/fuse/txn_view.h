// What a mount sees in transactions that are about to become visible.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tree/tree.h"
#include "tree/txn.h"

namespace zabfs::fsd {

// A rename, as its txn shows it: a multi that makes a copy and removes the original, or one that
// gives a file another's data and removes that. Handles follow it. An exchange puts one aside, and
// all versions begin with 0.
struct RenameSeen {
  std::string from, to;
  int32_t version = 0;  // of `to` by then; what is below it begins with 0
  std::string aside{};  // of an exchange; empty for others
  bool is_exchange() const { return !aside.empty(); }
};

// A batch of committed txns, while the tree is as it was before them all.
class TxnBatch {
 public:
  TxnBatch(const std::vector<tree::Txn>& txns, const tree::Tree& tree) : txns_(txns), tree_(tree) {}

  // Whether txn `n` of the batch is a rename. To be asked with rising `n`.
  std::optional<RenameSeen> rename_in(size_t n);

 private:
  // What a znode's data is before that txn; it exists then.
  std::string_view data_before(size_t n, std::string_view path);
  std::optional<RenameSeen> exchange_in(size_t n, const tree::MultiTxn& multi);

  const std::vector<tree::Txn>& txns_;
  const tree::Tree& tree_;
  size_t looked_through_ = 0;
  std::map<std::string_view, std::string_view>
      written_;  // path to data, by the txns looked through
};

// Calls `visit` with the body of each operation that takes effect.
template <class Visit>
void for_each_op(const tree::Txn& txn, const Visit& visit) {
  if (const auto* multi = std::get_if<tree::MultiTxn>(&txn.body)) {
    if (multi->failed()) return;
    for (const tree::Op& op : multi->ops) std::visit(visit, op.body);
  } else {
    std::visit(visit, txn.body);
  }
}

}  // namespace zabfs::fsd
