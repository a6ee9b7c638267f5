#include "fsd/wire/facts.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

#include "consensus/replica.h"

namespace zabfs::fsd::wire {

namespace fs = std::filesystem;
using tree::OpCode;

namespace {

// Java: Request.op2String, cut to four letters.
std::string op_name(OpCode type) {
  static constexpr std::pair<OpCode, const char*> kNames[] = {
      {OpCode::kNotification, "NA"},   {OpCode::kCreate, "CREA"},
      {OpCode::kCreate2, "CREA"},      {OpCode::kDelete, "DELE"},
      {OpCode::kExists, "EXIS"},       {OpCode::kGetData, "GETD"},
      {OpCode::kSetData, "SETD"},      {OpCode::kGetChildren, "GETC"},
      {OpCode::kGetChildren2, "GETC"}, {OpCode::kPing, "PING"},
      {OpCode::kMulti, "MULT"}};
  for (auto [known, name] : kNames) {
    if (known == type) return name;
  }
  return "OP" + std::to_string(static_cast<int>(type));
}

uint64_t bytes_under(const std::string& directory) {
  uint64_t total = 0;
  std::error_code error;
  for (auto i = fs::recursive_directory_iterator(directory, error);
       i != fs::recursive_directory_iterator(); i.increment(error)) {
    if (i->is_regular_file(error)) total += i->file_size(error);
  }
  return total;
}

template <class Time>
int64_t in_ms(Time time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

}  // namespace

std::vector<NamedFact> monitored_facts(const ServerFacts& facts) {
  return {{"version", std::string(kServerVersion)},
          {"server_state", facts.state},
          {"ephemerals_count", uint64_t{facts.ephemerals}},
          {"num_alive_connections", uint64_t{facts.connections}},
          {"avg_latency", facts.latency_ms_avg},
          {"max_latency", facts.latency_ms_max},
          {"min_latency", facts.latency_ms_min},
          {"outstanding_requests", facts.outstanding},
          {"znode_count", uint64_t{facts.znodes}},
          {"global_sessions", uint64_t{facts.sessions}},
          {"local_sessions", 0},
          {"packets_received", facts.received},
          {"packets_sent", facts.sent},
          {"watch_count", uint64_t{facts.watches}},
          {"approximate_data_size", uint64_t{facts.data_bytes}},
          {"open_file_descriptor_count", facts.open_files},
          {"max_file_descriptor_count", facts.max_files},
          {"uptime", facts.uptime_ms},
          {"quorum_size", uint64_t{facts.quorum_size}}};
}

std::vector<NamedFact> monitored_leader_facts(const ServerFacts& facts) {
  if (facts.state != "leader") return {};
  uint64_t followers = facts.synced_voters - 1;
  return {{"learners", followers}, {"synced_followers", followers}};
}

std::vector<NamedFact> server_stats(const ServerFacts& facts) {
  return {{"packets_sent", facts.sent},
          {"packets_received", facts.received},
          {"data_dir_size", facts.snapshot_bytes},
          {"log_dir_size", facts.log_bytes},
          {"server_state", facts.state},
          {"last_processed_zxid", facts.zxid.value},
          {"outstanding_requests", facts.outstanding},
          {"avg_latency", facts.latency_ms_avg},
          {"max_latency", facts.latency_ms_max},
          {"min_latency", facts.latency_ms_min},
          {"num_alive_client_connections", uint64_t{facts.connections}},
          {"uptime", facts.uptime_ms}};
}

std::vector<NamedFact> environment_facts() {
  utsname name = {};
  ::uname(&name);
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  return {{"zookeeper.version", std::string(kServerVersion)},
          {"host.name", std::string(host)},
          {"os.name", std::string(name.sysname)},
          {"os.arch", std::string(name.machine)},
          {"os.version", std::string(name.release)},
          {"user.dir", fs::current_path().string()}};
}

std::vector<ConnectionFact> session_facts(const ConnectionFacts& facts) {
  if (facts.session == tree::SessionId{}) return {};
  return {{"sid", "session_id", facts.session.value, true},
          {"lop", "last_operation", facts.last_op},
          {"est", "established", facts.established_ms},
          {"to", "session_timeout", facts.timeout_ms},
          {"lcxid", "last_cxid", facts.last_cxid, true},
          {"lzxid", "last_zxid", facts.last_zxid.value, true},
          {"lresp", "last_response_time", facts.last_response_ms},
          {"llat", "last_latency", facts.last_latency_ms},
          {"minlat", "min_latency", facts.min_latency_ms},
          {"avglat", "avg_latency", facts.avg_latency_ms},
          {"maxlat", "max_latency", facts.max_latency_ms}};
}

ServerFacts Facts::server() const {
  const consensus::Replica& replica = sources_.service.replica();
  const tree::Tree& tree = replica.tree();
  const ServerStats& stats = sources_.stats;
  ServerFacts facts{node_facts(replica)};
  facts.received = stats.received;
  facts.sent = stats.sent;
  facts.outstanding = static_cast<int64_t>(sources_.budget.requests());
  if (uint64_t count = stats.latency_count; count > 0) {
    facts.latency_ms_min = stats.latency_ms_min;
    facts.latency_ms_max = stats.latency_ms_max;
    facts.latency_ms_avg = static_cast<double>(stats.latency_ms_sum) / static_cast<double>(count);
  }
  facts.connections = sources_.connections.size();
  for (const auto& [session, ignored] : tree.sessions()) {
    facts.ephemerals += tree.ephemerals_of(session).size();
  }
  facts.watches = sources_.watches.with([](tree::WatchTables& tables) { return tables.count(); });
  facts.open_files = open_file_count();
  facts.max_files = max_file_count();
  facts.uptime_ms = in_ms(Clock::now() - started_);
  facts.snapshot_bytes = bytes_under(sources_.config.data_dir);
  facts.log_bytes = bytes_under(sources_.config.data_log_dir);
  return facts;
}

std::vector<ConnectionFacts> Facts::connections() const {
  std::vector<ConnectionFacts> all;
  for (const ConnectionPtr& connection : sources_.connections.all()) {
    Connection::Locked locked(*connection);
    const ConnectionStats& stats = locked->stats();
    ConnectionFacts& facts = all.emplace_back();
    facts.address = connection->name();
    facts.receives = locked->phase() == Phase::kOpen;
    facts.queued = locked->requests().size();
    facts.received = stats.received;
    facts.sent = stats.sent;
    facts.session = locked->client().session;
    facts.timeout_ms = locked->client().timeout_ms;
    facts.last_op = op_name(stats.last_op);
    facts.established_ms = in_ms(connection->since().time_since_epoch());
    facts.last_cxid = stats.last_cxid;
    facts.last_zxid = stats.last_zxid;
    facts.last_response_ms =
        in_ms(Clock::now() - std::max(stats.last_answer, connection->since_steady()));
    facts.last_latency_ms = stats.last_latency_ms;
    facts.min_latency_ms = stats.latency_ms_min == INT64_MAX ? 0 : stats.latency_ms_min;
    facts.avg_latency_ms =
        stats.sent == 0 ? 0 : stats.latency_ms_sum / static_cast<int64_t>(stats.sent);
    facts.max_latency_ms = stats.latency_ms_max;
  }
  return all;
}

}  // namespace zabfs::fsd::wire
