#include "sim/invariants.h"

#include <fmt/format.h>

namespace zabfs::sim {

using consensus::Role;
using tree::ServerId;
using tree::Zxid;

void Invariants::check_node(ServerId id, const consensus::Replica& replica) {
  const consensus::Zab& zab = replica.zab();
  if (zab.role() == Role::kLeading && zab.is_serving()) {
    auto [place, added] = leader_of_epoch_.try_emplace(zab.epoch(), id);
    if (!added && place->second != id) {
      throw Violation(fmt::format("epoch {} has two leaders, {} and {}", zab.epoch(),
                                  place->second.value, id.value));
    }
  }
  const consensus::ZabState& state = zab.state();
  if (state.current_epoch > state.accepted_epoch) {
    throw Violation(fmt::format("node {}: current epoch {} above accepted {}", id.value,
                                state.current_epoch, state.accepted_epoch));
  }
  if (replica.tree().last_zxid() > state.history.last() && zab.role() != Role::kSettling) {
    throw Violation(fmt::format("node {}: applied 0x{:x} beyond its log 0x{:x}", id.value,
                                replica.tree().last_zxid().value, state.history.last().value));
  }
}

void Invariants::starts_at(ServerId id, Zxid zxid) {
  if (zxid == Zxid{}) {
    next_[id] = 0;
    return;
  }
  auto place = index_.find(zxid);
  if (place == index_.end()) {
    throw Violation(
        fmt::format("node {} starts at 0x{:x}, which nobody committed", id.value, zxid.value));
  }
  next_[id] = place->second + 1;
}

void Invariants::applied(ServerId id, const tree::Txn& txn, const std::string& fingerprint) {
  Zxid zxid = txn.header.zxid;
  size_t& next = next_[id];
  if (next == order_.size()) {
    if (!order_.empty() && zxid <= order_.back().first) {
      throw Violation(fmt::format("node {} applies 0x{:x} after 0x{:x}", id.value, zxid.value,
                                  order_.back().first.value));
    }
    index_[zxid] = order_.size();
    order_.emplace_back(zxid, fingerprint);
  } else if (order_[next].first != zxid || order_[next].second != fingerprint) {
    throw Violation(fmt::format("node {} applies 0x{:x} where others applied 0x{:x}{}", id.value,
                                zxid.value, order_[next].first.value,
                                order_[next].first == zxid ? " with other contents" : ""));
  }
  ++next;
}

void Invariants::tree_at(ServerId id, const tree::Tree& tree) {
  if (!tree.digest_agrees()) {
    throw Violation(fmt::format("node {}: its tree's digest is not the leader's at 0x{:x}",
                                id.value, tree.last_zxid().value));
  }
  auto [place, added] = digests_.try_emplace(tree.last_zxid(), tree.digest());
  if (!added && place->second != tree.digest()) {
    throw Violation(fmt::format("node {}: another tree than others at 0x{:x}", id.value,
                                tree.last_zxid().value));
  }
}

void Invariants::check_tokens(const tree::Tree& tree, const std::set<std::string>& must,
                              const char* when) {
  std::map<std::string, int> found;
  tree.for_each_child(tree.root(), [&](const tree::ZNode& node) {
    std::string_view data = node.data.view();
    while (!data.empty()) {
      size_t end = data.find('\n');
      if (end == std::string_view::npos) {
        throw Violation(fmt::format("{}: a torn line in {}", when, node.name.view()));
      }
      ++found[std::string(data.substr(0, end))];
      data.remove_prefix(end + 1);
    }
  });
  for (const auto& [token, count] : found) {
    if (count > 1) throw Violation(fmt::format("{}: {} is there {} times", when, token, count));
    if (!attempted_.contains(token)) throw Violation(fmt::format("{}: unknown {}", when, token));
  }
  for (const std::string& token : must) {
    if (!found.contains(token)) {
      throw Violation(fmt::format("{}: acknowledged {} is lost", when, token));
    }
  }
}

}  // namespace zabfs::sim
