#include "fsd/config.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <set>
#include <sstream>
#include <variant>

namespace zabfs::fsd {

using consensus::Member;
using tree::ServerId;

namespace {

struct Line {
  int number;
  std::string key, value;
};

std::string trimmed(std::string text) {
  auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_space(text.back())) text.pop_back();
  size_t start = 0;
  while (start < text.size() && is_space(text[start])) ++start;
  return text.substr(start);
}

// Java properties: `key=value` or `key:value`, comments with # and !, a final \ continues.
std::vector<Line> parse_properties(std::istream& in) {
  std::vector<Line> lines;
  std::string text, whole;
  int number = 0, start = 0;
  while (std::getline(in, text)) {
    ++number;
    if (whole.empty()) start = number;
    text = trimmed(text);
    if (whole.empty() && (text.empty() || text[0] == '#' || text[0] == '!')) continue;
    if (text.ends_with('\\')) {
      whole += text.substr(0, text.size() - 1);
      continue;
    }
    whole += text;
    size_t separator = whole.find_first_of("=:");
    Line line{start, trimmed(whole.substr(0, separator)), ""};
    if (separator != std::string::npos) line.value = trimmed(whole.substr(separator + 1));
    lines.push_back(line);
    whole.clear();
  }
  return lines;
}

// Keys of ZooKeeper's that this server knows and does not need yet, or at all.
const std::set<std::string>& ignored_keys() {
  static const std::set<std::string> kIgnored = {"clientPort",
                                                 "clientPortAddress",
                                                 "maxClientCnxns",
                                                 "electionAlg",
                                                 "peerType",
                                                 "standaloneEnabled",
                                                 "reconfigEnabled",
                                                 "autopurge.purgeInterval",
                                                 "syncEnabled",
                                                 "4lw.commands.whitelist",
                                                 "admin.enableServer",
                                                 "admin.serverPort",
                                                 "connectToLearnerMasterLimit",
                                                 "forceSync",
                                                 "extendedTypesEnabled"};
  return kIgnored;
}

class Reader {
 public:
  Reader(const std::string& file, Config& config) : file_(file), config_(config) {}

  std::string read() {
    std::ifstream in(file_);
    if (!in) return fmt::format("can't read the configuration {}", file_);
    for (const Line& line : parse_properties(in)) {
      take(line);
      if (!error_.empty()) return error_;
    }
    if (config_.host.data_dir.empty()) return fmt::format("{}: dataDir is missing", file_);
    return finish();
  }

 private:
  void fail(const Line& line, const std::string& what) {
    error_ = fmt::format("{}:{}: {}: {}", file_, line.number, line.key, what);
  }

  template <class T>
  void number(const Line& line, T& out, int64_t low, int64_t high) {
    int64_t value = 0;
    const char* end = line.value.data() + line.value.size();
    auto [stop, error] = std::from_chars(line.value.data(), end, value);
    if (error != std::errc() || stop != end || value < low || value > high) {
      return fail(line, fmt::format("\"{}\" is not a number from {} to {}", line.value, low, high));
    }
    out = static_cast<T>(value);
  }

  void boolean(const Line& line, bool& out) {
    if (line.value != "true" && line.value != "false") {
      return fail(line, fmt::format("\"{}\" is neither true nor false", line.value));
    }
    out = line.value == "true";
  }

