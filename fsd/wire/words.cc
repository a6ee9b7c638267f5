#include "fsd/wire/words.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "fsd/wire/server.h"

namespace zabfs::fsd::wire {

namespace fs = std::filesystem;
using consensus::Role;

namespace {

// Clients parse a ZooKeeper version here; ours says which one this server speaks.
constexpr const char* kVersion = "3.8.0-zabfs, built on 2026-11-25 00:00 UTC";
constexpr const char* kNotServing = "This ZooKeeper instance is not currently serving requests\n";

const std::set<std::string>& words() {
  static const std::set<std::string> kWords = {"conf", "cons", "crst", "dirs", "dump", "envi",
                                               "gtmk", "hash", "isro", "mntr", "ruok", "srst",
                                               "srvr", "stat", "stmk", "wchc", "wchp", "wchs"};
  return kWords;
}

std::string op_name(tree::OpCode type) {
  switch (static_cast<int>(type)) {
    case static_cast<int>(tree::OpCode::kNotification):
      return "NA";
    case static_cast<int>(tree::OpCode::kCreate):
    case static_cast<int>(tree::OpCode::kCreate2):
      return "CREA";
    case static_cast<int>(tree::OpCode::kDelete):
      return "DELE";
    case static_cast<int>(tree::OpCode::kExists):
      return "EXIS";
    case static_cast<int>(tree::OpCode::kGetData):
      return "GETD";
    case static_cast<int>(tree::OpCode::kSetData):
      return "SETD";
    case static_cast<int>(tree::OpCode::kGetChildren):
      return "GETC";
    case static_cast<int>(tree::OpCode::kGetChildren2):
      return "GETC";
    case static_cast<int>(tree::OpCode::kPing):
      return "PING";
    case static_cast<int>(tree::OpCode::kMulti):
      return "MULT";
    default:
      return fmt::format("OP{}", static_cast<int>(type));
  }
}

uint64_t bytes_under(const std::string& directory) {
  uint64_t total = 0;
  std::error_code error;
  for (const auto& entry : fs::recursive_directory_iterator(directory, error)) {
    if (entry.is_regular_file(error)) total += entry.file_size(error);
  }
  return total;
}

size_t open_files() {
  std::error_code error;
  size_t count = 0;
  for (auto i = fs::directory_iterator("/proc/self/fd", error); i != fs::directory_iterator();
       ++i) {
    ++count;
  }
  return count;
}

int64_t since_ms(Clock::time_point then) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - then).count();
}

}  // namespace

bool is_word(const std::string& word) { return words().contains(word); }

std::string FourLetterWords::answer(const std::string& word) {
  const std::set<std::string>& allowed = server_.config_.commands;
  if (!allowed.contains("*") && !allowed.contains(word)) {
    return fmt::format("{} is not executed because it is not in the whitelist.\n", word);
  }
  if (word == "ruok") return "imok";
  bool serving = server_.host_.replica().is_serving();
  if (word == "isro") return serving ? "rw" : server_.config_.read_only_mode ? "ro" : "null";
  if (word == "conf") return conf();
  if (word == "envi") return envi();
  if (word == "gtmk") return "306";
  if (word == "stmk") return "306";
  if (!serving) return kNotServing;
  if (word == "srvr") return srvr();
  if (word == "stat") return stat();
  if (word == "cons") return cons();
  if (word == "mntr") return mntr();
  if (word == "dump") return dump();
  if (word == "dirs") return dirs();
  if (word == "wchs") return wchs();
  if (word == "wchc") return wchc();
  if (word == "wchp") return wchp();
  if (word == "srst") {
    server_.stats_.reset();
    return "Server stats reset.\n";
  }
  if (word == "crst") {
    std::lock_guard lock(server_.connections_mutex_);
    for (const auto& [number, connection] : server_.connections_) {
      std::lock_guard one(connection->mutex);
      connection->stats = {};
    }
    return "Connection stats reset.\n";
  }
  return "";  // hash: no digests are kept
}

