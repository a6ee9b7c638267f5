#include "fsd/admin/commands.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <functional>
#include <map>
#include <variant>
#include <vector>

#include "consensus/replica.h"

namespace zabfs::fsd::admin {

namespace json = boost::json;
using consensus::Member;
using wire::ConnectionFact;
using wire::ConnectionFacts;
using wire::ServerFacts;
using wire::WireServer;

namespace {

using Answer = std::function<json::object(WireServer&)>;

std::string hex(tree::SessionId session) {
  return fmt::format("0x{:x}", static_cast<uint64_t>(session.value));
}

json::value json_of(const FactValue& value) {
  return std::visit([](const auto& of) { return json::value(of); }, value);
}

json::object json_of(const std::vector<NamedFact>& facts) {
  json::object object;
  for (const NamedFact& fact : facts) object[fact.name] = json_of(fact.value);
  return object;
}

json::object srvr(WireServer& server) {
  ServerFacts facts = server.facts();
  json::object stats = json_of(wire::server_stats(facts));
  wire::DirectorySizes sizes = server.directories();
  stats["data_dir_size"] = sizes.snapshots;
  stats["log_dir_size"] = sizes.log;
  return {{"version", wire::kServerVersion},
          {"read_only", !facts.serving},
          {"server_stats", std::move(stats)},
          {"node_count", facts.znodes}};
}

json::array connections_of(WireServer& server) {
  json::array all;
  for (const ConnectionFacts& c : server.connection_facts()) {
    json::object one{{"remote_socket_address", c.address},
                     {"interest_ops", c.receives ? 1 : 0},
                     {"outstanding_requests", c.queued},
                     {"packets_received", c.received},
                     {"packets_sent", c.sent}};
    for (const ConnectionFact& fact : session_facts(c)) one[fact.name] = json_of(fact.value);
    all.push_back(std::move(one));
  }
  return all;
}

json::object stats(WireServer& server) {
  json::object answer = srvr(server);
  answer["connections"] = connections_of(server);
  answer["secure_connections"] = json::array();
  return answer;
}

json::object connections(WireServer& server) {
  return {{"connections", connections_of(server)}, {"secure_connections", json::array()}};
}

json::object monitor(WireServer& server) { return json_of(server.registry().zookeeper_facts()); }

// `clientPort=2181` as "client_port" : 2181.
json::object configuration(WireServer& server) {
  json::object answer;
  for (const std::string& line : server.config().settings) {
    size_t equals = line.find('=');
    std::string name, value = line.substr(equals + 1);
    for (char c : line.substr(0, equals)) {
      if (c >= 'A' && c <= 'Z') {
        name += '_';
        c = static_cast<char>(c - 'A' + 'a');
      }
      name += c;
    }
    bool is_number = !value.empty() && value.find_first_not_of("-0123456789") == std::string::npos;
    if (is_number) {
      answer[name] = std::stoll(value);
    } else {
      answer[name] = value;
    }
  }
  return answer;
}

json::object environment(WireServer&) { return json_of(wire::environment_facts()); }

json::object leader(WireServer& server) {
  const consensus::Replica& replica = server.replica();
  const consensus::Ensemble& ensemble = replica.zab().ensemble();
  if (ensemble.members().size() <= 1) return {{"error", "server is not initialized"}};
  tree::ServerId leading = replica.zab().leader();
  const Member* member = ensemble.find(leading);
  if (member == nullptr) return {{"error", "no leader is known"}};
  return {{"is_leader", leading == replica.config().zab.me},
          {"leader_id", leading.value},
          {"leader_ip", member->host}};
}

json::object voting_view(WireServer& server) {
  json::object view;
  for (const auto& [id, member] : server.replica().zab().ensemble().members()) {
    if (member.observer) continue;
    view[std::to_string(id.value)] = json::object{
        {"server_addresses", json::array{fmt::format("{}:{}", member.host, member.quorum_port)}},
        {"election_addresses",
         json::array{fmt::format("{}:{}", member.host, member.election_port)}},
        {"client_address", member.client_address},
        {"learner_type", "participant"}};
  }
  return {{"current_config", std::move(view)}};
}

json::object watch_summary(WireServer& server) {
  return server.watches().with([](tree::WatchTables& tables) -> json::object {
    return {{"num_connections", tables.data_paths_by_watcher().size()},
            {"num_paths", tables.data_path_count()},
            {"num_total_watches", tables.data_count()}};
  });
}

json::object watches(WireServer& server) {
  json::object all;
  for (const auto& [watcher, paths] : server.watches().with(
           [](tree::WatchTables& tables) { return tables.data_paths_by_watcher(); })) {
    json::array list;
    for (const std::string& path : paths) list.emplace_back(path);
    all[hex(server.session_of(watcher))] = std::move(list);
  }
  return {{"session_id_to_watched_paths", std::move(all)}};
}

json::object watches_by_path(WireServer& server) {
  json::object all;
  for (const auto& [path, watchers] : server.watches().with(
           [](tree::WatchTables& tables) { return tables.data_watchers_by_path(); })) {
    json::array list;
    for (tree::Watcher watcher : watchers) list.emplace_back(hex(server.session_of(watcher)));
    all[path] = std::move(list);
  }
  return {{"path_to_session_ids", std::move(all)}};
}

json::object dump(WireServer& server) {
  const tree::Tree& tree = server.replica().tree();
  json::object ephemerals, timeouts, expiries;
  if (const consensus::Leadership* leadership = server.replica().leadership()) {
    for (auto [deadline_ms, session] : leadership->sessions().by_deadline()) {
      json::value& together = expiries[std::to_string(deadline_ms)];
      if (together.is_null()) together = json::array();
      together.as_array().emplace_back(session.value);
    }
  }
  for (const auto& [session, facts] : tree.sessions()) {
    timeouts[hex(session)] = facts.timeout_ms;
    std::vector<std::string> paths = tree.ephemerals_of(session);
    if (paths.empty()) continue;
    json::array list;
    for (const std::string& path : paths) list.emplace_back(path);
    ephemerals[hex(session)] = std::move(list);
  }
  return {{"expiry_time_to_session_ids", std::move(expiries)},
          {"session_id_to_timeout", std::move(timeouts)},
          {"session_id_to_ephemeral_paths", std::move(ephemerals)}};
}

json::object dirs(WireServer& server) {
  wire::DirectorySizes sizes = server.directories();
  return {{"datadir_size", sizes.snapshots}, {"logdir_size", sizes.log}};
}

json::object is_read_only(WireServer& server) {
  return {{"read_only", !server.replica().is_serving()}};
}

json::object reset_stats(WireServer& server) {
  server.reset_stats();
  return {};
}

json::object reset_connection_stats(WireServer& server) {
  server.reset_connection_stats();
  return {};
}

json::object nothing(WireServer&) { return {}; }

struct Command {
  const char* name;
  bool needs_service;  // as Java: answered only while there is a leader
  Answer answer;
};

// A server in read-only mode runs, too.
bool is_running(const WireServer& server) {
  return server.replica().is_serving() || server.config().read_only_mode;
}

const std::map<std::string, Command>& commands() {
  static const std::map<std::string, Command> kCommands = [] {
    std::map<std::string, Command> all;
    auto add = [&all](const char* name, const char* alias, const Answer& answer,
                      bool needs_service = true) {
      all[name] = {name, needs_service, answer};
      if (alias != nullptr) all[alias] = {name, needs_service, answer};
    };
    add("configuration", "conf", configuration);
    add("connection_stat_reset", "crst", reset_connection_stats);
    add("connections", "cons", connections);
    add("dirs", nullptr, dirs);
    add("dump", nullptr, dump);
    all["config"] = all["conf"];
    add("environment", "envi", environment, false);
    all["env"] = all["envi"];
    add("is_read_only", "isro", is_read_only);
    add("leader", "lead", leader);
    add("monitor", "mntr", monitor, false);
    add("ruok", nullptr, nothing);
    add("server_stats", "srvr", srvr);
    add("stat_reset", "srst", reset_stats);
    add("stats", "stat", stats);
    add("voting_view", nullptr, voting_view);
    add("watch_summary", "wchs", watch_summary);
    add("watches", "wchc", watches);
    add("watches_by_path", "wchp", watches_by_path);
    return all;
  }();
  return kCommands;
}

}  // namespace

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const auto& [name, command] : commands()) {
    if (name == command.name) names.push_back(name);
  }
  return names;
}

json::object run_command(WireServer& server, const std::string& name) {
  auto command = commands().find(name);
  if (command == commands().end()) {
    return {{"command", name}, {"error", "Unknown command: " + name}};
  }
  if (command->second.needs_service && !is_running(server)) {
    return {{"command", command->second.name},
            {"error", "This ZooKeeper instance is not currently serving requests"}};
  }
  json::object answer = command->second.answer(server);
  answer["command"] = command->second.name;
  if (!answer.contains("error")) answer["error"] = nullptr;
  return answer;
}

}  // namespace zabfs::fsd::admin
