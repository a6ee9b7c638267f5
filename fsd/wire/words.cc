#include "fsd/wire/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "consensus/replica.h"
#include "fsd/facts/cluster.h"
#include "fsd/wire/server.h"

namespace zabfs::fsd::wire {
namespace {

constexpr const char* kNotServing = "This ZooKeeper instance is not currently serving requests\n";
constexpr const char* kTraceMask = "306";  // Java's default; nothing is traced here

uint64_t hex(tree::SessionId session) { return static_cast<uint64_t>(session.value); }

// A line of `srvr`: what it says there, and the facts of `server_stats` behind it.
struct StatLine {
  const char* label;
  std::vector<std::string_view> names;  // with / between
  bool is_hex = false;
};

const std::vector<StatLine>& stat_lines() {
  static const std::vector<StatLine> kLines = {
      {"Latency min/avg/max", {"min_latency", "avg_latency", "max_latency"}},
      {"Received", {"packets_received"}},
      {"Sent", {"packets_sent"}},
      {"Connections", {"num_alive_client_connections"}},
      {"Outstanding", {"outstanding_requests"}},
      {"Zxid", {"last_processed_zxid"}, true},
      {"Mode", {"server_state"}}};
  return kLines;
}

std::string version_line() { return fmt::format("Zookeeper version: {}\n", kServerVersion); }

// `srvr` behind its version, which `stat` has at another place.
std::string stat_text(const ServerFacts& facts) {
  std::vector<NamedFact> stats = server_stats(facts);
  auto fact_named = [&stats](std::string_view name) {
    return std::find_if(stats.begin(), stats.end(),
                        [name](const NamedFact& fact) { return fact.name == name; });
  };
  std::string text;
  for (const StatLine& line : stat_lines()) {
    std::string values;
    for (std::string_view name : line.names) {
      values += (values.empty() ? "" : "/") + text_of(fact_named(name)->value, line.is_hex);
    }
    text += fmt::format("{}: {}\n", line.label, values);
  }
  text += fmt::format("Node count: {}\n", facts.znodes);
  if (facts.state != "leader") return text;
  const consensus::Sizes& sizes = facts.proposal_bytes;
  return text +
         fmt::format("Proposal sizes last/min/max: {}/{}/{}\n", sizes.last, sizes.min, sizes.max);
}

std::string srvr(WireServer& server) { return srvr_text(server.facts()); }

std::string stat(WireServer& server) {
  std::string text = version_line() + "Clients:\n";
  for (const ConnectionFacts& c : server.connection_facts()) {
    text += fmt::format(" /{}[{}](queued={},recved={},sent={})\n", c.address, c.receives ? 1 : 0,
                        c.queued, c.received, c.sent);
  }
  return text + "\n" + stat_text(server.facts());
}

std::string cons(WireServer& server) {
  std::string text;
  for (const ConnectionFacts& c : server.connection_facts()) {
    text += fmt::format(" /{}[{}](queued={},recved={},sent={}", c.address, c.receives ? 1 : 0,
                        c.queued, c.received, c.sent);
    for (const ConnectionFact& fact : session_facts(c)) {
      text += fmt::format(",{}={}", fact.short_name, text_of(fact.value, fact.is_hex));
    }
    text += ")\n";
  }
  return text + "\n";
}

std::string conf(WireServer& server) {
  std::string text;
  DirectorySizes sizes = server.directories();
  for (const std::string& line : server.config().settings) {
    text += line + "\n";
    if (line.starts_with("dataDir=")) text += fmt::format("dataDirSize={}\n", sizes.snapshots);
    if (line.starts_with("dataLogDir=")) text += fmt::format("dataLogSize={}\n", sizes.log);
  }
  const consensus::Ensemble& ensemble = server.replica().zab().ensemble();
  if (ensemble.members().size() > 1) text += "membership: \n" + ensemble.text() + "\n";
  return text;
}

std::string envi(WireServer&) {
  std::string text = "Environment:\n";
  for (const NamedFact& fact : environment_facts()) {
    text += fmt::format("{}={}\n", fact.name, text_of(fact.value));
  }
  return text;
}

std::string mntr(WireServer& server) {
  std::string text;
  for (const NamedFact& fact : server.registry().zookeeper_facts()) {
    text += fmt::format("zk_{}\t{}\n", fact.name, text_of(fact.value));
  }
  int diverged = server.replica().divergence().empty() ? 0 : 1;
  return text + fmt::format("zk_diverged\t{}\n", diverged);  // ours, not Java's
}

// Java: Date.toString, in UTC.
std::string date_of(int64_t wall_ms) {
  time_t seconds = wall_ms / 1'000;
  tm parts = {};
  ::gmtime_r(&seconds, &parts);
  char text[40];
  std::strftime(text, sizeof(text), "%a %b %d %H:%M:%S UTC %Y", &parts);
  return text;
}

// What expires together, as Java's ExpiryQueue writes it. `sets`: by the time from now, in ms.
std::string expiry_text(const std::map<int64_t, std::vector<std::string>>& sets) {
  int64_t now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  size_t all = 0;
  std::string text;
  for (const auto& [in_ms, members] : sets) {
    all += members.size();
    text += fmt::format("{} expire at {}:\n", members.size(), date_of(now_ms + in_ms));
    for (const std::string& member : members) text += "\t" + member + "\n";
  }
  return fmt::format("Sets ({})/({}):\n", sets.size(), all) + text;
}

// Only a leader knows when sessions expire.
std::string sessions_text(WireServer& server) {
  const tree::Tree& tree = server.replica().tree();
  if (const consensus::Leadership* leadership = server.replica().leadership()) {
    std::map<int64_t, std::vector<std::string>> sets;
    for (auto [deadline_ms, session] : leadership->sessions().by_deadline()) {
      sets[deadline_ms - server.now_ms()].push_back(fmt::format("0x{:x}", hex(session)));
    }
    return "Session " + expiry_text(sets);
  }
  std::string text = fmt::format("Global Sessions({}):\n", tree.sessions().size());
  for (const auto& [session, facts] : tree.sessions()) {
    text += fmt::format("0x{:x}\t{}ms\n", hex(session), facts.timeout_ms);
  }
  return text;
}

std::string ephemerals_text(const tree::Tree& tree) {
  std::string ephemerals;
  size_t with_ephemerals = 0;
  for (const auto& [session, facts] : tree.sessions()) {
    std::vector<std::string> paths = tree.ephemerals_of(session);
    if (paths.empty()) continue;
    ++with_ephemerals;
    ephemerals += fmt::format("0x{:x}:\n", hex(session));
    for (const std::string& path : paths) ephemerals += "\t" + path + "\n";
  }
  return fmt::format("Sessions with Ephemerals ({}):\n{}", with_ephemerals, ephemerals);
}

std::string connections_text(WireServer& server) {
  std::map<int64_t, std::vector<std::string>> sets;
  for (const ConnectionFacts& c : server.connection_facts()) {
    constexpr int64_t kTogetherMs = 1'000;
    int64_t in_ms = (c.expires_in_ms / kTogetherMs + 1) * kTogetherMs;
    sets[in_ms].push_back(fmt::format("ip: /{} sessionId: 0x{:x}", c.address, hex(c.session)));
  }
  return "Connections " + expiry_text(sets);
}

std::string dump(WireServer& server) {
  return "SessionTracker dump:\n" + sessions_text(server) + "ephemeral nodes dump:\n" +
         ephemerals_text(server.replica().tree()) + "Connections dump:\n" +
         connections_text(server);
}

std::string dirs(WireServer& server) {
  DirectorySizes sizes = server.directories();
  return fmt::format("datadir_size: {}\nlogdir_size: {}\n", sizes.snapshots, sizes.log);
}

std::string wchs(WireServer& server) {
  return server.watches().with([](tree::WatchTables& tables) {
    return fmt::format("{} connections watching {} paths\nTotal watches:{}\n",
                       tables.data_paths_by_watcher().size(), tables.data_path_count(),
                       tables.data_count());
  });
}

std::string wchc(WireServer& server) {
  std::string text;
  for (const auto& [watcher, paths] : server.watches().with(
           [](tree::WatchTables& tables) { return tables.data_paths_by_watcher(); })) {
    text += fmt::format("0x{:x}\n", hex(server.session_of(watcher)));
    for (const std::string& path : paths) text += "\t" + path + "\n";
  }
  return text + "\n";
}

std::string wchp(WireServer& server) {
  std::string text;
  for (const auto& [path, watchers] : server.watches().with(
           [](tree::WatchTables& tables) { return tables.data_watchers_by_path(); })) {
    text += path + "\n";
    for (tree::Watcher watcher : watchers) {
      text += fmt::format("\t0x{:x}\n", hex(server.session_of(watcher)));
    }
  }
  return text + "\n";
}

struct Word {
  bool needs_service;  // answered only while there is a leader
  std::function<std::string(WireServer&)> answer;
};

const std::map<std::string, Word>& words() {
  static const std::map<std::string, Word> kWords = {
      {"clus",  // ours, not Java's: what `@/cluster` says
       {false,
        [](WireServer& server) { return cluster_text(server.replica(), &server.registry()); }}},
      {"ruok", {false, [](WireServer&) { return "imok"; }}},
      {"isro",
       {false,
        [](WireServer& server) {
          if (server.replica().is_serving()) return "rw";
          return server.config().read_only_mode ? "ro" : "null";
        }}},
      {"conf", {false, conf}},
      {"envi", {false, envi}},
      {"gtmk", {false, [](WireServer&) { return kTraceMask; }}},
      {"stmk", {false, [](WireServer&) { return kTraceMask; }}},
      {"srvr", {true, srvr}},
      {"stat", {true, stat}},
      {"cons", {true, cons}},
      {"mntr", {true, mntr}},
      {"dump", {true, dump}},
      {"dirs", {true, dirs}},
      {"wchs", {true, wchs}},
      {"wchc", {true, wchc}},
      {"wchp", {true, wchp}},
      {"hash", {true, [](WireServer&) { return ""; }}},  // no digests of the past are kept
      {"srst",
       {true,
        [](WireServer& server) {
          server.reset_stats();
          return "Server stats reset.\n";
        }}},
      {"crst",
       {true,
        [](WireServer& server) {
          server.reset_connection_stats();
          return "Connection stats reset.\n";
        }}},
  };
  return kWords;
}

}  // namespace

std::string srvr_text(const ServerFacts& facts) { return version_line() + stat_text(facts); }

bool is_word(const std::string& word) { return words().contains(word); }

std::string answer_word(WireServer& server, const std::string& word) {
  const std::set<std::string>& allowed = server.config().commands;
  if (!allowed.contains("*") && !allowed.contains(word)) {
    return fmt::format("{} is not executed because it is not in the whitelist.\n", word);
  }
  const Word& known = words().at(word);
  if (known.needs_service && !server.replica().is_serving()) return kNotServing;
  return known.answer(server);
}

}  // namespace zabfs::fsd::wire
