// What a migration took of Apache ZooKeeper's: out of a stopped server's files, or of a running
// ensemble.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tree/java_replay.h"
#include "tree/tree.h"

namespace zabfs::migrate {

struct JavaData {
  std::unique_ptr<tree::Tree> tree;
  uint32_t current_epoch = 0, accepted_epoch = 0;
  uint64_t txns = 0, digests = 0;
  size_t removed_ephemerals = 0;
  std::vector<std::string> notes;  // what is worth telling, a line each
  // What is wrong with it, a line each: something may be missing.
  std::vector<std::string> doubts;
};

// Moves the tree of a replay that has ended into `data`, with what the replay found.
void take_replay(tree::JavaReplay& replay, JavaData& data);

}  // namespace zabfs::migrate
