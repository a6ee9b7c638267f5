// What a znode's entry in a snapshot is made of, for all who write or read such entries.
#pragma once

#include <cstddef>

#include "tree/jute.h"
#include "tree/znode.h"

namespace zabfs::tree {

inline constexpr size_t kMaxStoredNameBytes = 65'535;  // as class Name holds

void write_node_stat(jute::Writer& out, const NodeStat& stat);  // 60 bytes

}  // namespace zabfs::tree
