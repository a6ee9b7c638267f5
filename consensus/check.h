// Reads a stopped node's data and says what is there and what is damaged: `zabfs check DIR`.
#pragma once

#include <string>
#include <vector>

#include "consensus/disk.h"

namespace zabfs::consensus {

struct CheckResult {
  std::vector<std::string> found;   // for people, one line a thing
  std::vector<std::string> damage;  // file, offset, what is wrong; empty: all is well
};

// Changes nothing. All of the files are read.
CheckResult check_storage(Disk& log_disk, Disk& snapshot_disk);

}  // namespace zabfs::consensus
