// The facts of a node: of its replica and of its process, looked up at the moment of the call.
//
// The control room, the client port and the admin port tell them, so they are looked up here and
// nowhere else. All that takes a replica is called on the strand; it costs the same for any number
// of znodes and sessions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "consensus/replica.h"
#include "fsd/facts/metric.h"
#include "tree/types.h"

namespace zabfs::fsd {

// Of a leader alone: who is with it.
struct LeaderFacts {
  uint64_t learners = 0, synced_followers = 0, synced_non_voting_followers = 0,
           synced_observers = 0;
};

struct NodeFacts {
  std::string state;       // ZooKeeper's word: standalone, leader, follower, observer
  std::string peer_state;  // the same in full, of a member of an ensemble: "leading - broadcast"
  bool serving = false;
  bool leads = false;  // it serves as the leader; a node that is alone does, too
  uint32_t epoch = 0;
  tree::Zxid zxid;  // the last transaction that was applied
  size_t znodes = 0, sessions = 0, data_bytes = 0;
  size_t pending = 0;        // writes of this node under way
  size_t quorum_size = 0;    // voters of the ensemble
  size_t synced_voters = 0;  // at the leader: those it has with it, itself included
  LeaderFacts leader;
  consensus::Sizes proposal_bytes;  // of a leader's
  bool disk_full = false;
};

NodeFacts node_facts(const consensus::Replica& replica);

struct ProcessFacts {
  uint64_t resident_bytes = 0;
  double cpu_seconds = 0;
  double start_seconds = 0;  // since 1970
};

ProcessFacts process_facts();

uint64_t open_file_count();
uint64_t max_file_count();

// Sources of the registry.
void add_node_metrics(const consensus::Replica& replica, Metrics& into);
void add_process_metrics(Metrics& into);
// Of the disk that the directory is on: what is free for this process, and all of it.
void add_disk_metrics(const std::string& directory, Metrics& into);

}  // namespace zabfs::fsd
