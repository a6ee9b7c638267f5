#include "fsd/config.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <set>
#include <sstream>
#include <variant>

#include "tree/posix.h"

namespace zabfs::fsd {

using consensus::Member;
using tree::ServerId;

namespace {

struct Line {
  int number;
  std::string key, value;
  const std::string* file = nullptr;  // if it is not zoo.cfg
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

std::vector<std::string> comma_separated(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(trimmed(part));
  return parts;
}

// Keys of ZooKeeper's that this server knows and does not need yet, or at all.
const std::set<std::string>& ignored_keys() {
  static const std::set<std::string> kIgnored = {"autopurge.purgeInterval",      "syncEnabled",
                                                 "connectToLearnerMasterLimit",  "forceSync",
                                                 "znode.container.maxPerMinute", "preAllocSize"};
  return kIgnored;
}

class Reader {
 public:
  static constexpr const char* kElsewhere = "dynamicConfigFile has the members; it belongs there";

  Reader(const std::string& file, Config& config) : file_(file), config_(config) {}

  std::string read() {
    std::ifstream in(file_);
    if (!in) return fmt::format("can't read the configuration {}", file_);
    for (const Line& line : parse_properties(in)) {
      take(line);
      if (!error_.empty()) return error_;
    }
    if (config_.host.data_dir.empty()) return fmt::format("{}: dataDir is missing", file_);
    if (std::string wrong = check_client_doors(); !wrong.empty()) return wrong;
    if (has_secret_) check_readers(file_, "a password");
    check_readers(config_.wire.tls.key_store, "a private key");
    check_readers(quorum_tls_.key_store, "a private key");
    return finish();
  }

