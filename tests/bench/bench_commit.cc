// Commits through Replica::submit: in this process, one or three members on loopback, fsync on.
//
//   bench_commit DIR MEMBERS IN_FLIGHT SECONDS [BYTES]
//
// One line: commits/s, latency p50 and p99, CPU time of the whole process per commit.
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "consensus/host.h"
#include "tree/request.h"

namespace {

using namespace zabfs;
using Clock = std::chrono::steady_clock;

constexpr uint16_t kFirstPort = 41'800;

struct Load {
  Load(consensus::Host& the_host, size_t data_bytes) : host(the_host), bytes(data_bytes) {}

  consensus::Host& host;
  size_t bytes;
  tree::SessionId session;
  int32_t cxid = 0;
  std::atomic<bool> measuring{false}, stopping{false};
  std::atomic<int> in_flight{0};
  std::vector<double> latencies_us;

  void submit(tree::OpCode type, std::string body, consensus::Replica::Completion done) {
    tree::Request request{session, ++cxid, type, std::move(body), tree::superuser()};
    request.user = {1'000, "bench"};  // as of a mount
    host.replica().submit(std::move(request), std::move(done));
  }
  void next() {
    if (stopping) {
      --in_flight;
      return;
    }
    auto start = Clock::now();
    std::string data(bytes, 'x');
    submit(tree::OpCode::kSetData, tree::set_data_body("/bench", data, -1),
           [this, start](const tree::Outcome&) {
             if (measuring) {
               latencies_us.push_back(
                   std::chrono::duration<double, std::micro>(Clock::now() - start).count());
             }
             // Through the strand, so that a batch of completions is one batch of submissions.
             host.post([this] { next(); });
           });
  }
};

double cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

std::unique_ptr<consensus::Host> make_host(const std::string& directory, int64_t me,
                                           int64_t members) {
  std::map<tree::ServerId, consensus::Member> ensemble;
  for (int64_t i = 1; i <= members; ++i) {
    auto port = static_cast<uint16_t>(kFirstPort + 2 * i);
    ensemble[tree::ServerId{i}] =
        consensus::Member{"127.0.0.1", port, static_cast<uint16_t>(port + 1), false, ""};
  }
  consensus::HostConfig config;
  config.replica.zab.me = tree::ServerId{me};
  config.replica.zab.ensemble = consensus::Ensemble(ensemble);
  config.data_dir = directory + "/" + std::to_string(me);
  std::filesystem::create_directories(config.data_dir);
  auto host = std::make_unique<consensus::Host>(config);
  consensus::HostError error = host->open();
  if (!error.what.empty()) {
    fmt::print(stderr, "{}\n", error.what);
    std::exit(1);
  }
  return host;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    fmt::print(stderr, "usage: bench_commit DIR MEMBERS IN_FLIGHT SECONDS [BYTES]\n");
    return 2;
  }
  spdlog::set_level(spdlog::level::warn);
  int64_t members = std::atoll(argv[2]);
  int window = std::atoi(argv[3]);
  double seconds = std::atof(argv[4]);
  std::vector<std::unique_ptr<consensus::Host>> hosts;
  for (int64_t i = 1; i <= members; ++i) hosts.push_back(make_host(argv[1], i, members));
  for (auto& host : hosts) host->start();
  consensus::Host* leader = nullptr;
  while (leader == nullptr) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    for (auto& host : hosts) {
      std::atomic<bool> leads{false}, answered{false};
      host->post([&] {
        leads = host->replica().is_serving() &&
                host->replica().zab().role() == consensus::Role::kLeading;
        answered = true;
      });
      while (!answered) std::this_thread::yield();
      if (leads) leader = host.get();
    }
  }
  Load load(*leader, argc > 5 ? static_cast<size_t>(std::atoll(argv[5])) : 100);
  std::atomic<bool> ready{false};
  leader->post([&] {
    load.session = leader->replica().new_mount_session_id();
    load.submit(tree::OpCode::kCreateSession, tree::create_session_body(30'000), nullptr);
    load.submit(tree::OpCode::kCreate, tree::create_body("/bench", "", tree::open_acl(), 0),
                [&](const tree::Outcome&) { ready = true; });
  });
  while (!ready) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  load.in_flight = window;
  leader->post([&] {
    for (int i = 0; i < window; ++i) load.next();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  load.measuring = true;
  double cpu = cpu_seconds();
  auto start = Clock::now();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  load.measuring = false;
  double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
  cpu = cpu_seconds() - cpu;
  load.stopping = true;
  while (load.in_flight > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::vector<double>& all = load.latencies_us;
  std::sort(all.begin(), all.end());
  if (all.empty()) return 1;
  fmt::print(
      "{} member(s), {:>3} in flight: {:>8.0f} commits/s, p50 {:>6.0f} us, p99 {:>6.0f} us, "
      "CPU {:.1f} us a commit\n",
      members, window, static_cast<double>(all.size()) / elapsed, all[all.size() / 2],
      all[all.size() * 99 / 100], cpu * 1e6 / static_cast<double>(all.size()));
  for (auto& host : hosts) host->stop();
  return 0;
}
