// The faults of a run: a plan made from the seed before it starts, so that a failing run can be
// shrunk by leaving faults out (simulate.cc), and what carries it out.
//
// Some faults would be too many: losing more disks than a quorum can spare is loss by design. The
// injector counts, and leaves those out (ZAB.md section 3).
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "sim/world.h"

namespace zabfs::sim {

enum class FaultKind {
  kCrash,
  kCrashInIo,  // in the middle of some write, sync or rename
  kPowerLoss,  // of all nodes
  kPause,      // of the process, as SIGSTOP
  kDeaf,       // of its timers and network alone
  kSlowDisk,
  kIsolate,  // one node from all others
  kSplit,    // into two halves
  kOneWay,   // what one node sends is lost
  kFlap,     // a link that comes and goes
  kStall,    // a link that delivers late
  kReset,    // of connections
  kClockJump,
  kSyncFails,
  kDiskFull,
  kWipe,
  kRot,            // a byte of some file, at rest
  kBadSector,      // the same, but the disk says so
  kRotEverywhere,  // single txns, each another one at each node
  kSuspend,        // of the machine: its clock jumps, its timers come late
  kLateTimers,
  kHang,       // a disk that takes seconds for a sync
  kLastWords,  // a leader cut off with followers that have just crashed, whose words are under way
  kMiselection,  // whoever looks takes the same node for elected, although it may know less
};
inline constexpr int kFaultKinds = static_cast<int>(FaultKind::kMiselection) + 1;
const char* fault_name(FaultKind kind);

struct Fault {
  int64_t at_us = 0;
  FaultKind kind = FaultKind::kCrash;
  uint64_t node = 0;  // taken modulo the nodes
  uint64_t other = 0;
  int64_t duration_us = 0;
  uint64_t detail = 0;
};

// Until `dense_until_us` they follow each other quickly.
std::vector<Fault> plan_faults(uint64_t seed, int64_t from_us, int64_t dense_until_us,
                               int64_t until_us);
std::string describe(const Fault& fault, size_t nodes);

class Faults {
 public:
  explicit Faults(World& world) : world_(world) {}

  void schedule(const std::vector<Fault>& plan);
  // Ends all of them, and starts every node.
  void end_all();
  const std::map<FaultKind, uint64_t>& struck() const { return struck_; }

 private:
  void strike(const Fault& fault);
  void revive(SimNode& node, int64_t delay_us);
  void cut_between(const std::vector<SimNode*>& left, const std::vector<SimNode*>& right,
                   bool both_ways, int64_t duration_us);
  void flap(SimNode& a, SimNode& b, int times, int64_t period_us);
  void fill_disk(SimNode& node, uint64_t detail, int64_t duration_us);
  void cut_off_with_last_words(SimNode& leader, const Fault& fault);
  void ask_barrier(SimNode& node);
  void duel(std::vector<SimNode*> three);
  void miselect(SimNode& chosen, uint64_t detail);
  void forge_elections(SimNode& chosen, uint64_t believers, int times);
  void forge_votes(SimNode& to, SimNode& chosen);
  bool is_reconfigured() const;
  bool may_lose(const SimNode& node) const;
  bool damage_some_file(SimNode& node, uint64_t detail, bool readable);
  bool rot_everywhere(uint64_t detail);

  World& world_;
  int64_t forged_round_ = 1'000'000;
  std::map<FaultKind, uint64_t> struck_;
};

}  // namespace zabfs::sim
