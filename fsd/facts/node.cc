#include "fsd/facts/node.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

namespace zabfs::fsd {

using consensus::Role;
using Kind = Metric::Kind;

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

// Java: QuorumPeer.getDetailedPeerState.
std::string peer_state_of(const consensus::Replica& replica) {
  std::string phase = replica.is_serving() ? " - broadcast" : " - discovery";
  switch (replica.zab().role()) {
    case Role::kLeading:
      return "leading" + phase;
    case Role::kObserving:
      return "observing" + phase;
    case Role::kFollowing:
      return "following" + phase;
    case Role::kLooking:
    case Role::kSettling:
      return "looking";
  }
  return "looking";
}

LeaderFacts leader_facts(const consensus::Replica& replica) {
  const consensus::Zab& zab = replica.zab();
  LeaderFacts facts;
  for (const consensus::MemberStatus& status : replica.member_status()) {
    bool is_me = status.id == zab.config().me;
    if (is_me || status.role == Role::kLooking) continue;
    ++facts.learners;
    if (status.role == Role::kObserving) {
      ++facts.synced_observers;
    } else if (zab.ensemble().is_voter(status.id)) {
      ++facts.synced_followers;
    } else {
      ++facts.synced_non_voting_followers;
    }
  }
  return facts;
}

// The moment at which the process began, by the wall clock.
double start_seconds() {
  std::ifstream in("/proc/self/stat");
  std::string line;
  std::getline(in, line);
  size_t name_end = line.rfind(") ");
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(line.substr(name_end + 2));
  std::string skipped;
  constexpr int kFieldsBefore = 19;  // proc(5): starttime is the 22nd, the name the 2nd
  for (int i = 0; i < kFieldsBefore; ++i) fields >> skipped;
  double ticks = 0;
  fields >> ticks;
  timespec now, since_boot;
  ::clock_gettime(CLOCK_REALTIME, &now);
  ::clock_gettime(CLOCK_BOOTTIME, &since_boot);
  return static_cast<double>(now.tv_sec - since_boot.tv_sec) +
         ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

}  // namespace

NodeFacts node_facts(const consensus::Replica& replica) {
  const consensus::Zab& zab = replica.zab();
  const tree::Tree& tree = replica.tree();
  NodeFacts facts;
  facts.state = state_of(replica);
  if (!replica.config().is_standalone()) facts.peer_state = peer_state_of(replica);
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
  if (zab.role() == Role::kLeading) facts.leader = leader_facts(replica);
  facts.proposal_bytes = replica.measures().proposal_bytes;
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
  static const double kStart = start_seconds();
  facts.start_seconds = kStart;
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

namespace {

// ---- what ZooKeeper has, too

void add_zookeepers(const NodeFacts& node, const consensus::Replica& replica, Metrics& into) {
  auto add = [&into](const char* name, FactValue value, const char* help) {
    into.push_back(zookeeper_value(name, std::move(value), help));
  };
  const consensus::Measures& measures = replica.measures();
  add("server_state", node.state, "");
  add("znode_count", uint64_t{node.znodes}, "Znodes in the tree");
  add("approximate_data_size", uint64_t{node.data_bytes}, "Bytes of paths and data in the tree");
  add("global_sessions", uint64_t{node.sessions}, "Sessions of the ensemble");
  add("open_file_descriptor_count", open_file_count(), "Open file descriptors of the process");
  add("max_file_descriptor_count", max_file_count(), "The limit of open file descriptors");
  add("looking_count", measures.service.looking_count(), "Elections that this node took part in");
  add("proposal_count", measures.proposal_count, "Txns proposed by this node as the leader");
  add("commit_count", measures.commit_count, "Txns committed by this node as the leader");
  add("learner_proposal_received_count", measures.proposals_received, "Txns a leader proposed");
  add("learner_commit_received_count", measures.commits_received, "Txns a leader committed");
  add("snap_count", measures.snapshots_sent, "Learners brought up to date with a snapshot");
  add("diff_count", measures.histories_sent, "Learners brought up to date with txns");
  add("revalidate_count", measures.sessions_revalidated, "Sessions that learners asked for");
  add("stale_sessions_expired", measures.sessions_expired, "Sessions expired by this leader");
  add("digest_mismatches_count", measures.digest_mismatches,
      "Trees that differed from the leader's");
  add("unrecoverable_error_count", 0, "Always 0: the daemon ends with such an error");
}

void add_zookeepers_times(const consensus::Replica& replica, Metrics& into) {
  const consensus::ServiceTimes& service = replica.measures().service;
  into.push_back(zookeeper_durations("fsynctime", replica.log_write_times(),
                                     "Writes of the log with their fsync, ms"));
  into.push_back(zookeeper_durations("snapshottime", replica.snapshot_write_times(),
                                     "Writes of snapshots, ms"));
  into.push_back(zookeeper_durations("election_time", service.election(),
                                     "From looking for a leader to having one, ms"));
  into.push_back(zookeeper_durations("unavailable_time", service.unavailable(),
                                     "From the loss of a leader to service, ms"));
  into.push_back(zookeeper_durations("leader_unavailable_time", service.leader_unavailable(),
                                     "The same, of this node as the next leader, ms"));
  into.push_back(zookeeper_durations("quorum_ack_latency", replica.measures().proposals.durations(),
                                     "From proposal to commit at the leader, ms", true));
}

void add_zookeepers_of_ensemble(const NodeFacts& node, const consensus::Replica& replica,
                                Metrics& into) {
  if (node.peer_state.empty()) return;
  auto add = [&into](const char* name, FactValue value, const char* help) {
    into.push_back(zookeeper_value(name, std::move(value), help));
  };
  add("peer_state", node.peer_state, "");
  add("quorum_size", uint64_t{node.quorum_size}, "Voters of the ensemble");
  if (node.state == "observer") {
    add("observer_master_id", int64_t{replica.zab().leader().value}, "Whom this observer follows");
    return;
  }
  add("synced_observers", node.leader.synced_observers, "Observers that are up to date");
  if (node.state != "leader") return;
  const consensus::Sizes& sizes = replica.measures().proposal_bytes;
  add("learners", node.leader.learners, "Members that follow this leader");
  add("synced_followers", node.leader.synced_followers, "Voters that follow it, up to date");
  add("synced_non_voting_followers", node.leader.synced_non_voting_followers,
      "Followers without a vote");
  add("pending_syncs", uint64_t{replica.barrier_count()}, "Barriers (sync) under way");
  add("leader_uptime", replica.leads_for_us() / 1'000, "How long it has led, ms");
  add("last_proposal_size", sizes.last, "Bytes of the last proposal");
  add("min_proposal_size", sizes.min, "Bytes of the smallest proposal");
  add("max_proposal_size", sizes.max, "Bytes of the largest proposal");
}

// ---- our own

void add_own(const NodeFacts& node, const consensus::Replica& replica, Metrics& into) {
  auto gauge = [&into](const char* name, FactValue value, const char* help) {
    into.push_back(own_gauge(name, std::move(value), help));
  };
  gauge("quorum", node.serving ? 1 : 0, "1 if this node serves with a quorum");
  gauge("leader", node.leads ? 1 : 0, "1 if this node leads");
  gauge("epoch", uint64_t{node.epoch}, "The epoch this node is in");
  gauge("zxid", node.zxid.value, "The last transaction applied");
  gauge("requests_pending", uint64_t{node.pending}, "Writes of this node under way");
  gauge("synced_voters", uint64_t{node.synced_voters},
        "Voters that the leader has with it, itself included");
  gauge("disk_full", node.disk_full ? 1 : 0, "1 if a disk of this node is full");
  gauge("diverged", replica.divergence().empty() ? 0 : 1,
        "1 if the tree of this node differs from the leader's");
  gauge("votes", replica.zab().votes() ? 1 : 0, "1 if this node has its vote, or needs none");
  gauge("log_queue_bytes", uint64_t{replica.log_queue_bytes()},
        "Txns that wait for the log's disk");
  gauge("history_bytes", uint64_t{replica.history_bytes()},
        "Log and snapshots on disk for old versions of files alone");
  gauge("supply_bytes", uint64_t{replica.supply_bytes()},
        "What waits for the learner that has most to catch up with");
  for (const consensus::MemberStatus& status : replica.member_status()) {
    Metric::Labels member{{"member", std::to_string(status.id.value)}};
    bool is_here = node.serving && status.role != Role::kLooking;
    into.push_back(own_gauge("member_present", is_here ? 1 : 0,
                             "1 if the leader has this member with it", member));
    into.push_back(
        own_gauge("member_zxid", status.zxid.value, "The last transaction a member has", member));
  }
}

void add_own_times(const consensus::Replica& replica, Metrics& into) {
  const consensus::ServiceTimes& service = replica.measures().service;
  into.push_back(
      own_durations("fsync", replica.log_write_times(), "Writes of the log, each with its fsync"));
  into.push_back(own_durations("commit", replica.measures().proposals.durations(),
                               "From proposal to commit, at the leader"));
  into.push_back(
      own_durations("election", service.election(), "From looking for a leader to having one"));
  into.push_back(
      own_durations("unavailable", service.unavailable(), "From the loss of a leader to service"));
  into.push_back(own_durations("snapshot", replica.snapshot_write_times(), "Writes of snapshots"));
}

}  // namespace

void add_node_metrics(const consensus::Replica& replica, Metrics& into) {
  NodeFacts node = node_facts(replica);
  add_zookeepers(node, replica, into);
  add_zookeepers_of_ensemble(node, replica, into);
  add_zookeepers_times(replica, into);
  add_own(node, replica, into);
  add_own_times(replica, into);
}

void add_process_metrics(Metrics& into) {
  ProcessFacts process = process_facts();
  auto add = [&into](Metric::Kind kind, const char* name, FactValue value, const char* help) {
    Metric metric = own_gauge(name, std::move(value), help);
    metric.of = Metric::Of::kProcess;
    metric.kind = kind;
    into.push_back(std::move(metric));
  };
  add(Kind::kGauge, "resident_memory_bytes", process.resident_bytes, "Resident memory");
  add(Kind::kCounter, "cpu_seconds", process.cpu_seconds, "CPU time, user and system");
  add(Kind::kGauge, "start_time_seconds", process.start_seconds, "When it began, since 1970");
  add(Kind::kGauge, "open_fds", open_file_count(), "Open file descriptors");
  add(Kind::kGauge, "max_fds", max_file_count(), "The limit of open file descriptors");
}

void add_disk_metrics(const std::string& directory, Metrics& into) {
  struct statvfs disk = {};
  if (::statvfs(directory.c_str(), &disk) != 0) return;
  uint64_t free = ::geteuid() == 0 ? disk.f_bfree : disk.f_bavail;
  into.push_back(
      own_gauge("disk_free_bytes", free * disk.f_frsize, "What is free on the disk of the log"));
  into.push_back(own_gauge("disk_size_bytes", uint64_t{disk.f_blocks} * disk.f_frsize,
                           "The size of the disk of the log"));
}

}  // namespace zabfs::fsd
