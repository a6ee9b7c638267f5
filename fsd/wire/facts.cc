#include "fsd/wire/facts.h"

#include <pwd.h>
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

// Java: FinalRequestProcessor's lastOp.
std::string op_name(OpCode type) {
  static constexpr std::pair<OpCode, const char*> kNames[] = {
      {OpCode::kNotification, "NA"},
      {OpCode::kCreateSession, "SESS"},
      {OpCode::kCloseSession, "CLOS"},
      {OpCode::kCreate, "CREA"},
      {OpCode::kCreate2, "CREA"},
      {OpCode::kCreateContainer, "CREA"},
      {OpCode::kCreateTtl, "CREA"},
      {OpCode::kDelete, "DELE"},
      {OpCode::kDeleteContainer, "DELE"},
      {OpCode::kExists, "EXIS"},
      {OpCode::kGetData, "GETD"},
      {OpCode::kSetData, "SETD"},
      {OpCode::kGetAcl, "GETA"},
      {OpCode::kSetAcl, "SETA"},
      {OpCode::kGetChildren, "GETC"},
      {OpCode::kGetChildren2, "GETC"},
      {OpCode::kSync, "SYNC"},
      {OpCode::kPing, "PING"},
      {OpCode::kCheck, "CHEC"},
      {OpCode::kMulti, "MULT"},
      {OpCode::kMultiRead, "MLTR"},
      {OpCode::kReconfig, "RECO"},
      {OpCode::kCheckWatches, "CHKW"},
      {OpCode::kRemoveWatches, "REMW"},
      {OpCode::kSetWatches, "SETW"},
      {OpCode::kSetWatches2, "STW2"},
      {OpCode::kAddWatch, "ADDW"},
      {OpCode::kGetAllChildrenNumber, "GETACN"},
      {OpCode::kGetEphemerals, "GETE"},
      {OpCode::kWhoAmI, "HOMI"}};
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

// Whose process this is; a user without a name goes by its number.
struct User {
  std::string name, home;
};
User this_user() {
  passwd entry = {};
  passwd* found = nullptr;
  std::vector<char> texts(16u << 10);
  ::getpwuid_r(::geteuid(), &entry, texts.data(), texts.size(), &found);
  if (found == nullptr) return {std::to_string(::geteuid()), "?"};
  return {entry.pw_name, entry.pw_dir};
}

template <class Time>
int64_t in_ms(Time time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

}  // namespace

namespace {

void add_zookeepers(const ServerFacts& facts, const ServerStats& stats, Metrics& into) {
  auto add = [&into](const char* name, FactValue value, const char* help) {
    into.push_back(zookeeper_value(name, std::move(value), help));
  };
  add("version", std::string(kServerVersion), "");
  add("ephemerals_count", uint64_t{facts.ephemerals}, "Ephemeral znodes of all sessions");
  add("avg_latency", facts.latency_ms_avg, "Of requests that had to wait, ms");
  add("min_latency", facts.latency_ms_min, "Of requests that had to wait, ms");
  add("max_latency", facts.latency_ms_max, "Of requests that had to wait, ms");
  add("outstanding_requests", facts.outstanding, "Requests of clients under way");
  add("local_sessions", uint64_t{facts.local_sessions}, "Sessions that this server alone knows");
  add("packets_received", facts.received, "Requests received from clients");
  add("packets_sent", facts.sent, "Answers sent to clients");
  add("watch_count", uint64_t{facts.watches}, "Watches of clients");
  add("uptime", facts.uptime_ms, "How long this server has run, ms");
  add("connection_drop_probability", 0.0, "Always 0: connections are not throttled by chance");
  add("bytes_received_count", stats.received_bytes.load(), "Bytes received from clients");
  add("response_bytes", stats.sent_bytes.load(), "Bytes sent to clients");
  add("connection_request_count", stats.connects.load(), "Sessions asked for");
  add("connection_rejected", stats.refused.load(), "Connections that there was no room for");
  add("connection_drop_count", stats.dropped.load(), "Connections that this server ended");
  add("sessionless_connections_expired", stats.silent.load(), "Of these, those that were silent");
  add("auth_failed_count", stats.auth_failures.load(), "Clients that failed to authenticate");
  add("large_requests_rejected", stats.too_long.load(), "Requests beyond jute.maxbuffer");
  add("last_client_response_size", stats.answer_last.load(), "Bytes of the last answer");
  add("min_client_response_size", stats.answer_min.load(), "Bytes of the shortest answer");
  add("max_client_response_size", stats.answer_max.load(), "Bytes of the longest answer");
}

}  // namespace

void add_connection_count(size_t connections, Metrics& into) {
  into.push_back(
      zookeeper_value("num_alive_connections", uint64_t{connections}, "Connections of clients"));
}

void add_client_metrics(const ServerFacts& facts, const ServerStats& stats, Metrics& into) {
  add_zookeepers(facts, stats, into);
  consensus::Durations reads, writes;
  for (size_t kind = 0; kind < RequestTimes::kKinds.size(); ++kind) {
    consensus::Durations durations = stats.times.of(kind);
    if (durations.count() == 0) continue;
    const auto& [name, is_read] = RequestTimes::kKinds[kind];
    (is_read ? reads : writes).add(durations);
    into.push_back(own_durations("client_request", durations,
                                 "From taking a client's request to its answer, by kind",
                                 {{"kind", name}}));
  }
  into.push_back(zookeeper_durations("readlatency", reads, "Of clients' reads, ms", true));
  into.push_back(zookeeper_durations("updatelatency", writes, "Of clients' writes, ms", true));
}

std::vector<NamedFact> server_stats(const ServerFacts& facts) {
  return {{"packets_sent", facts.sent},
          {"packets_received", facts.received},
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
  User user = this_user();
  return {{"zookeeper.version", std::string(kServerVersion)},
          {"host.name", std::string(host)},
          {"os.name", std::string(name.sysname)},
          {"os.arch", std::string(name.machine)},
          {"os.version", std::string(name.release)},
          {"user.name", user.name},
          {"user.home", user.home},
          {"user.dir", fs::current_path().string()}};
}

std::vector<ConnectionFact> session_facts(const ConnectionFacts& facts) {
  if (facts.session == tree::SessionId{}) return {};
  std::vector<ConnectionFact> all{{"sid", "session_id", facts.session.value, true},
                                  {"lop", "last_operation", facts.last_op},
                                  {"est", "established", facts.established_ms},
                                  {"to", "session_timeout", facts.timeout_ms}};
  if (facts.last_cxid >= 0) all.push_back({"lcxid", "last_cxid", facts.last_cxid, true});
  all.insert(all.end(), {{"lzxid", "last_zxid", facts.last_zxid.value, true},
                         {"lresp", "last_response_time", facts.last_response_ms},
                         {"llat", "last_latency", facts.last_latency_ms},
                         {"minlat", "min_latency", facts.min_latency_ms},
                         {"avglat", "avg_latency", facts.avg_latency_ms},
                         {"maxlat", "max_latency", facts.max_latency_ms}});
  return all;
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
  return facts;
}

DirectorySizes Facts::directories() const {
  return {bytes_under(sources_.config.data_dir), bytes_under(sources_.config.data_log_dir)};
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
    facts.expires_in_ms =
        in_ms(locked->phase() == Phase::kOpen ? std::chrono::milliseconds(facts.timeout_ms)
                                              : Clock::duration(kHelloTime)) -
        facts.last_response_ms;
    facts.last_latency_ms = stats.last_latency_ms;
    facts.min_latency_ms = stats.latency_ms_min == INT64_MAX ? 0 : stats.latency_ms_min;
    facts.avg_latency_ms =
        stats.sent == 0 ? 0 : stats.latency_ms_sum / static_cast<int64_t>(stats.sent);
    facts.max_latency_ms = stats.latency_ms_max;
  }
  return all;
}

}  // namespace zabfs::fsd::wire
