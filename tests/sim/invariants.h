// What must hold after every step of every node (ZAB.md section 1), and what clients were promised.
#pragma once

#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "consensus/replica.h"

namespace zabfs::sim {

// A broken invariant. The runner prints the seed with it.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Invariants {
 public:
  // One established leader an epoch; order of epochs; applied <= min(committed, durable).
  void check_node(tree::ServerId id, const consensus::Replica& replica);
  // A node makes `txn` visible: every node does so in one order, and with the same bytes.
  void applied(tree::ServerId id, const tree::Txn& txn, const std::string& fingerprint);
  // After a batch: trees that stand at the same zxid are the same.
  void tree_at(tree::ServerId id, const tree::Tree& tree);
  // A node starts, or takes over a snapshot, at this zxid.
  void starts_at(tree::ServerId id, tree::Zxid zxid);

  // The clients' side: appends of unique tokens.
  void acknowledged(const std::string& token) { acknowledged_.insert(token); }
  void attempted(const std::string& token) { attempted_.insert(token); }
  std::set<std::string> acknowledged_now() const { return acknowledged_; }
  // Every acknowledged token is in the tree once, every other one at most once.
  void check_tokens(const tree::Tree& tree, const std::set<std::string>& must, const char* when);
  size_t acknowledged_count() const { return acknowledged_.size(); }
  size_t committed_count() const { return order_.size(); }

 private:
  std::map<uint32_t, tree::ServerId> leader_of_epoch_;
  std::vector<std::pair<tree::Zxid, std::string>> order_;  // as first applied by anybody
  std::map<tree::Zxid, size_t> index_;
  std::map<tree::ServerId, size_t> next_;  // what a node has to apply next, as an index
  std::map<tree::Zxid, int64_t> digests_;
  std::set<std::string> attempted_, acknowledged_;
};

}  // namespace zabfs::sim
