// Whether a node does its work, and who of the ensemble does not: `@/health`, `/health/ready`.
//
// A member lags when the leader has had so many more of its txns acknowledged, or told of:
// kLagTxns. Only the leader knows who is with it; it tells the nodes that follow it, twice a tick.
// On the strand.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "consensus/replica.h"

namespace zabfs::fsd {

inline constexpr uint64_t kLagTxns = 1'000;

struct Health {
  struct Lag {
    tree::ServerId id;
    uint64_t txns = 0;  // at least so many
  };

  bool serving = false;
  bool disk_full = false;  // this node's
  bool diverged = false;   // its tree
  size_t members = 0, present = 0;
  std::vector<tree::ServerId> lost;  // by the word of a leader
  std::vector<Lag> lagging;
  std::vector<std::string> notes;  // what is amiss, and what to do about it

  // Why this node can't be given work; empty: it can.
  std::string why_not_ready() const;
  bool is_whole() const { return serving && !disk_full && lost.empty() && lagging.empty(); }
};

Health health_of(const consensus::Replica& replica);

// How far `behind` is behind `ahead`, of a leader: at least so many txns.
uint64_t lag_txns(tree::Zxid ahead, tree::Zxid behind);

}  // namespace zabfs::fsd