 private:
  void fail(const Line& line, const std::string& what) {
    const std::string& file = line.file == nullptr ? file_ : *line.file;
    error_ = fmt::format("{}:{}: {}: {}", file, line.number, line.key, what);
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

  void mode(const Line& line, uint32_t& out) {
    const char* end = line.value.data() + line.value.size();
    auto [stop, error] = std::from_chars(line.value.data(), end, out, 8);
    if (error != std::errc() || stop != end || out > tree::kModeBits) {
      fail(line, fmt::format("\"{}\" is not an octal mode like 0755", line.value));
    }
  }

  void boolean(const Line& line, bool& out) {
    if (line.value != "true" && line.value != "false") {
      return fail(line, fmt::format("\"{}\" is neither true nor false", line.value));
    }
    out = line.value == "true";
  }

  // What every user of the machine can read is no secret.
  void check_readers(const std::string& file, const std::string& what) {
    struct stat st;
    if (file.empty() || ::stat(file.c_str(), &st) != 0 || (st.st_mode & S_IROTH) == 0) return;
    config_.warnings.push_back(fmt::format(
        "{} holds {}, and every user of this machine can read it; chmod o-r {}", file, what, file));
  }

  static bool is_secret(const std::string& key) {
    return key.ends_with(".password") || key.starts_with("zabfs.sasl.user.") ||
           key == "DigestAuthenticationProvider.superDigest";
  }

  void take(const Line& line) {
    consensus::ReplicaConfig& replica = config_.host.replica;
    consensus::ZabConfig& zab = replica.zab;
    const std::string& key = line.key;
    has_secret_ = has_secret_ || is_secret(key);
    if (is_of_members(key)) {
      if (dynamic_) return fail(line, kElsewhere);
      return take_of_members(line);
    }
    if (take_election(line)) return;
    if (key == "tickTime") return number(line, zab.tick_ms, 10, 3'600'000);
    if (key == "initLimit") return number(line, zab.init_limit, 1, 1'000'000);
    if (key == "syncLimit") return number(line, zab.sync_limit, 1, 1'000'000);
    if (key == "minSessionTimeout") return number(line, replica.min_session_ms, 1, INT32_MAX);
    if (key == "maxSessionTimeout") return number(line, replica.max_session_ms, 1, INT32_MAX);
    if (key == "snapCount") return number(line, replica.snapshot_txns, 2, INT32_MAX);
    if (key == "autopurge.snapRetainCount") return number(line, replica.snapshot_retain, 3, 1'000);
    if (key == "standaloneEnabled") return boolean(line, replica.standalone_enabled);
    if (key == "sslQuorum") return boolean(line, ssl_quorum_);
    if (key.starts_with("ssl.quorum.")) return take_tls(line, key.substr(11), quorum_tls_);
    if (key == "dynamicConfigFile") return take_dynamic_file(line);
    if (key == "reconfigEnabled") return boolean(line, replica.reconfig_enabled);
    if (key == "quorumListenOnAllIPs") return boolean(line, config_.host.listen_on_all);
    if (key == "extendedTypesEnabled") return boolean(line, replica.prepare.extended_types);
    if (key == "enforceQuota") return boolean(line, replica.prepare.enforce_quota);
    if (key == "znode.container.checkIntervalMs") {
      return number(line, replica.reap_interval_ms, 1, INT32_MAX);
    }
    if (key == "admin.enableServer") return boolean(line, config_.admin.enabled);
    if (key == "admin.serverPort") return number(line, config_.admin.port.emplace(), 0, UINT16_MAX);
    if (key == "admin.serverAddress") config_.admin.address = line.value;
    if (key == "admin.commandURL") config_.admin.path = line.value;
    if (key == "admin.portUnification") return boolean(line, config_.admin.accepts_tls);
    if (key == "admin.forceHttps") return boolean(line, config_.admin.only_tls);
    if (key.starts_with("admin.")) return;
    if (take_wire(line)) return;
    if (key == "zabfs.uid") return number(line, config_.mount.uid, 0, tree::kNoId - 1);
    if (key == "zabfs.gid") return number(line, config_.mount.gid, 0, tree::kNoId - 1);
    if (key == "zabfs.rootMode") return mode(line, config_.mount.root_mode);
    if (key == "zabfs.coreDumps") return boolean(line, config_.core_dumps);
    if (key == "zabfs.inotify") return boolean(line, config_.mount.inotify);
    if (key == "zabfs.protectMountPoint") return boolean(line, config_.mount.protects_point);
    if (key == "zabfs.cacheAfter") {
      return number(line, config_.mount.cache_after_ms, 0, 86'400'000);
    }
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

  static bool is_of_members(const std::string& key) {
    return key.starts_with("server.") || consensus::Hierarchy::is_key(key);
  }

  void take_of_members(const Line& line) {
    lines_of_members_.emplace(line.key, line);
    if (line.key.starts_with("server.")) return take_server(line);
    std::string wrong = hierarchy_.take(line.key, line.value);
    if (!wrong.empty()) fail(line, wrong);
  }

  // Keys that change what a quorum is, or who is elected and by whom. What of them is not done here
  // is refused: beside servers that do it, to go on without it splits the brain. False: it is none.
  bool take_election(const Line& line) {
    static const std::map<std::string, std::string> kRefused = {
        {"oraclePath", "an oracle in the place of a quorum is not supported"},
        {"multiAddress.enabled", "several addresses a server are not supported"},
        {"quorum.auth.enableSasl", "SASL between members is not supported; see sslQuorum"},
        {"quorum.auth.learnerRequireSasl", "SASL between members is not supported; see sslQuorum"},
        {"quorum.auth.serverRequireSasl", "SASL between members is not supported; see sslQuorum"}};
    auto refused = kRefused.find(line.key);
    if (refused != kRefused.end()) {
      if (line.value != "false") fail(line, refused->second);
    } else if (line.key == "electionAlg") {
      if (line.value != "3") fail(line, "only 3, fast leader election, is supported");
    } else if (line.key == "peerType") {
      std::string role = line.value;
      std::transform(role.begin(), role.end(), role.begin(),
                     [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      if (role != "observer" && role != "participant") {
        fail(line, "it is neither participant nor observer");
      }
      peer_type_ = Line{line.number, line.key, role};
    } else if (line.key == "db.autocreate") {
      boolean(line, config_.host.replica.zab.begins_by_itself);
    } else {
      return false;
    }
    return true;
  }

  // The client port's keys. False: it is none of them.
  bool take_wire(const Line& line) {
    wire::WireConfig& wire = config_.wire;
    const std::string& key = line.key;
    if (key == "clientPort") {
      number(line, wire.port.emplace(), 0, UINT16_MAX);
    } else if (key == "clientPortAddress") {
      wire.address = line.value;
    } else if (key == "maxClientCnxns") {
      number(line, wire.max_per_address, 0, INT32_MAX);
    } else if (key == "maxCnxns") {
      number(line, wire.max_connections, 0, INT32_MAX);
    } else if (key == "clientPortListenBacklog") {
      number(line, wire.backlog, -1, INT32_MAX);
    } else if (key == "jute.maxbuffer") {
      number(line, wire.max_frame_bytes, 1'024, tree::kJuteMaxBuffer);
    } else if (key == "zabfs.clientMemory") {
      size_t mib = 0;
      number(line, mib, 16, 1 << 20);
      wire.memory_bytes = mib << 20;
    } else if (key == "zabfs.clientThreads") {
      number(line, wire.threads, 1, 64);
    } else if (key == "DigestAuthenticationProvider.superDigest") {
      if (line.value.find(':') == std::string::npos)
        fail(line, "it is not of the form user:digest");
      wire.super_digest = config_.host.replica.super_digest = line.value;
    } else if (key == "secureClientPort") {
      number(line, wire.secure_port.emplace(), 0, UINT16_MAX);
    } else if (key == "secureClientPortAddress") {
      wire.secure_address = line.value;
    } else if (key == "X509AuthenticationProvider.superUser") {
      wire.x509_super = config_.host.replica.x509_super = line.value;
    } else if (key == "zabfs.clientSocket") {
      wire.unix_socket = line.value;
    } else if (key == "enforce.auth.enabled") {
      boolean(line, enforce_auth_);
    } else if (key == "enforce.auth.schemes") {
      wire.enforced_auth = comma_separated(line.value);
    } else if (key == "localSessionsEnabled") {
      boolean(line, wire.local_sessions);
      config_.host.replica.prepare.local_sessions = wire.local_sessions;
    } else if (key == "localSessionsUpgradingEnabled") {
      boolean(line, wire.local_upgrading);
    } else if (key.starts_with("ssl.")) {
      take_tls(line, key.substr(4), wire.tls);
    } else if (key == "skipACL") {
      wire.skip_acl = config_.host.replica.prepare.skip_acl = line.value == "yes";
    } else if (key == "readonlymode.enabled") {
      boolean(line, wire.read_only_mode);
    } else if (key.starts_with("zabfs.sasl.user.")) {
      wire.sasl_users[key.substr(16)] = line.value;
    } else if (key.starts_with("authProvider.")) {
      take_auth_provider(line);
    } else if (key == "4lw.commands.whitelist") {
      std::vector<std::string> words = comma_separated(line.value);
      wire.commands = std::set<std::string>(words.begin(), words.end());
    } else {
      return false;
    }
    return true;
  }

  // The keys of one side's TLS, without their prefix.
  void take_tls(const Line& line, const std::string& key, consensus::TlsConfig& tls) {
    using ClientAuth = consensus::TlsConfig::ClientAuth;
    static const std::map<std::string, ClientAuth> kClientAuth = {
        {"none", ClientAuth::kNone}, {"want", ClientAuth::kWant}, {"need", ClientAuth::kNeed}};
    if (key == "keyStore.location") {
      tls.key_store = line.value;
    } else if (key == "trustStore.location") {
      tls.trust_store = line.value;
    } else if (key == "keyStore.password") {
      tls.password = line.value;
    } else if (key == "hostnameVerification") {
      boolean(line, tls.verify_host);
    } else if (key == "clientAuth") {
      auto found = kClientAuth.find(line.value);
      if (found == kClientAuth.end()) return fail(line, "it is none of none, want, need");
      tls.client_auth = found->second;
    } else if (key == "keyStore.type" || key == "trustStore.type") {
      if (line.value != "PEM") {
        fail(line, "only PEM files are read; `openssl pkcs12 -in FILE -nodes` makes one");
      }
    } else if (key != "trustStore.password") {
      config_.warnings.push_back(fmt::format("{}:{}: {} is ignored", file_, line.number, line.key));
    }
  }

  // What only the whole of the file says.
  std::string check_client_doors() {
    wire::WireConfig& wire = config_.wire;
    if (enforce_auth_ && wire.enforced_auth.empty()) {
      return fmt::format("{}: enforce.auth.enabled without enforce.auth.schemes", file_);
    }
    if (!enforce_auth_) wire.enforced_auth.clear();
    if (wire.secure_port && wire.tls.key_store.empty()) {
      return fmt::format("{}: secureClientPort without ssl.keyStore.location", file_);
    }
    if (wire.secure_port && wire.tls.trust_store.empty() &&
        wire.tls.client_auth != consensus::TlsConfig::ClientAuth::kNone) {
      return fmt::format(
          "{}: secureClientPort without ssl.trustStore.location; only with ssl.clientAuth=none can "
          "it do without",
          file_);
    }
    if (ssl_quorum_ && (quorum_tls_.key_store.empty() || quorum_tls_.trust_store.empty())) {
      return fmt::format(
          "{}: sslQuorum without ssl.quorum.keyStore.location or ssl.quorum.trustStore.location",
          file_);
    }
    config_.admin.tls = quorum_tls_;
    config_.admin.tls.client_auth = consensus::TlsConfig::ClientAuth::kNone;  // as Java's
    if (ssl_quorum_) config_.host.quorum_tls = quorum_tls_;
    std::set<std::string>& schemes = config_.host.replica.prepare.acl_schemes;
    if (wire.secure_port) schemes.insert("x509");
    if (!wire.unix_socket.empty()) schemes.insert(std::string(tree::kUidScheme));
    return {};
  }

  // Java's providers go by their class; ours are the same, under these names.
  void take_auth_provider(const Line& line) {
    std::string name = line.value.substr(line.value.rfind('.') + 1);
    if (name == "SASLAuthenticationProvider") {
      config_.host.replica.prepare.acl_schemes.insert("sasl");
    } else if (name == "X509AuthenticationProvider") {
      config_.host.replica.prepare.acl_schemes.insert("x509");
    } else if (name != "DigestAuthenticationProvider" && name != "IPAuthenticationProvider") {
      config_.warnings.push_back(fmt::format("{}:{}: the authentication provider {} is not known",
                                             file_, line.number, line.value));
    }
  }

  void take_server(const Line& line) {
    std::optional<ServerId> id = consensus::parse_server_key(line.key);
    if (!id || id->value > 254) return fail(line, "the server number is not from 0 to 254");
    auto parsed = consensus::parse_member(line.value);
    if (auto* problem = std::get_if<consensus::MemberError>(&parsed)) {
      return fail(line, problem->what);
    }
    if (!members_.emplace(*id, std::get<Member>(parsed)).second) {
      return fail(line, "this server is listed twice");
    }
  }

  // Only the members are in there (Java: QuorumPeerConfig.parseDynamicConfig).
  void take_dynamic_file(const Line& line) {
    std::ifstream in(line.value);
    if (!in) return fail(line, fmt::format("can't read {}", line.value));
    if (!lines_of_members_.empty()) return fail(lines_of_members_.begin()->second, kElsewhere);
    dynamic_ = line;
    for (const Line& inner : parse_properties(in)) {
      if (is_of_members(inner.key)) {
        take_of_members({inner.number, inner.key, inner.value, &dynamic_->value});
      } else if (inner.key != "version") {
        fail({inner.number, inner.key, inner.value, &dynamic_->value}, "it does not belong there");
      }
      if (!error_.empty()) return;
    }
  }

  // The servers' groups and weights, as a whole.
  std::string check_members() {
    if (auto wrong = hierarchy_.complete(members_)) {
      auto line = lines_of_members_.find(wrong->key);
      fail(line == lines_of_members_.end() ? Line{0, wrong->key, ""} : line->second, wrong->what);
    }
    if (auto both = consensus::find_shared_byte(members_); both && error_.empty()) {
      error_ = fmt::format(
          "{}: server.{} and server.{} can't be in one ensemble: their sessions would have the "
          "same "
          "numbers; give one of them another number",
          file_, both->first.value, both->second.value);
    }
    return error_;
  }

  // As Java: the list of the servers says what each is.
  void compare_role() {
    const consensus::ZabConfig& zab = config_.host.replica.zab;
    if (!peer_type_ || (peer_type_->value == "observer") == !zab.wants_vote) return;
    config_.warnings.push_back(fmt::format(
        "{}:{}: peerType={} is ignored: by server.{} this server is {}", file_, peer_type_->number,
        peer_type_->value, zab.me.value, zab.wants_vote ? "a participant" : "an observer"));
  }

  std::string finish() {
    consensus::ZabConfig& zab = config_.host.replica.zab;
    if (std::string wrong = check_members(); !wrong.empty()) return wrong;
    if (members_.size() <= 1) {
      zab.me = members_.empty() ? ServerId{1} : members_.begin()->first;
      if (members_.empty()) members_[zab.me] = Member{"localhost", 0, 0, false, ""};
      zab.ensemble = consensus::Ensemble(members_, 0, hierarchy_);
      if (std::string wrong = check_addresses(); !wrong.empty()) return wrong;
      return take_own_client_address();
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
    zab.wants_vote = !members_[zab.me].observer;
    compare_role();
    zab.ensemble = consensus::Ensemble(members_, 0, hierarchy_);
    if (std::string wrong = check_addresses(); !wrong.empty()) return wrong;
    if (std::string wrong = take_own_client_address(); !wrong.empty()) return wrong;
    if (zab.ensemble.voter_count() == 0)
      return fmt::format("{}: every server is an observer", file_);
    if (!zab.ensemble.can_have_quorum()) return fmt::format("{}: no voter has weight", file_);
    return {};
  }

  // A server may listen everywhere, and nobody finds it there: its own line alone may say so, and
  // only if the others are not told.
  std::string check_addresses() {
    const consensus::ReplicaConfig& replica = config_.host.replica;
    if (replica.is_standalone()) return {};
    for (const auto& [id, member] : members_) {
      if (!consensus::is_wildcard(member.host)) continue;
      if (id != replica.zab.me) {
        return fmt::format(
            "{}: server.{}={} is no address by which that server is found; write its "
            "own",
            file_, id.value, member.host);
      }
      if (replica.reconfig_enabled) {
        return fmt::format(
            "{}: server.{}={} would be told to the other members, for "
            "reconfigEnabled is true; write the address by which they reach this "
            "server, and quorumListenOnAllIPs=true if it is to listen on all",
            file_, id.value, member.host);
      }
    }
    return {};
  }

  // `;[host:]port` at the end of this server's own line stands for clientPort.
  std::string take_own_client_address() {
    std::string address = members_[config_.host.replica.zab.me].client_address;
    if (address.empty()) return {};
    size_t colon = address.rfind(':');
    auto port = static_cast<uint16_t>(std::stoi(address.substr(colon + 1)));
    if (config_.wire.port && *config_.wire.port != port) {
      return fmt::format("{}: clientPort {} differs from the one in server.{}", file_,
                         *config_.wire.port, config_.host.replica.zab.me.value);
    }
    config_.wire.port = port;
    std::string host = colon == std::string::npos ? "" : address.substr(0, colon);
    if (config_.wire.address.empty() && host != "0.0.0.0") config_.wire.address = host;
    return {};
  }

  const std::string& file_;
  Config& config_;
  std::map<ServerId, Member> members_;
  consensus::Hierarchy hierarchy_;
  std::map<std::string, Line> lines_of_members_;
  std::optional<Line> dynamic_;  // the line that names another file for them
  std::optional<Line> peer_type_;
  bool enforce_auth_ = false;
  bool has_secret_ = false;
  bool ssl_quorum_ = false;
  consensus::TlsConfig quorum_tls_;
  std::string error_;
};

}  // namespace

std::string load_config(const std::string& file, Config& config) {
  return Reader(file, config).read();
}

std::vector<std::string> settings_of(const Config& config) {
  const consensus::ReplicaConfig& replica = config.host.replica;
  const consensus::ZabConfig& zab = replica.zab;
  std::string logs =
      config.host.data_log_dir.empty() ? config.host.data_dir : config.host.data_log_dir;
  auto or_ticks = [&zab](int32_t ms, int32_t ticks) { return ms == 0 ? ticks * zab.tick_ms : ms; };
  std::vector<std::string> lines{
      fmt::format("clientPort={}", config.wire.port.value_or(0)),
      fmt::format("secureClientPort={}",
                  config.wire.secure_port ? int{*config.wire.secure_port} : -1),
      fmt::format("dataDir={}", config.host.data_dir),
      fmt::format("dataLogDir={}", logs),
      fmt::format("tickTime={}", zab.tick_ms),
      fmt::format("maxClientCnxns={}", config.wire.max_per_address),
      fmt::format("minSessionTimeout={}", or_ticks(replica.min_session_ms, 2)),
      fmt::format("maxSessionTimeout={}", or_ticks(replica.max_session_ms, 20)),
      fmt::format("clientPortListenBacklog={}", config.wire.backlog),
      fmt::format("serverId={}", zab.me.value)};
  const Member* self = zab.ensemble.find(zab.me);
  if (zab.ensemble.members().size() > 1 && self != nullptr) {
    lines.push_back(fmt::format("initLimit={}", zab.init_limit));
    lines.push_back(fmt::format("syncLimit={}", zab.sync_limit));
    lines.push_back("electionAlg=3");
    lines.push_back(fmt::format("electionPort={}", self->election_port));
    lines.push_back(fmt::format("quorumPort={}", self->quorum_port));
    lines.push_back(fmt::format("peerType={}", self->observer ? 1 : 0));
  }
  return lines;
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