std::string FourLetterWords::mode() const {
  const consensus::Replica& replica = server_.host_.replica();
  if (replica.config().zab.ensemble.members().size() <= 1) return "standalone";
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

size_t FourLetterWords::connection_count() const {
  std::lock_guard lock(server_.connections_mutex_);
  return server_.connections_.size();
}

std::string FourLetterWords::srvr() const {
  const ServerStats& stats = server_.stats_;
  uint64_t count = stats.latency_count;
  const tree::Tree& tree = server_.host_.replica().tree();
  std::string text = fmt::format(
      "Zookeeper version: {}\n"
      "Latency min/avg/max: {}/{:.4f}/{}\n"
      "Received: {}\nSent: {}\nConnections: {}\nOutstanding: {}\nZxid: 0x{:x}\nMode: {}\n"
      "Node count: {}\n",
      kVersion, count == 0 ? 0 : stats.latency_ms_min.load(),
      count == 0 ? 0.0
                 : static_cast<double>(stats.latency_ms_sum.load()) / static_cast<double>(count),
      stats.latency_ms_max.load(), stats.received.load(), stats.sent.load(), connection_count(),
      server_.outstanding_.load(), tree.last_zxid().value, mode(), tree.node_count());
  if (mode() == "leader") text += "Proposal sizes last/min/max: -1/-1/-1\n";
  return text;
}

std::string FourLetterWords::stat() const {
  std::string text = fmt::format("Zookeeper version: {}\nClients:\n", kVersion);
  {
    std::lock_guard lock(server_.connections_mutex_);
    for (const auto& [number, c] : server_.connections_) {
      std::lock_guard one(c->mutex);
      text += fmt::format(" /{}:{}[{}](queued={},recved={},sent={})\n", c->address, c->port,
                          c->phase == Phase::kOpen ? 1 : 0, c->waiting.size(), c->stats.received,
                          c->stats.sent);
    }
  }
  std::string rest = srvr();
  return text + "\n" + rest.substr(rest.find('\n') + 1);
}

std::string FourLetterWords::cons() const {
  std::string text;
  std::lock_guard lock(server_.connections_mutex_);
  for (const auto& [number, c] : server_.connections_) {
    std::lock_guard one(c->mutex);
    const ConnectionStats& s = c->stats;
    text += fmt::format(" /{}:{}[{}](queued={},recved={},sent={}", c->address, c->port,
                        c->phase == Phase::kOpen ? 1 : 0, c->waiting.size(), s.received, s.sent);
    if (c->session != tree::SessionId{}) {
      int64_t established =
          std::chrono::duration_cast<std::chrono::milliseconds>(c->since.time_since_epoch())
              .count();
      bool any = s.latency_ms_min != INT64_MAX;
      auto sent = static_cast<int64_t>(s.sent);
      text += fmt::format(
          ",sid=0x{:x},lop={},est={},to={},lcxid=0x{:x},lzxid=0x{:x},lresp={},llat={},minlat={},"
          "avglat={},maxlat={}",
          static_cast<uint64_t>(c->session.value), op_name(s.last_op), established, c->timeout_ms,
          static_cast<uint32_t>(s.last_cxid), static_cast<uint64_t>(s.last_zxid.value),
          since_ms(c->since_steady), s.last_latency_ms, any ? s.latency_ms_min : 0,
          sent == 0 ? 0 : s.latency_ms_sum / sent, s.latency_ms_max);
    }
    text += ")\n";
  }
  return text + "\n";
}

std::string FourLetterWords::conf() const {
  std::string text;
  for (const std::string& line : server_.config_.settings) text += line + "\n";
  const consensus::ZabConfig& zab = server_.host_.replica().config().zab;
  if (zab.ensemble.members().size() > 1) text += "membership: \n" + zab.ensemble.text() + "\n";
  return text;
}

std::string FourLetterWords::envi() const {
  utsname name = {};
  ::uname(&name);
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  return fmt::format(
      "Environment:\nzookeeper.version={}\nhost.name={}\nos.name={}\nos.arch={}\nos.version={}\n"
      "user.dir={}\n",
      kVersion, host, name.sysname, name.machine, name.release, fs::current_path().string());
}

std::string FourLetterWords::mntr() const {
  const consensus::Replica& replica = server_.host_.replica();
  const tree::Tree& tree = replica.tree();
  const ServerStats& stats = server_.stats_;
  uint64_t count = stats.latency_count;
  std::string text;
  auto add = [&text](const char* key, const auto& value) {
    text += fmt::format("zk_{}\t{}\n", key, value);
  };
  size_t ephemerals = 0;
  for (const auto& [session, timeout] : tree.sessions()) {
    ephemerals += tree.ephemerals_of(session).size();
  }
  rlimit limit = {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  add("version", kVersion);
  add("server_state", mode());
  add("ephemerals_count", ephemerals);
  add("num_alive_connections", connection_count());
  add("avg_latency", fmt::format("{:.4f}", count == 0 ? 0.0
                                                      : static_cast<double>(stats.latency_ms_sum) /
                                                            static_cast<double>(count)));
  add("max_latency", stats.latency_ms_max.load());
  add("min_latency", count == 0 ? 0 : stats.latency_ms_min.load());
  add("outstanding_requests", server_.outstanding_.load());
  add("znode_count", tree.node_count());
  add("global_sessions", tree.sessions().size());
  add("local_sessions", 0);
  add("packets_received", stats.received.load());
  add("packets_sent", stats.sent.load());
  add("watch_count", server_.watches_.with([](tree::WatchTables& t) { return t.count(); }));
  add("approximate_data_size", tree.data_bytes());
  add("open_file_descriptor_count", open_files());
  add("max_file_descriptor_count", limit.rlim_cur);
  add("quorum_size", replica.config().zab.ensemble.voter_count());
  if (mode() == "leader") {
    size_t followers = replica.zab().synced_voters() - 1;
    add("learners", followers);
    add("synced_followers", followers);
    add("synced_observers", 0);
    add("pending_syncs", 0);
  }
  return text;
}

std::string FourLetterWords::dump() const {
  const tree::Tree& tree = server_.host_.replica().tree();
  std::string sessions, ephemerals;
  size_t with_ephemerals = 0;
  for (const auto& [session, timeout_ms] : tree.sessions()) {
    auto id = static_cast<uint64_t>(session.value);
    sessions += fmt::format("0x{:x}\t{}ms\n", id, timeout_ms);
    std::vector<std::string> paths = tree.ephemerals_of(session);
    if (paths.empty()) continue;
    ++with_ephemerals;
    ephemerals += fmt::format("0x{:x}:\n", id);
    for (const std::string& path : paths) ephemerals += "\t" + path + "\n";
  }
  return fmt::format(
      "SessionTracker dump:\nGlobal Sessions({}):\n{}ephemeral nodes dump:\n"
      "Sessions with Ephemerals ({}):\n{}Connections dump:\nConnections: {}\n",
      tree.sessions().size(), sessions, with_ephemerals, ephemerals, connection_count());
}

std::string FourLetterWords::dirs() const {
  std::string snapshots, logs;
  for (const std::string& line : server_.config_.settings) {
    if (line.starts_with("dataDir=")) snapshots = line.substr(8);
    if (line.starts_with("dataLogDir=")) logs = line.substr(11);
  }
  return fmt::format("datadir_size: {}\nlogdir_size: {}\n", bytes_under(snapshots),
                     bytes_under(logs));
}

std::string FourLetterWords::session_of(uint64_t watcher) const {
  ConnectionPtr connection = server_.find(watcher);
  if (!connection) return "0x0";
  std::lock_guard lock(connection->mutex);
  return fmt::format("0x{:x}", static_cast<uint64_t>(connection->session.value));
}

std::string FourLetterWords::wchs() const {
  return server_.watches_.with([](tree::WatchTables& tables) {
    return fmt::format("{} connections watching {} paths\nTotal watches:{}\n",
                       tables.data_paths_by_watcher().size(), tables.data_path_count(),
                       tables.data_count());
  });
}

std::string FourLetterWords::wchc() const {
  auto all = server_.watches_.with([](tree::WatchTables& t) { return t.data_paths_by_watcher(); });
  std::string text;
  for (const auto& [watcher, paths] : all) {
    text += session_of(watcher) + "\n";
    for (const std::string& path : paths) text += "\t" + path + "\n";
  }
  return text + "\n";
}

std::string FourLetterWords::wchp() const {
  auto all = server_.watches_.with([](tree::WatchTables& t) { return t.data_watchers_by_path(); });
  std::string text;
  for (const auto& [path, watchers] : all) {
    text += path + "\n";
    for (uint64_t watcher : watchers) text += "\t" + session_of(watcher) + "\n";
  }
  return text + "\n";
}

}  // namespace zabfs::fsd::wire
