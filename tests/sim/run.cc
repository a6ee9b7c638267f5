#include "sim/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "sim/clients.h"
#include "sim/mounts.h"
#include "sim/world.h"

namespace zabfs::sim {

namespace {

constexpr int64_t kQuietStartUs = 2 * kSecondUs;
constexpr int64_t kRoughStartUs = 4 * kSecondUs;  // of faults in quick succession
constexpr int64_t kHealingUs = 120 * kSecondUs;   // a healed ensemble commits within that
constexpr int64_t kSessionsEndUs = 12 * kSecondUs;

// Ensembles of three are what people run; every size has its turn.
size_t voters_of(uint64_t seed) {
  static constexpr size_t kSizes[] = {3, 3, 5, 3, 2, 3, 4, 3, 5, 3, 1, 3, 7, 3, 6, 3};
  return kSizes[seed % std::size(kSizes)];
}

class Run {
 public:
  explicit Run(const RunOptions& options)
      : options_(options),
        world_(world_options(options)),
        faults_(world_),
        clients_(world_, static_cast<int>(2 + options.seed % 3)),
        mounts_(world_, static_cast<int>(1 + options.seed % 3)) {}

  RunResult go() {
    RunResult result;
    int64_t end_us = options_.seconds * kSecondUs;
    bool rough = world_.options().rough_start;
    result.plan = plan_faults(options_.seed, rough ? kMillisecondUs : kQuietStartUs,
                              rough ? kRoughStartUs : 0, end_us);
    result.nodes = world_.nodes().size();
    try {
      safety_phase(result.plan, end_us);
      liveness_phase();
    } catch (const Violation& violation) {
      result.violation = violation.what();
      result.violated_at_us = world_.now_us();
      result.last_lines = world_.recent_trace();
    }
    Invariants& invariants = world_.invariants();
    result.totals.seeds = 1;
    result.totals.events = world_.events_run();
    result.totals.committed = invariants.committed_count();
    result.totals.acknowledged = invariants.acknowledged_count();
    result.totals.locks = clients_.locks_granted() + mounts_.locks_granted();
    result.totals.simulated_seconds = static_cast<double>(world_.now_us()) / kSecondUs;
    result.totals.faults = faults_.struck();
    return result;
  }

 private:
  static WorldOptions world_options(const RunOptions& options) {
    WorldOptions world;
    world.seed = options.seed;
    world.voters = options.voters != 0 ? options.voters : voters_of(options.seed);
    world.observers = options.observers.value_or(options.seed % 4 == 1 ? 1 + options.seed % 2 : 0);
    if (options.seed % 5 == 2 && world.voters > 2) world.joiner = ServerId{2};
    world.reconfigures = options.seed % 3 == 0 && world.voters > 2;
    world.rough_start = options.seed % 7 == 3 || options.seed % 7 == 6;
    world.grouped = options.seed % 32 >= 16 && world.voters > 3;
    if (options.seed % 11 == 4) {
      world.txns_per_epoch = 50 + static_cast<uint32_t>(options.seed / 11 % 10) * 50;
    }
    world.enforces_quota = options.seed % 2 == 0;
    world.separate_disks = options.seed % 7 < 3;
    // Snapshots that take longer than initLimit; rare, since they take this program long, too.
    if (options.seed % 16 == 7) {
      world.bytes_per_s = 30'000 + static_cast<int64_t>(options.seed / 16 % 8) * 20'000;
      world.ballast_bytes = 300'000;
    }
    world.trace = options.trace;
    return world;
  }

  void safety_phase(const std::vector<Fault>& plan, int64_t end_us) {
    for (auto& node : world_.nodes()) {
      // Voters start a new ensemble together, or not; who joins it does so when it likes.
      bool joins = !node->is_voter() || node->id() == world_.options().joiner;
      bool late = world_.options().rough_start && world_.chance(2);
      int64_t within_us = joins ? 10 * kSecondUs : late ? 3 * kSecondUs : kSecondUs / 2;
      world_.after(world_.random_us(within_us), [this, &node] { world_.restart(*node); });
    }
    std::vector<Fault> chosen = plan;
    if (options_.only) {
      chosen.clear();
      for (size_t index : *options_.only) {
        if (index < plan.size()) chosen.push_back(plan[index]);
      }
    }
    faults_.schedule(chosen);
    clients_.run(end_us);
    mounts_.run(end_us);
    // In some runs disks are lost once it is over.
    bool ends_early = options_.seed % 2 == 0;
    if (world_.options().reconfigures) clients_.reconfigure(ends_early ? end_us / 2 : end_us);
    world_.run_until(end_us);
  }

  // Healed, every node must commit again, vote again, and stand where all others stand.
  void liveness_phase() {
    faults_.end_all();
    clients_.retire_some();
    int64_t limit_us = world_.now_us() + kHealingUs;
    for (auto& node : world_.nodes()) {
      auto answered = std::make_shared<bool>(false);
      while (!*answered && world_.now_us() < limit_us) {
        if (!node->is_up()) world_.restart(*node);
        clients_.probe(*node, answered);
        world_.run_until(world_.now_us() + kSecondUs / 2);
      }
      if (!*answered) {
        throw Violation(fmt::format("node {} commits nothing {} s after all faults ended",
                                    node->id().value, kHealingUs / kSecondUs));
      }
    }
    auto all_vote = [this] {
      for (auto& node : world_.nodes()) {
        const consensus::Zab& zab = node->replica().zab();
        if (zab.membership().is_voter(node->id()) && !zab.state().votes) return false;
      }
      return true;
    };
    while (!all_vote() && world_.now_us() < limit_us) {
      world_.run_until(world_.now_us() + kSecondUs / 2);
    }
    // Two voters can't tell which of them lost something (ZAB.md section 3).
    bool two = world_.configurations().front().voter_count() <= 2;
    if (!all_vote() && !two) throw Violation("a node never votes again");
    int64_t quiet_us = world_.now_us();
    for (auto& node : world_.nodes()) quiet_us = std::max(quiet_us, node->held_until_us(true));
    world_.run_until(quiet_us + kSessionsEndUs);
    for (auto& node : world_.nodes()) {
      const tree::Tree& tree = node->replica().tree();
      world_.invariants().check_tokens(tree, "at the end");
      world_.invariants().check_ephemerals(node->id(), tree);
      clients_.check_sessions(tree, mounts_);
      clients_.check_shapes(tree);
      clients_.check_containers(tree);
      world_.invariants().check_configuration(node->id(), node->replica());
    }
  }

  RunOptions options_;
  World world_;
  Faults faults_;
  Clients clients_;
  Mounts mounts_;
};

}  // namespace

void Totals::add(const Totals& other) {
  seeds += other.seeds;
  events += other.events;
  committed += other.committed;
  acknowledged += other.acknowledged;
  locks += other.locks;
  simulated_seconds += other.simulated_seconds;
  for (auto [kind, count] : other.faults) faults[kind] += count;
}

RunResult run_seed(const RunOptions& options) { return Run(options).go(); }

}  // namespace zabfs::sim
