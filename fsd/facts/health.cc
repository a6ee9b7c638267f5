#include "fsd/facts/health.h"

#include <fmt/format.h>

namespace zabfs::fsd {

using consensus::MemberStatus;
using consensus::Role;

std::string Health::why_not_ready() const {
  std::string why;
  if (disk_full) {
    why = "a disk of this node is full";
  } else if (diverged) {
    why = "the tree of this node differs from the leader's";
  } else if (!serving) {
    why = "this node has no quorum";
  }
  return why;
}

// Zxids of an earlier epoch say nothing of how many txns it had after them.
uint64_t lag_txns(tree::Zxid ahead, tree::Zxid behind) {
  if (behind >= ahead) return 0;
  bool is_same_epoch = ahead.epoch() == behind.epoch();
  return is_same_epoch ? ahead.counter() - behind.counter() : ahead.counter();
}

Health health_of(const consensus::Replica& replica) {
  const consensus::Zab& zab = replica.zab();
  Health health;
  health.serving = replica.is_serving();
  health.disk_full = replica.is_disk_full();
  health.diverged = !replica.divergence().empty();
  health.notes = replica.troubles();
  std::vector<MemberStatus> all = replica.member_status();
  health.members = all.size();
  bool knows = health.serving && replica.knows_members();
  tree::Zxid ahead;
  for (const MemberStatus& status : all) {
    if (status.id == zab.leader()) ahead = status.zxid;
  }
  for (const MemberStatus& status : all) {
    bool is_here = health.serving && (status.role != Role::kLooking || status.id == zab.leader());
    if (is_here) ++health.present;
    if (!knows) continue;
    if (!is_here) {
      health.lost.push_back(status.id);
    } else if (uint64_t txns = lag_txns(ahead, status.zxid); txns > kLagTxns) {
      health.lagging.push_back({status.id, txns});
    }
  }
  return health;
}

}  // namespace zabfs::fsd
