// The audit lines of ephemerals that go with their session, when it is closed or expires. As with
// Java each server has them, as its own user's.
//
// On the strand.
#pragma once

#include <map>
#include <vector>

#include "consensus/replica.h"
#include "fsd/audit/audit_log.h"

namespace zabfs::fsd::audit {

class Ephemerals : public consensus::ReplicaListener {
 public:
  explicit Ephemerals(AuditLog& log) : log_(log) {}

  void before_publish(const std::vector<tree::Txn>& txns) override;
  void published(const std::vector<tree::Change>& changes) override;

 private:
  AuditLog& log_;
  std::map<tree::Zxid, tree::SessionId> closed_;  // in the batch under way
};

}  // namespace zabfs::fsd::audit
