// The facts of a node: of its replica and of its process, looked up at the moment of the call.
//
// The control room and the client port both tell them, so they are looked up here and nowhere else.
// `node_facts` is called on the strand; it costs the same for any number of znodes and sessions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "consensus/replica.h"
#include "fsd/facts/fact.h"
#include "tree/types.h"

namespace zabfs::fsd {

struct NodeFacts {
  std::string state;  // ZooKeeper's word: standalone, leader, follower, observer
  bool serving = false;
  bool leads = false;  // it serves as the leader; a node that is alone does, too
  uint32_t epoch = 0;
  tree::Zxid zxid;  // the last transaction that was applied
  size_t znodes = 0, sessions = 0, data_bytes = 0;
  size_t pending = 0;        // writes of this node under way
  size_t quorum_size = 0;    // voters of the ensemble
  size_t synced_voters = 0;  // at the leader: those it has with it, itself included
  bool disk_full = false;
};

NodeFacts node_facts(const consensus::Replica& replica);

struct ProcessFacts {
  uint64_t resident_bytes = 0;
  double cpu_seconds = 0;
};

ProcessFacts process_facts();

uint64_t open_file_count();
uint64_t max_file_count();

// What `@/metrics` tells of them.
std::vector<Metric> node_metrics(const NodeFacts& node, const ProcessFacts& process);

}  // namespace zabfs::fsd
