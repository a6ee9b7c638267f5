// The simulator's command: runs seeds, each an ensemble under faults, then healed.
//
//   simulate [--seeds N] [--first SEED] [--jobs N] [--hours H] [--voters N] [--observers N]
//            [--seconds S] [--only I,J,...] [--trace]
//   simulate_mutants ... [--mutant NAME | --mutants]
//
// --mutants puts the bugs of mutants.txt back, one after the other, and prints in which seed each
// was caught; one that is not caught within --seeds is a failure.
//
// A failing seed ends the run with status 1. Its faults are shrunk to those that matter, and it is
// printed with the end of its trace and the command that replays it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "consensus/mutex.h"
#include "sim/mutants.h"
#include "sim/run.h"

namespace zabfs::sim {
namespace {

constexpr int kShrinkRuns = 300;
constexpr double kProgressSeconds = 15;

struct Arguments {
  uint64_t seeds = 100;
  uint64_t first = 1;
  unsigned jobs = 1;
  double hours = 0;
  size_t voters = 0;
  int observers = -1;
  int64_t seconds = 20;
  std::vector<size_t> only;
  bool trace = false;
  bool mutants = false;

  RunOptions run(uint64_t seed) const {
    RunOptions options;
    options.seed = seed;
    options.voters = voters;
    if (observers >= 0) options.observers = static_cast<size_t>(observers);
    options.seconds = seconds;
    options.trace = trace;
    if (!only.empty()) options.only = only;
    return options;
  }
  std::string command(uint64_t seed, const std::vector<size_t>& faults) const {
    std::string text = fmt::format("build/bin/simulate --first {} --seeds 1", seed);
    if (voters != 0) text += fmt::format(" --voters {}", voters);
    if (observers >= 0) text += fmt::format(" --observers {}", observers);
    if (seconds != 20) text += fmt::format(" --seconds {}", seconds);
    return text + fmt::format(" --only {} --trace", fmt::join(faults, ","));
  }
};

// Leaves out faults, in ever smaller portions, as long as something still fails.
std::vector<size_t> shrink(RunOptions options, std::vector<size_t> faults) {
  options.trace = false;
  int runs = 0;
  for (size_t portion = faults.size() / 2; portion > 0 && runs < kShrinkRuns; portion /= 2) {
    for (size_t at = 0; at < faults.size() && runs < kShrinkRuns;) {
      std::vector<size_t> fewer = faults;
      auto begin = fewer.begin() + static_cast<std::ptrdiff_t>(at);
      fewer.erase(begin, begin + static_cast<std::ptrdiff_t>(std::min(portion, fewer.size() - at)));
      options.only = fewer;
      ++runs;
      if (run_seed(options).violation.empty()) {
        at += portion;
      } else {
        faults = std::move(fewer);
      }
    }
  }
  return faults;
}

void report(const Arguments& arguments, uint64_t seed, const RunResult& failure) {
  fmt::print("seed {} FAILS at {:.3f} ms: {}\nshrinking its {} faults...\n", seed,
             static_cast<double>(failure.violated_at_us) / 1000, failure.violation,
             failure.plan.size());
  std::fflush(stdout);
  std::vector<size_t> all;
  for (size_t i = 0; i < failure.plan.size(); ++i) {
    bool chosen =
        arguments.only.empty() || std::count(arguments.only.begin(), arguments.only.end(), i);
    if (chosen && failure.plan[i].at_us <= failure.violated_at_us) all.push_back(i);
  }
  std::vector<size_t> few = shrink(arguments.run(seed), all);
  RunOptions options = arguments.run(seed);
  options.trace = false;
  options.only = few;
  RunResult last = run_seed(options);
  fmt::print("{} faults are enough: {}\n", few.size(), last.violation);
  for (size_t index : few) fmt::print("  {}\n", describe(failure.plan[index], failure.nodes));
  fmt::print("the end of the trace:\n");
  for (const std::string& line : last.last_lines) fmt::print("  {}\n", line);
  fmt::print("replay: {}\n", arguments.command(seed, few));
}

// Runs seeds on several threads until one fails or none are left.
class Runner {
 public:
  struct Failure {
    uint64_t seed;
    RunResult result;
  };

  explicit Runner(const Arguments& arguments) : arguments_(arguments) {}

  // The failure of the lowest seed that failed.
  std::optional<Failure> find_failure() EXCLUDES(mutex_) {
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < std::max(1u, arguments_.jobs); ++i) {
      threads.emplace_back([this] { work(); });
    }
    for (std::thread& thread : threads) thread.join();
    MutexLock lock(mutex_);
    return failure_;
  }
  double elapsed_s() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

  int run() EXCLUDES(mutex_) {
    std::optional<Failure> failure = find_failure();
    print_totals();
    if (!failure) return 0;
    report(arguments_, failure->seed, failure->result);
    return 1;
  }

 private:
  bool is_over() const REQUIRES(mutex_) {
    return arguments_.hours > 0 ? elapsed_s() >= arguments_.hours * 3600
                                : taken_ >= arguments_.seeds;
  }