  void take(const Line& line) {
    consensus::ReplicaConfig& replica = config_.host.replica;
    consensus::ZabConfig& zab = replica.zab;
    const std::string& key = line.key;
    if (key.starts_with("server.")) return take_server(line);
    if (key == "tickTime") return number(line, zab.tick_ms, 10, 3'600'000);
    if (key == "initLimit") return number(line, zab.init_limit, 1, 1'000'000);
    if (key == "syncLimit") return number(line, zab.sync_limit, 1, 1'000'000);
    if (key == "minSessionTimeout") return number(line, replica.min_session_ms, 1, INT32_MAX);
    if (key == "maxSessionTimeout") return number(line, replica.max_session_ms, 1, INT32_MAX);
    if (key == "snapCount") return number(line, replica.snapshot_txns, 2, INT32_MAX);
    if (key == "autopurge.snapRetainCount") return number(line, replica.snapshot_retain, 3, 1'000);
    if (key == "quorumListenOnAllIPs") return boolean(line, config_.host.listen_on_all);
    if (key == "zabfs.uid") return number(line, config_.mount.uid, 0, UINT32_MAX);
    if (key == "zabfs.gid") return number(line, config_.mount.gid, 0, UINT32_MAX);
    if (key == "zabfs.quorumGrace") {
      return number(line, config_.mount.quorum_grace_ms, 0, 3'600'000);
    }
    if (key == "zabfs.commitTimeout") {
      return number(line, config_.mount.commit_timeout_ms, 1, 3'600'000);
    }
    if (key == "zabfs.sessionTimeout") {
      return number(line, config_.mount.session_timeout_ms, 100, 3'600'000);
    }
    if (key == "zabfs.mount" || key == "dataDir" || key == "dataLogDir") {
      if (line.value.empty()) return fail(line, "a path is missing");
      std::string& target = key == "zabfs.mount" ? config_.mount.point
                            : key == "dataDir"   ? config_.host.data_dir
                                                 : config_.host.data_log_dir;
      target = line.value;
      return;
    }
    if (!ignored_keys().contains(key)) {
      config_.warnings.push_back(
          fmt::format("{}:{}: unknown key {} is ignored", file_, line.number, key));
    }
  }

  void take_server(const Line& line) {
    std::string id_text = line.key.substr(7);
    int64_t id = 0;
    const char* end = id_text.data() + id_text.size();
    auto [stop, error] = std::from_chars(id_text.data(), end, id);
    if (error != std::errc() || stop != end || id < 0 || id > 254) {
      return fail(line, "the server number is not from 0 to 254");
    }
    auto parsed = consensus::parse_member(line.value);
    if (auto* problem = std::get_if<consensus::MemberError>(&parsed)) {
      return fail(line, problem->what);
    }
    if (!members_.emplace(ServerId{id}, std::get<Member>(parsed)).second) {
      return fail(line, "this server is listed twice");
    }
  }

  std::string finish() {
    consensus::ZabConfig& zab = config_.host.replica.zab;
    if (members_.size() <= 1) {
      zab.me = members_.empty() ? ServerId{1} : members_.begin()->first;
      if (members_.empty()) members_[zab.me] = Member{"localhost", 0, 0, false, ""};
      zab.ensemble = consensus::Ensemble(members_);
      return {};
    }
    std::string path = config_.host.data_dir + "/myid";
    std::ifstream in(path);
    std::string text;
    if (!std::getline(in, text)) {
      return fmt::format("{} is missing or empty: write this server's number into it", path);
    }
    text = trimmed(text);
    int64_t id = 0;
    auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    if (error != std::errc() || stop != text.data() + text.size()) {
      return fmt::format("{}: \"{}\" is not a server number", path, text);
    }
    zab.me = ServerId{id};
    if (!members_.contains(zab.me)) {
      return fmt::format("{}: server {} is not listed in {}", path, id, file_);
    }
    zab.ensemble = consensus::Ensemble(members_);
    if (zab.ensemble.voter_count() == 0)
      return fmt::format("{}: every server is an observer", file_);
    return {};
  }

  const std::string& file_;
  Config& config_;
  std::map<ServerId, Member> members_;
  std::string error_;
};

}  // namespace

std::string load_config(const std::string& file, Config& config) {
  return Reader(file, config).read();
}

std::string standalone_config(const std::string& data_dir, const std::string& mount,
                              Config& config) {
  config.host.data_dir = data_dir;
  config.mount.point = mount;
  config.host.replica.zab.me = ServerId{1};
  std::map<ServerId, Member> members;
  members[ServerId{1}] = Member{"localhost", 0, 0, false, ""};
  config.host.replica.zab.ensemble = consensus::Ensemble(members);
  return {};
}

}  // namespace zabfs::fsd
