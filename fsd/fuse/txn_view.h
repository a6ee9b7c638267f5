// What a mount sees in a transaction that is about to become visible.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "tree/tree.h"
#include "tree/txn.h"

namespace zabfs::fsd {

// A rename, as its txn shows it: a multi that makes a copy and removes the original, or one that
// gives a file another's data and removes that. Handles follow it.
struct RenameSeen {
  std::string from, to;
};
std::optional<RenameSeen> find_rename(const tree::MultiTxn& multi, const tree::Tree& tree);

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
