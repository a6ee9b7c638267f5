// What must hold after every step of every node (ZAB.md section 1), and what clients were promised.
//
// The order in which txns first became visible anywhere is the one order that everybody must agree
// with: nodes in what they apply, clients in what they are told. So linearizability needs no
// search: an operation took effect at its zxid, and all that is to be checked is that no zxid
// contradicts what anybody knew when the operation began.
#pragma once

#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "consensus/replica.h"

namespace zabfs::sim {

// A broken invariant. The runner prints the seed with it.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Who asks at a mount.
inline constexpr const char* kMountProgram = "sim";
inline uint32_t uid_of_mount(tree::ServerId node) { return 1'000U + tree::server_byte(node); }

class Invariants {
 public:
  // ---- nodes
  // One established leader an epoch; epochs in order; applied only what is in the log.
  void check_node(tree::ServerId id, const consensus::Replica& replica);
  // A node has a quorum's promises for an epoch: no other ever has them.
  void leads(tree::ServerId id, uint32_t epoch);
  // A leader proposes these bytes: a zxid names one txn for good, committed or not.
  void broadcast(tree::ServerId id, tree::Zxid zxid, uint32_t sum);
  // A node makes `txn` visible: every node does so in one order, and no request twice.
  void applied(tree::ServerId id, const tree::Txn& txn);
  // Whose a session is: its client's address. A txn in it that says where it came from says that.
  void is_at(tree::SessionId session, std::string address) {
    addresses_[session] = std::move(address);
  }
  // After a batch: trees that stand at the same zxid are the same.
  void tree_at(tree::ServerId id, const tree::Tree& tree);
  // A node starts, or takes over a snapshot, at this zxid.
  void starts_at(tree::ServerId id, tree::Zxid zxid);
  // At the end: one configuration everywhere, in force and in the tree.
  void check_configuration(tree::ServerId id, const consensus::Replica& replica);
  // After sessions ended: no ephemeral without its session.
  void check_ephemerals(tree::ServerId id, const tree::Tree& tree);

  // ---- clients
  // The newest zxid that some client has been told of: what begins now comes after it.
  tree::Zxid known() const { return known_; }
  void told(tree::Zxid zxid) { known_ = std::max(known_, zxid); }
  // A write was answered with success; `known_before` is `known()` when it began.
  void acknowledged(tree::SessionId session, int32_t cxid, const tree::Outcome& outcome,
                    tree::Zxid known_before);
  // The same, in whichever session it was done.
  void acknowledged(const tree::Outcome& outcome, tree::Zxid known_before);
  // A conditional write was answered with "another version".
  void refused(const std::string& path, int32_t expected, const tree::Outcome& outcome);
  // The version of a znode that is only ever written, as of `zxid`.
  int32_t version_at(const std::string& path, tree::Zxid zxid) const;

  // Appends of unique tokens: every acknowledged one is in the tree once, others at most once.
  void attempted(const std::string& token) { attempted_.insert(token); }
  void acknowledged(const std::string& token) { acknowledged_.insert(token); }
  void check_tokens(const tree::Tree& tree, const char* when) const;

  size_t acknowledged_count() const { return acknowledged_count_; }
  size_t committed_count() const { return order_.size(); }

 private:
  struct Applied {
    tree::Zxid zxid;
    tree::SessionId session;
    int32_t cxid;
    tree::OpCode type;
    int64_t time_ms;
    uint32_t origin;  // CRC of what is behind its end: who made it
  };
  struct Version {
    tree::Zxid zxid;
    int32_t version;
  };
  void first_applied(const tree::Txn& txn);
  void check_origin(const tree::Txn& txn) const;

  std::map<uint32_t, tree::ServerId> leader_of_epoch_;
  std::string configuration_;
  int64_t ensemble_ = 0;
  std::vector<Applied> order_;                 // as first applied by anybody
  std::unordered_map<int64_t, size_t> index_;  // by zxid
  std::unordered_map<int64_t, size_t> next_;   // by node: what it has to apply next
  std::unordered_map<int64_t, int64_t> digests_;
  std::unordered_map<int64_t, uint32_t> broadcast_;
  std::set<std::pair<tree::SessionId, int32_t>> effects_;
  std::unordered_map<tree::SessionId, int32_t> last_cxids_;  // that took effect
  std::map<std::string, std::vector<Version>, std::less<>> versions_;
  std::unordered_map<tree::SessionId, std::string> addresses_;
  tree::Zxid known_;
  std::set<std::string> attempted_, acknowledged_;
  size_t acknowledged_count_ = 0;
};

}  // namespace zabfs::sim