  void work() EXCLUDES(mutex_) {
    while (!is_failed_) {
      uint64_t seed;
      {
        MutexLock lock(mutex_);
        if (is_over()) return;
        seed = arguments_.first + taken_++;
      }
      RunResult result = run_seed(arguments_.run(seed));
      MutexLock lock(mutex_);
      totals_.add(result.totals);
      if (!result.violation.empty() && (!failure_ || seed < failure_->seed)) {
        is_failed_ = true;
        failure_ = Failure{seed, std::move(result)};
      }
      if (elapsed_s() >= next_progress_s_) {
        next_progress_s_ = elapsed_s() + kProgressSeconds;
        fmt::print("{} seeds in {:.0f} s\n", totals_.seeds, elapsed_s());
        std::fflush(stdout);
      }
    }
  }

  void print_totals() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    fmt::print(
        "{} seeds from {}: {} events, {} txns committed, {} writes acknowledged, {} locks granted; "
        "{:.0f} simulated s in {:.1f} s on {} threads ({:.0f} times real time)\n",
        totals_.seeds, arguments_.first, totals_.events, totals_.committed, totals_.acknowledged,
        totals_.locks, totals_.simulated_seconds, elapsed_s(), arguments_.jobs,
        totals_.simulated_seconds / elapsed_s());
    std::string faults;
    for (auto [kind, count] : totals_.faults)
      faults += fmt::format(" {} {},", fault_name(kind), count);
    if (!faults.empty()) faults.pop_back();
    fmt::print("faults:{}\n", faults);
  }

  const Arguments& arguments_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::atomic<bool> is_failed_{false};  // there is a failure_
  Mutex mutex_;
  uint64_t taken_ GUARDED_BY(mutex_) = 0;
  Totals totals_ GUARDED_BY(mutex_);
  double next_progress_s_ GUARDED_BY(mutex_) = kProgressSeconds;
  std::optional<Failure> failure_ GUARDED_BY(mutex_);
};

#ifdef ZABFS_MUTANTS
// Rules that no run can miss, and why.
struct Argument {
  const char* rule;
  const char* why;
};
constexpr Argument kArguments[] = {
    {"ACKs of proposals count after NEWLEADER's only",
     "a zabfs learner sends none before it; for Java's see AnAckBeforeNewLeadersDoesNotCountAsOne"},
    {"a leader that lacks committed txns is not followed",
     "only a quorum that has lost its disks elects one; see test_lost_history.py"},
    {"a leader's snapshot is shown after UPTODATE",
     "ours hold what is committed; for Java's see ShowsNothingOfASnapshotBeforeItIsKnown..."},
    {"one link a server",
     "ACKs and proofs that come late by a former link were true when they were sent; its requests"
     " are refused as all late ones are"},
    {"a request of a session that has moved is refused",
     "the same check as late-requests-prepared"},
    {"a mount's deadline counts from the sending of what renewed it",
     "the answer must be late, and the node cut off right after it; see session_test.cc"},
};

int find_mutant(const std::string& name) {
  for (size_t i = 0; i < mutants().size(); ++i) {
    if (name == mutants()[i].name) return static_cast<int>(i) + 1;
  }
  throw CLI::ValidationError("no mutant is called " + name);
}

int catch_mutants(const Arguments& arguments) {
  int missed = 0;
  for (const MutantInfo& mutant : mutants()) {
    ++active_mutant;
    Runner runner(arguments);
    std::optional<Runner::Failure> failure = runner.find_failure();
    std::string outcome = "NOT CAUGHT";
    if (failure) {
      uint64_t seeds = failure->seed - arguments.first + 1;
      outcome =
          fmt::format("caught in {:>4} seeds: {}", seeds, failure->result.violation.substr(0, 90));
    } else {
      ++missed;
    }
    fmt::print("{:<26} {:<52} {}\n", mutant.name, mutant.rule, outcome);
    std::fflush(stdout);
  }
  for (const Argument& argument : kArguments) {
    fmt::print("no mutant: {}: {}\n", argument.rule, argument.why);
  }
  return missed == 0 ? 0 : 1;
}
#endif

}  // namespace
}  // namespace zabfs::sim

int main(int argc, char** argv) {
  zabfs::sim::Arguments arguments;
  CLI::App app{"simulate: zabfs ensembles under faults, from seeds"};
  app.add_option("--seeds", arguments.seeds, "how many");
  app.add_option("--first", arguments.first, "the first");
  app.add_option("--jobs", arguments.jobs, "threads");
  app.add_option("--hours", arguments.hours, "instead of --seeds: for so long");
  app.add_option("--voters", arguments.voters, "1 to 7; else by the seed");
  app.add_option("--observers", arguments.observers, "else by the seed");
  app.add_option("--seconds", arguments.seconds, "simulated, of faults");
  app.add_option("--only", arguments.only, "only these faults of the plan")->delimiter(',');
  app.add_flag("--trace", arguments.trace, "print what happens");
#ifdef ZABFS_MUTANTS
  app.add_flag("--mutants", arguments.mutants, "put known bugs back, and see them caught");
  app.add_option_function<std::string>(
      "--mutant",
      [](const std::string& name) { zabfs::sim::active_mutant = zabfs::sim::find_mutant(name); },
      "run with one of them");
#endif
  CLI11_PARSE(app, argc, argv);
#ifdef ZABFS_MUTANTS
  if (arguments.mutants) return zabfs::sim::catch_mutants(arguments);
#endif
  return zabfs::sim::Runner(arguments).run();
}
