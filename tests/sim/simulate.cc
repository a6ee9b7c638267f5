// The simulator's command: runs seeds, each an ensemble under faults, then healed.
//
//   simulate [--seeds N] [--first SEED] [--voters N] [--observers N] [--seconds S] [--trace]
//
// A failing seed is printed with the command that replays it, and ends the run with status 1.
#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <string>

#include "sim/workload.h"
#include "sim/world.h"

namespace zabfs::sim {
namespace {

constexpr int64_t kSecondUs = 1'000'000;

struct Arguments {
  uint64_t seeds = 100;
  uint64_t first = 1;
  size_t voters = 0;  // 0: 3 or 5 by the seed
  size_t observers = 0;
  int64_t seconds = 20;
  bool trace = false;
};

struct Totals {
  uint64_t events = 0, committed = 0, acknowledged = 0, crashes = 0, partitions = 0;
  double simulated_seconds = 0;
};

class Faults {
 public:
  Faults(World& world, Totals& totals) : world_(world), totals_(totals) {}

  void run(int64_t until_us) {
    if (world_.now_us() >= until_us) return;
    strike();
    world_.after(static_cast<int64_t>(50'000 + world_.random(1'500'000)),
                 [this, until_us] { run(until_us); });
  }

 private:
  SimNode& any() { return *world_.nodes()[world_.random(world_.nodes().size())]; }

  void strike() {
    SimNode& victim = any();
    switch (world_.random(9)) {
      case 0:
      case 1:
        ++totals_.crashes;
        world_.crash(victim);
        revive(victim);
        return;
      case 2:  // in the middle of some write, sync or rename
        ++totals_.crashes;
        if (victim.is_up()) victim.disk().crash_in(1 + world_.random(40));
        return;
      case 3:  // power failure
        if (!world_.chance(4)) return;
        for (auto& node : world_.nodes()) {
          ++totals_.crashes;
          world_.crash(*node);
          revive(*node);
        }
        return;
      case 4:
      case 5:
        partition(victim);
        return;
      case 6:
        world_.reset_links(victim.id(), any().id());
        return;
      default:
        for (auto& node : world_.nodes()) {
          if (!node->is_up()) revive(*node);
        }
        return;
    }
  }

  void revive(SimNode& node) {
    world_.after(static_cast<int64_t>(10'000 + world_.random(2'000'000)),
                 [this, &node] { world_.restart(node); });
  }

  void partition(const SimNode& victim) {
    ++totals_.partitions;
    bool one_way = world_.chance(3);
    for (auto& other : world_.nodes()) {
      if (other->id() == victim.id() || world_.chance(4)) continue;
      world_.trace(fmt::format("cut {} -> {}", victim.id().value, other->id().value));
      world_.cut(victim.id(), other->id());
      if (!one_way) world_.cut(other->id(), victim.id());
    }
    world_.after(static_cast<int64_t>(100'000 + world_.random(5'000'000)),
                 [this] { world_.heal(); });
  }

  World& world_;
  Totals& totals_;
};

void run_seed(uint64_t seed, const Arguments& arguments, Totals& totals) {
  WorldOptions options;
  options.seed = seed;
  options.voters = arguments.voters != 0 ? arguments.voters : (seed % 3 == 0 ? 5 : 3);
  options.observers = arguments.observers != 0 ? arguments.observers : seed % 4 == 1 ? 1 : 0;
  options.trace = arguments.trace;
  World world(options);
  Faults faults(world, totals);
  Workload workload(world);
  for (auto& node : world.nodes()) {
    world.after(static_cast<int64_t>(world.random(500'000)),
                [&world, &node] { world.restart(*node); });
  }
  int64_t end = arguments.seconds * kSecondUs;
  world.after(2 * kSecondUs, [&] { faults.run(end); });
  workload.run(end);
  world.run_until(end);

  // Liveness: healed, the ensemble must commit again, on every node.
  world.heal();
  for (auto& node : world.nodes()) {
    node->disk().crash_in(0);
    world.restart(*node);
  }
  for (auto& node : world.nodes()) {
    bool answered = false;
    int64_t limit = world.now_us() + 120 * kSecondUs;
    while (!answered && world.now_us() < limit) {
      workload.probe(*node, answered);
      world.run_until(world.now_us() + kSecondUs / 2);
    }
    if (!answered) {
      throw Violation(
          fmt::format("node {} commits nothing 120 s after all faults ended", node->id().value));
    }
  }
  world.run_until(world.now_us() + 5 * kSecondUs);
  for (auto& node : world.nodes()) {
    world.invariants().check_tokens(node->replica().tree(), world.invariants().acknowledged_now(),
                                    "at the end");
  }
  totals.events += world.events_run();
  totals.committed += world.invariants().committed_count();
  totals.acknowledged += world.invariants().acknowledged_count();
  totals.simulated_seconds += static_cast<double>(world.now_us()) / kSecondUs;
}

bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    std::string flag = argv[i];
    if (flag == "--trace") {
      arguments.trace = true;
      continue;
    }
    if (i + 1 >= argc) return false;
    uint64_t value = std::strtoull(argv[++i], nullptr, 10);
    if (flag == "--seeds")
      arguments.seeds = value;
    else if (flag == "--first")
      arguments.first = value;
    else if (flag == "--voters")
      arguments.voters = value;
    else if (flag == "--observers")
      arguments.observers = value;
    else if (flag == "--seconds")
      arguments.seconds = static_cast<int64_t>(value);
    else
      return false;
  }
  return true;
}

int simulate(const Arguments& arguments) {
  auto start = std::chrono::steady_clock::now();
  auto elapsed = [start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  Totals totals;
  for (uint64_t i = 0; i < arguments.seeds; ++i) {
    uint64_t seed = arguments.first + i;
    try {
      run_seed(seed, arguments, totals);
    } catch (const Violation& violation) {
      fmt::print("seed {}: {}\nreplay: build/bin/simulate --first {} --seeds 1 --trace\n", seed,
                 violation.what(), seed);
      return 1;
    }
    if ((i + 1) % 500 == 0) {
      fmt::print("{} seeds in {:.0f} s\n", i + 1, elapsed());
      std::fflush(stdout);
    }
  }
  fmt::print(
      "{} seeds from {}: {} events, {} txns committed, {} appends acknowledged, {} crashes, "
      "{} partitions; {:.0f} simulated s in {:.1f} s ({:.0f} times real time)\n",
      arguments.seeds, arguments.first, totals.events, totals.committed, totals.acknowledged,
      totals.crashes, totals.partitions, totals.simulated_seconds, elapsed(),
      totals.simulated_seconds / elapsed());
  return 0;
}

}  // namespace
}  // namespace zabfs::sim

int main(int argc, char** argv) {
  zabfs::sim::Arguments arguments;
  if (!zabfs::sim::parse(argc, argv, arguments)) {
    fmt::print(stderr,
               "usage: simulate [--seeds N] [--first SEED] [--voters N] [--observers N] "
               "[--seconds S] [--trace]\n");
    return 2;
  }
  return zabfs::sim::simulate(arguments);
}
