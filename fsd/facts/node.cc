#include "fsd/facts/node.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace zabfs::fsd {

using consensus::Role;

namespace {

std::string state_of(const consensus::Replica& replica) {
  if (replica.config().is_standalone()) return "standalone";
  switch (replica.zab().role()) {
    case Role::kLeading:
      return "leader";
    case Role::kObserving:
      return "observer";
    case Role::kFollowing:
    case Role::kLooking:
    case Role::kSettling:
      return "follower";
  }
  return "follower";
}

}  // namespace

NodeFacts node_facts(const consensus::Replica& replica) {
  const consensus::Zab& zab = replica.zab();
  const tree::Tree& tree = replica.tree();
  NodeFacts facts;
  facts.state = state_of(replica);
  facts.serving = replica.is_serving();
  facts.leads = facts.serving && zab.role() == Role::kLeading;
  facts.epoch = zab.epoch();
  facts.zxid = tree.last_zxid();
  facts.znodes = tree.node_count();
  facts.sessions = tree.sessions().size();
  facts.data_bytes = tree.data_bytes();
  facts.pending = replica.pending_count();
  facts.quorum_size = zab.ensemble().voter_count();
  facts.synced_voters = replica.synced_voter_count();
  facts.disk_full = replica.is_disk_full();
  return facts;
}

ProcessFacts process_facts() {
  ProcessFacts facts;
  std::ifstream in("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  in >> total >> resident;
  facts.resident_bytes = resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  facts.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
  return facts;
}

uint64_t open_file_count() {
  std::error_code error;
  auto files = std::filesystem::directory_iterator("/proc/self/fd", error);
  return static_cast<uint64_t>(std::distance(begin(files), end(files)));
}

uint64_t max_file_count() {
  rlimit limit = {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

std::vector<Metric> node_metrics(const NodeFacts& node, const ProcessFacts& process) {
  return {
      {"quorum", "gauge", "1 if this node serves with a quorum", node.serving ? 1 : 0},
      {"leader", "gauge", "1 if this node leads", node.leads ? 1 : 0},
      {"epoch", "gauge", "The epoch this node is in", uint64_t{node.epoch}},
      {"zxid", "counter", "The last transaction applied", node.zxid.value},
      {"znodes", "gauge", "Znodes in the tree", uint64_t{node.znodes}},
      {"sessions", "gauge", "Sessions of the ensemble", uint64_t{node.sessions}},
      {"requests_pending", "gauge", "Writes of this node under way", uint64_t{node.pending}},
      {"synced_voters", "gauge", "Voters that the leader has with it, itself included",
       uint64_t{node.synced_voters}},
      {"disk_full", "gauge", "1 if the disk of the log is full", node.disk_full ? 1 : 0},
      {"resident_memory_bytes", "gauge", "Memory of this process", process.resident_bytes},
      {"cpu_seconds_total", "counter", "CPU time of this process", process.cpu_seconds},
  };
}

}  // namespace zabfs::fsd
