// One run of the simulator: an ensemble from a seed, under a plan of faults, then healed.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sim/faults.h"

namespace zabfs::sim {

struct RunOptions {
  uint64_t seed = 1;
  size_t voters = 0;  // 0: 1 to 7 by the seed
  std::optional<size_t> observers;
  int64_t seconds = 20;  // of faults
  bool trace = false;
  std::optional<std::vector<size_t>> only;  // faults of the plan; all if not given
};

struct Totals {
  uint64_t seeds = 0, events = 0, committed = 0, acknowledged = 0, locks = 0;
  double simulated_seconds = 0;
  std::map<FaultKind, uint64_t> faults;
  void add(const Totals& other);
};

struct RunResult {
  std::string violation;  // empty: none
  int64_t violated_at_us = 0;
  std::deque<std::string> last_lines;
  std::vector<Fault> plan;
  size_t nodes = 0;
  Totals totals;
};

RunResult run_seed(const RunOptions& options);

}  // namespace zabfs::sim
