#include "fsd/config.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <functional>
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

class Reader;
using Take = std::function<void(Reader&, const Line&)>;

// One key of zoo.cfg.
struct Key {
  std::string name;   // with * at its end: all that begin so
  std::string value;  // what it may be
  Take take;
  std::string fallback = {};  // what it is without a line; of our own keys
  std::string help = {};      // the same; ZooKeeper's mean what they mean there
};
const std::vector<Key>& keys();
const Key* find_key(const std::string& name);

class Reader {
 public:
  static constexpr const char* kElsewhere = "dynamicConfigFile has the members; it belongs there";

  Reader(const std::string& file, Config& config) : file_(file), config_(config) {}

  std::string read();

  // -- for the table of keys
  Config& config() { return config_; }
  consensus::ReplicaConfig& replica() { return config_.host.replica; }
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

  void path(const Line& line, std::string& out) {
    if (line.value.empty()) return fail(line, "a path is missing");
    out = line.value;
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

  void peer_type(const Line& line) {
    std::string role = line.value;
    std::transform(role.begin(), role.end(), role.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (role != "observer" && role != "participant") {
      return fail(line, "it is neither participant nor observer");
    }
    peer_type_ = Line{line.number, line.key, role};
  }

  void enforce_auth(const Line& line) { boolean(line, enforce_auth_); }
  void ssl_quorum(const Line& line) { boolean(line, ssl_quorum_); }
  void quorum_tls(const Line& line, const std::string& key) { take_tls(line, key, quorum_tls_); }

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

 private:
  static bool is_secret(const std::string& key) {
    return key.ends_with(".password") || key.starts_with("zabfs.sasl.user.") ||
           key == "DigestAuthenticationProvider.superDigest";
  }

  void take(const Line& line) {
    has_secret_ = has_secret_ || is_secret(line.key);
    if (is_of_members(line.key)) {
      return dynamic_ ? fail(line, kElsewhere) : take_of_members(line);
    }
    if (const Key* key = find_key(line.key)) return key->take(*this, line);
    config_.warnings.push_back(
        fmt::format("{}:{}: unknown key {} is ignored", file_, line.number, line.key));
  }

  // What every user of the machine can read is no secret.
  void check_readers(const std::string& file, const std::string& what) {
    struct stat st;
    if (file.empty() || ::stat(file.c_str(), &st) != 0 || (st.st_mode & S_IROTH) == 0) return;
    config_.warnings.push_back(fmt::format(
        "{} holds {}, and every user of this machine can read it; chmod o-r {}", file, what, file));
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

std::string Reader::read() {
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

// ---- the keys

Take nothing() {
  return [](Reader&, const Line&) {};
}

template <class Target>
Take number(Target target, int64_t low, int64_t high) {
  return [=](Reader& reader, const Line& line) { reader.number(line, target(reader), low, high); };
}
template <class Target>
Take boolean(Target target) {
  return [=](Reader& reader, const Line& line) { reader.boolean(line, target(reader)); };
}
template <class Target>
Take mode(Target target) {
  return [=](Reader& reader, const Line& line) { reader.mode(line, target(reader)); };
}
template <class Target>
Take text(Target target) {
  return [=](Reader& reader, const Line& line) { target(reader) = line.value; };
}
template <class Target>
Take path(Target target) {
  return [=](Reader& reader, const Line& line) { reader.path(line, target(reader)); };
}

// Keys that change what a quorum is, or who is elected and by whom. What of them is not done here
// is refused: beside servers that do it, to go on without it splits the brain.
Take refused_unless(const char* value, const char* why) {
  return [=](Reader& reader, const Line& line) {
    if (line.value != value) reader.fail(line, why);
  };
}

// The end of a key that stands for many.
std::string end_of(const Line& line, const char* begin) {
  return line.key.substr(std::string_view(begin).size());
}

void take_super_digest(Reader& reader, const Line& line) {
  if (line.value.find(':') == std::string::npos) {
    reader.fail(line, "it is not of the form user:digest");
  }
  reader.config().wire.super_digest = reader.replica().super_digest = line.value;
}

void take_memory(Reader& reader, const Line& line) {
  size_t mib = 0;
  reader.number(line, mib, 16, 1 << 20);
  reader.config().wire.memory_bytes = mib << 20;
}

constexpr int64_t kMaxMs = 3'600'000, kMaxDayMs = 86'400'000;
constexpr const char* kBoolean = "true, false";
constexpr const char* kNoSasl = "SASL between members is not supported; see sslQuorum";

std::vector<Key> make_keys() {
#define ZABFS_AT(member) \
  [](Reader & r) -> auto& { return r.member; }
  return {
      // What every node of ZooKeeper's has.
      {"dataDir", "a path", path(ZABFS_AT(config().host.data_dir))},
      {"dataLogDir", "a path", path(ZABFS_AT(config().host.data_log_dir))},
      {"tickTime", "10 to 3600000 ms", number(ZABFS_AT(replica().zab.tick_ms), 10, kMaxMs)},
      {"initLimit", "1 to 1000000 ticks", number(ZABFS_AT(replica().zab.init_limit), 1, 1'000'000)},
      {"syncLimit", "1 to 1000000 ticks", number(ZABFS_AT(replica().zab.sync_limit), 1, 1'000'000)},
      {"minSessionTimeout", "ms", number(ZABFS_AT(replica().min_session_ms), 1, INT32_MAX)},
      {"maxSessionTimeout", "ms", number(ZABFS_AT(replica().max_session_ms), 1, INT32_MAX)},
      {"snapCount", "2 or more", number(ZABFS_AT(replica().snapshot_txns), 2, INT32_MAX)},
      {"autopurge.snapRetainCount", "3 to 1000",
       number(ZABFS_AT(replica().snapshot_retain), 3, 1'000)},
      {"extendedTypesEnabled", kBoolean, boolean(ZABFS_AT(replica().prepare.extended_types))},
      {"enforceQuota", kBoolean, boolean(ZABFS_AT(replica().prepare.enforce_quota))},
      {"znode.container.checkIntervalMs", "1 or more",
       number(ZABFS_AT(replica().reap_interval_ms), 1, INT32_MAX)},

      // Members.
      {"server.*", "host:port:port[:role][;[host:]port]", nothing()},  // Reader::take_of_members
      {"group.*", "numbers of servers, with : between", nothing()},
      {"weight.*", "0 or more", nothing()},
      {"dynamicConfigFile", "a path",
       [](Reader& r, const Line& line) { r.take_dynamic_file(line); }},
      {"standaloneEnabled", kBoolean, boolean(ZABFS_AT(replica().standalone_enabled))},
      {"reconfigEnabled", kBoolean, boolean(ZABFS_AT(replica().reconfig_enabled))},
      {"quorumListenOnAllIPs", kBoolean, boolean(ZABFS_AT(config().host.listen_on_all))},
      {"sslQuorum", kBoolean, [](Reader& r, const Line& line) { r.ssl_quorum(line); }},
      {"ssl.quorum.*", "as ssl.*",
       [](Reader& r, const Line& line) { r.quorum_tls(line, end_of(line, "ssl.quorum.")); }},
      {"peerType", "participant, observer", [](Reader& r, const Line& line) { r.peer_type(line); }},
      {"db.autocreate", kBoolean, boolean(ZABFS_AT(replica().zab.begins_by_itself))},
      {"electionAlg", "3", refused_unless("3", "only 3, fast leader election, is supported")},
      {"oraclePath", "false",
       refused_unless("false", "an oracle in the place of a quorum is not supported")},
      {"multiAddress.enabled", "false",
       refused_unless("false", "several addresses a server are not supported")},
      {"quorum.auth.enableSasl", "false", refused_unless("false", kNoSasl)},
      {"quorum.auth.learnerRequireSasl", "false", refused_unless("false", kNoSasl)},
      {"quorum.auth.serverRequireSasl", "false", refused_unless("false", kNoSasl)},

      // The ports of clients.
      {"clientPort", "0 to 65535",
       [](Reader& r, const Line& line) {
         r.number(line, r.config().wire.port.emplace(), 0, UINT16_MAX);
       }},
      {"clientPortAddress", "an address", text(ZABFS_AT(config().wire.address))},
      {"secureClientPort", "0 to 65535",
       [](Reader& r, const Line& line) {
         r.number(line, r.config().wire.secure_port.emplace(), 0, UINT16_MAX);
       }},
      {"secureClientPortAddress", "an address", text(ZABFS_AT(config().wire.secure_address))},
      {"clientPortListenBacklog", "-1 or more",
       number(ZABFS_AT(config().wire.backlog), -1, INT32_MAX)},
      {"maxClientCnxns", "0 or more",
       number(ZABFS_AT(config().wire.max_per_address), 0, INT32_MAX)},
      {"maxCnxns", "0 or more", number(ZABFS_AT(config().wire.max_connections), 0, INT32_MAX)},
      {"jute.maxbuffer", "1024 to 1048575",
       number(ZABFS_AT(config().wire.max_frame_bytes), 1'024, tree::kJuteMaxBuffer)},
      {"4lw.commands.whitelist", "words, with commas between",
       [](Reader& r, const Line& line) {
         std::vector<std::string> words = comma_separated(line.value);
         r.config().wire.commands = std::set<std::string>(words.begin(), words.end());
       }},
      {"readonlymode.enabled", kBoolean, boolean(ZABFS_AT(config().wire.read_only_mode))},
      {"localSessionsEnabled", kBoolean,
       [](Reader& r, const Line& line) {
         r.boolean(line, r.config().wire.local_sessions);
         r.replica().prepare.local_sessions = r.config().wire.local_sessions;
       }},
      {"localSessionsUpgradingEnabled", kBoolean, boolean(ZABFS_AT(config().wire.local_upgrading))},
      {"skipACL", "yes, no",
       [](Reader& r, const Line& line) {
         r.config().wire.skip_acl = r.replica().prepare.skip_acl = line.value == "yes";
       }},
      {"DigestAuthenticationProvider.superDigest", "user:digest", take_super_digest},
      {"X509AuthenticationProvider.superUser", "a name",
       [](Reader& r, const Line& line) {
         r.config().wire.x509_super = r.replica().x509_super = line.value;
       }},
      {"authProvider.*", "a class",
       [](Reader& r, const Line& line) { r.take_auth_provider(line); }},
      {"enforce.auth.enabled", kBoolean, [](Reader& r, const Line& line) { r.enforce_auth(line); }},
      {"enforce.auth.schemes", "schemes, with commas between",
       [](Reader& r, const Line& line) {
         r.config().wire.enforced_auth = comma_separated(line.value);
       }},
      {"ssl.*", "keyStore.location, trustStore.location, clientAuth and others",
       [](Reader& r, const Line& line) {
         r.take_tls(line, end_of(line, "ssl."), r.config().wire.tls);
       }},

      // The admin port.
      {"admin.enableServer", kBoolean, boolean(ZABFS_AT(config().admin.enabled))},
      {"admin.serverPort", "0 to 65535",
       [](Reader& r, const Line& line) {
         r.number(line, r.config().admin.port.emplace(), 0, UINT16_MAX);
       }},
      {"admin.serverAddress", "an address", text(ZABFS_AT(config().admin.address))},
      {"admin.commandURL", "a path", text(ZABFS_AT(config().admin.path))},
      {"admin.portUnification", kBoolean, boolean(ZABFS_AT(config().admin.accepts_tls))},
      {"admin.forceHttps", kBoolean, boolean(ZABFS_AT(config().admin.only_tls))},
      {"admin.*", "", nothing()},

      // Known, and not needed here.
      {"autopurge.purgeInterval", "", nothing()},
      {"connectToLearnerMasterLimit", "", nothing()},
      {"forceSync", "", nothing()},
      {"preAllocSize", "", nothing()},
      {"syncEnabled", "", nothing()},
      {"znode.container.maxPerMinute", "", nothing()},

      // Our own.
      {"zabfs.mount", "a path", path(ZABFS_AT(config().mount.point)), "none",
       "where to mount; without it nothing is mounted"},
      {"zabfs.uid", "0 to 4294967294", number(ZABFS_AT(config().mount.uid), 0, tree::kNoId - 1),
       "0", "owner of znodes that no mount made"},
      {"zabfs.gid", "0 to 4294967294", number(ZABFS_AT(config().mount.gid), 0, tree::kNoId - 1),
       "0", "group of znodes that no mount made"},
      {"zabfs.rootMode", "an octal mode", mode(ZABFS_AT(config().mount.root_mode)), "0755",
       "mode of a new tree's root. The first mount sets it, once; later use `chmod`. Without a "
       "mount everybody may do everything there, as in ZooKeeper"},
      {"zabfs.quorumGrace", "0 to 3600000 ms",
       number(ZABFS_AT(config().mount.quorum_grace_ms), 0, kMaxMs), "5000 ms",
       "when a node had no leader for so long, writes fail with EROFS; until then they wait"},
      {"zabfs.commitTimeout", "1 to 3600000 ms",
       number(ZABFS_AT(config().mount.commit_timeout_ms), 1, kMaxMs), "30000 ms",
       "a commit that has no answer by then fails with EIO: it may still be done"},
      {"zabfs.sessionTimeout", "100 to 3600000 ms",
       number(ZABFS_AT(config().mount.session_timeout_ms), 100, kMaxMs), "6000 ms",
       "when a node dies, its locks and ephemerals are free after about this time"},
      {"zabfs.cacheAfter", "0 to 86400000 ms",
       number(ZABFS_AT(config().mount.cache_after_ms), 0, kMaxDayMs), "1000 ms",
       "files that did not change for so long are read through the kernel's page cache; 0: never"},
      {"zabfs.inotify", kBoolean, boolean(ZABFS_AT(config().mount.inotify)), "true",
       "tell inotify what other nodes do"},
      {"zabfs.protectMountPoint", kBoolean, boolean(ZABFS_AT(config().mount.protects_point)),
       "true",
       "make the directory under the mount immutable (mode 0000 where there is no such flag), so "
       "that nothing is written to it while zabfsd does not run. Before you remove it: `zabfsd "
       "--unprotect DIR`"},
      {"zabfs.clientSocket", "a path", text(ZABFS_AT(config().wire.unix_socket)), "none",
       "path of a Unix-domain socket for clients. A client's user is its identity in ACLs "
       "(`uid:1000`) and owns files as on the mount; its groups count; root is the superuser"},
      {"zabfs.clientThreads", "1 to 64", number(ZABFS_AT(config().wire.threads), 1, 64), "1",
       "threads that receive from ZooKeeper clients"},
      {"zabfs.clientMemory", "16 to 1048576 MiB", take_memory, "512 MiB",
       "what ZooKeeper clients may make a node hold for them; a number of MiB"},
      {"zabfs.sasl.user.*", "a password",
       [](Reader& r, const Line& line) {
         r.config().wire.sasl_users[end_of(line, "zabfs.sasl.user.")] = line.value;
       },
       "none", "password of the SASL DIGEST-MD5 user of that name"},
      {"zabfs.coreDumps", kBoolean, boolean(ZABFS_AT(config().core_dumps)), "false",
       "whether the daemon may leave a core dump, which holds passwords and data. A debugger of a "
       "user other than root needs it too"},
  };
#undef ZABFS_AT
}

const std::vector<Key>& keys() {
  static const std::vector<Key> kKeys = make_keys();
  return kKeys;
}

// The longest that fits.
const Key* find_key(const std::string& name) {
  const Key* found = nullptr;
  for (const Key& key : keys()) {
    bool is_begin = key.name.ends_with('*');
    bool fits =
        is_begin ? name.starts_with(key.name.substr(0, key.name.size() - 1)) : name == key.name;
    if (fits && (found == nullptr || !is_begin || key.name.size() > found->name.size())) {
      found = &key;
    }
    if (fits && !is_begin) break;
  }
  return found;
}

}  // namespace

std::string load_config(const std::string& file, Config& config) {
  return Reader(file, config).read();
}

std::string describe_keys() {
  std::string text = "| key | values | default | |\n|---|---|---|---|\n";
  for (const Key& key : keys()) {
    if (key.help.empty()) continue;
    text += fmt::format("| `{}` | {} | {} | {} |\n", key.name, key.value, key.fallback, key.help);
  }
  text +=
      "\nKeys of ZooKeeper's, with its meaning and its defaults:\n\n| key | values |\n|---|---|\n";
  for (const Key& key : keys()) {
    bool is_known = key.help.empty() && !key.value.empty();
    if (is_known) text += fmt::format("| `{}` | {} |\n", key.name, key.value);
  }
  text += "\nKnown, and without effect here:";
  for (const Key& key : keys()) {
    if (key.value.empty()) text += fmt::format(" `{}`", key.name);
  }
  return text + "\n";
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
