// Which of the bugs in mutants.txt is put back. Only `simulate_mutants` has any.
#pragma once

#include <vector>

namespace zabfs::sim {

extern int active_mutant;  // 0: none; set before anything runs

struct MutantInfo {
  const char* name;
  const char* rule;  // that it breaks
};
// The first has the number 1.
const std::vector<MutantInfo>& mutants();

}  // namespace zabfs::sim
