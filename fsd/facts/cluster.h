// What a node knows of its ensemble and of itself, line by line: `@/cluster`, and the four-letter
// word `clus`. `zabfs status` reads it.
//
// Lines are `name value...`; `-` stands for what this node does not know. On the strand.
#pragma once

#include <string>

#include "consensus/replica.h"
#include "fsd/facts/registry.h"

namespace zabfs::fsd {

// `registry`: where connections and disks are measured; null: nowhere.
std::string cluster_text(const consensus::Replica& replica, const Registry* registry);
// A line `unreachable ID WHY` for each member to which this node has no connection.
std::string unreachable_text(const consensus::Replica& replica);
// A line `note WHAT` for each thing that is amiss, with what can be done about it.
std::string notes_text(const consensus::Replica& replica);

}  // namespace zabfs::fsd
