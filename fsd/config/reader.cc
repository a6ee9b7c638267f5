#include "fsd/config/reader.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>
#include <set>
#include <utility>
#include <variant>

#include "fsd/config/keys.h"
#include "tree/posix.h"

namespace zabfs::fsd {

using consensus::Member;
using tree::ServerId;
using ClientAuth = consensus::TlsConfig::ClientAuth;

namespace {

constexpr const char* kElsewhere = "dynamicConfigFile has the members; it belongs there";

bool is_of_members(const std::string& key) {
  return key.starts_with("server.") || consensus::Hierarchy::is_key(key);
}

bool is_secret(const std::string& key) {
  return key.ends_with(".password") || key.starts_with("zabfs.sasl.user.") ||
         key == "DigestAuthenticationProvider.superDigest";
}

}  // namespace

Status ConfigReader::read() {
  std::ifstream in(file_);
  if (!in) return Status::failed(fmt::format("can't read the configuration {}", file_));
  for (const Property& line : parse_properties(in, file_)) {
    take(line);
    if (!status_.ok()) return status_;
  }
  if (config_.host.data_dir.empty()) {
    return Status::failed(fmt::format("{}: dataDir is missing", file_));
  }
  if (Status status = check_client_doors(); !status.ok()) return status;
  if (Status status = take_tls_of_members(); !status.ok()) return status;
  if (has_secret_) check_readers(file_, "a password");
  check_readers(config_.wire.tls.key_store, "a private key");
  check_readers(quorum_tls_.key_store, "a private key");
  return finish();
}

void ConfigReader::take(const Property& line) {
  has_secret_ = has_secret_ || is_secret(line.key);
  if (is_of_members(line.key)) {
    return dynamic_ ? fail(line, kElsewhere) : take_of_members(line);
  }
  if (const Key* key = find_key(line.key)) return key->take(*this, line);
  config_.warnings.push_back(
      fmt::format("{}:{}: unknown key {} is ignored", line.file, line.line, line.key));
}

// ---- values

void ConfigReader::fail(const Property& line, const std::string& what) {
  status_ = Status::failed(fmt::format("{}:{}: {}: {}", line.file, line.line, line.key, what));
}

void ConfigReader::warn(const Property& line, const std::string& what) {
  config_.warnings.push_back(fmt::format("{}:{}: {}", line.file, line.line, what));
}

std::optional<int64_t> ConfigReader::number_of(const Property& line, int64_t low, int64_t high) {
  int64_t value = 0;
  const char* end = line.value.data() + line.value.size();
  auto [stop, error] = std::from_chars(line.value.data(), end, value);
  if (error != std::errc() || stop != end || value < low || value > high) {
    fail(line, fmt::format("\"{}\" is not a number from {} to {}", line.value, low, high));
    return std::nullopt;
  }
  return value;
}

void ConfigReader::mode(const Property& line, uint32_t& out) {
  const char* end = line.value.data() + line.value.size();
  auto [stop, error] = std::from_chars(line.value.data(), end, out, 8);
  if (error != std::errc() || stop != end || out > tree::kModeBits) {
    fail(line, fmt::format("\"{}\" is not an octal mode like 0755", line.value));
  }
}

void ConfigReader::boolean(const Property& line, bool& out) {
  if (line.value != "true" && line.value != "false") {
    return fail(line, fmt::format("\"{}\" is neither true nor false", line.value));
  }
  out = line.value == "true";
}

void ConfigReader::path(const Property& line, std::string& out) {
  if (line.value.empty()) return fail(line, "a path is missing");
  out = line.value;
}

// ---- clients and TLS

void ConfigReader::take_tls(const Property& line, const std::string& key,
                            consensus::TlsConfig& tls) {
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
    warn(line, line.key + " is ignored");
  }
}

void ConfigReader::take_auth_provider(const Property& line) {
  std::string name = line.value.substr(line.value.rfind('.') + 1);
  if (name == "SASLAuthenticationProvider") {
    replica().prepare.acl_schemes.insert("sasl");
  } else if (name == "X509AuthenticationProvider") {
    replica().prepare.acl_schemes.insert("x509");
  } else if (name != "DigestAuthenticationProvider" && name != "IPAuthenticationProvider") {
    warn(line, fmt::format("the authentication provider {} is not known", line.value));
  }
}

// A file that every user of the machine can read holds no secret.
void ConfigReader::check_readers(const std::string& file, const std::string& what) {
  struct stat st;
  if (file.empty() || ::stat(file.c_str(), &st) != 0 || (st.st_mode & S_IROTH) == 0) return;
  config_.warnings.push_back(fmt::format(
      "{} holds {}, and every user of this machine can read it; chmod o-r {}", file, what, file));
}

Status ConfigReader::check_client_doors() {
  wire::WireConfig& wire = config_.wire;
  if (enforce_auth_ && wire.enforced_auth.empty()) {
    return Status::failed(
        fmt::format("{}: enforce.auth.enabled without enforce.auth.schemes", file_));
  }
  if (!enforce_auth_) wire.enforced_auth.clear();
  if (wire.secure_port && wire.tls.key_store.empty()) {
    return Status::failed(fmt::format("{}: secureClientPort without ssl.keyStore.location", file_));
  }
  if (wire.secure_port && wire.tls.trust_store.empty() &&
      wire.tls.client_auth != ClientAuth::kNone) {
    return Status::failed(
        fmt::format("{}: secureClientPort without ssl.trustStore.location; only with "
                    "ssl.clientAuth=none can it do without",
                    file_));
  }
  std::set<std::string>& schemes = replica().prepare.acl_schemes;
  if (wire.secure_port) schemes.insert("x509");
  if (!wire.unix_socket.empty()) schemes.insert(std::string(tree::kUidScheme));
  return {};
}

// The admin port has their certificate, too.
Status ConfigReader::take_tls_of_members() {
  if (ssl_quorum_ && (quorum_tls_.key_store.empty() || quorum_tls_.trust_store.empty())) {
    return Status::failed(fmt::format(
        "{}: sslQuorum without ssl.quorum.keyStore.location or ssl.quorum.trustStore.location",
        file_));
  }
  config_.admin.tls = quorum_tls_;
  config_.admin.tls.client_auth = ClientAuth::kNone;  // as Java's
  if (ssl_quorum_) config_.host.quorum_tls = quorum_tls_;
  return {};
}

// ---- members

void ConfigReader::take_of_members(const Property& line) {
  lines_of_members_.emplace(line.key, line);
  if (line.key.starts_with("server.")) return take_server(line);
  Status status = hierarchy_.take(line.key, line.value);
  if (!status.ok()) fail(line, status.why());
}

void ConfigReader::take_server(const Property& line) {
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

void ConfigReader::take_dynamic_file(const Property& line) {
  std::ifstream in(line.value);
  if (!in) return fail(line, fmt::format("can't read {}", line.value));
  if (!lines_of_members_.empty()) return fail(lines_of_members_.begin()->second, kElsewhere);
  dynamic_ = line;
  for (const Property& inner : parse_properties(in, line.value)) {
    if (is_of_members(inner.key)) {
      take_of_members(inner);
    } else if (inner.key != "version") {
      fail(inner, "it does not belong there");
    }
    if (!status_.ok()) return;
  }
}

void ConfigReader::peer_type(const Property& line) {
  peer_type_ = line;
  std::string& role = peer_type_->value;
  std::transform(role.begin(), role.end(), role.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (role != "observer" && role != "participant") {
    fail(line, "it is neither participant nor observer");
  }
}

// As Java's default provider, the others tell what they know by `mntr` and the admin port.
void ConfigReader::metrics_provider(const Property& line) {
  std::string name = line.value.substr(line.value.rfind('.') + 1);
  config_.metrics.enabled = name == "PrometheusMetricsProvider";
  if (config_.metrics.enabled || name == "DefaultMetricsProvider") return;
  warn(line, fmt::format("the metrics provider {} is not known: nothing listens for Prometheus; "
                         "known is org.apache.zookeeper.metrics.prometheus."
                         "PrometheusMetricsProvider",
                         line.value));
}

Status ConfigReader::finish() {
  if (Status status = check_members(); !status.ok()) return status;
  if (members_.size() <= 1) return finish_alone();
  if (Status status = read_myid(); !status.ok()) return status;
  consensus::ZabConfig& zab = replica().zab;
  zab.wants_vote = !members_[zab.me].observer;
  compare_role();
  zab.ensemble = consensus::Ensemble(members_, 0, hierarchy_);
  if (Status status = check_addresses(); !status.ok()) return status;
  if (Status status = take_own_client_address(); !status.ok()) return status;
  if (zab.ensemble.voter_count() == 0) {
    return Status::failed(fmt::format("{}: every server is an observer", file_));
  }
  if (!zab.ensemble.can_have_quorum()) {
    return Status::failed(fmt::format("{}: no voter has weight", file_));
  }
  return {};
}

Status ConfigReader::finish_alone() {
  consensus::ZabConfig& zab = replica().zab;
  zab.me = members_.empty() ? ServerId{1} : members_.begin()->first;
  if (members_.empty()) members_[zab.me] = Member{"localhost", 0, 0, false, ""};
  zab.ensemble = consensus::Ensemble(members_, 0, hierarchy_);
  if (Status status = check_addresses(); !status.ok()) return status;
  return take_own_client_address();
}

Status ConfigReader::read_myid() {
  std::string path = config_.host.data_dir + "/myid";
  std::ifstream in(path);
  std::string text;
  if (!std::getline(in, text)) {
    return Status::failed(
        fmt::format("{} is missing or empty: write this server's number into it", path));
  }
  text = trimmed(text);
  int64_t id = 0;
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || stop != text.data() + text.size()) {
    return Status::failed(fmt::format("{}: \"{}\" is not a server number", path, text));
  }
  replica().zab.me = ServerId{id};
  if (!members_.contains(ServerId{id})) {
    return Status::failed(fmt::format("{}: server {} is not listed in {}", path, id, file_));
  }
  return {};
}

// The servers' groups and weights, as a whole.
Status ConfigReader::check_members() {
  if (auto wrong = hierarchy_.complete(members_)) {
    auto line = lines_of_members_.find(wrong->key);
    fail(line == lines_of_members_.end() ? Property{file_, 0, wrong->key, ""} : line->second,
         wrong->what);
    return status_;
  }
  if (auto both = consensus::find_shared_byte(members_)) {
    return Status::failed(
        fmt::format("{}: server.{} and server.{} can't be in one ensemble: their sessions would "
                    "have the same numbers; give one of them another number",
                    file_, both->first.value, both->second.value));
  }
  return {};
}

// As Java: the list of the servers says what each is.
void ConfigReader::compare_role() {
  const consensus::ZabConfig& zab = replica().zab;
  if (!peer_type_ || (peer_type_->value == "observer") == !zab.wants_vote) return;
  warn(*peer_type_,
       fmt::format("peerType={} is ignored: by server.{} this server is {}", peer_type_->value,
                   zab.me.value, zab.wants_vote ? "a participant" : "an observer"));
}

// A server may listen everywhere, and nobody finds it there: its own line alone may say so, and
// only if the others are not told.
Status ConfigReader::check_addresses() const {
  const consensus::ReplicaConfig& replica = config_.host.replica;
  if (replica.is_standalone()) return {};
  for (const auto& [id, member] : members_) {
    if (!consensus::is_wildcard(member.host)) continue;
    if (id != replica.zab.me) {
      return Status::failed(
          fmt::format("{}: server.{}={} is no address by which that server is found; write its own",
                      file_, id.value, member.host));
    }
    if (replica.reconfig_enabled) {
      return Status::failed(fmt::format(
          "{}: server.{}={} would be told to the other members, for reconfigEnabled is true; write "
          "the address by which they reach this server, and quorumListenOnAllIPs=true if it is to "
          "listen on all",
          file_, id.value, member.host));
    }
  }
  return {};
}

// `;[host:]port` at the end of this server's own line stands for clientPort.
Status ConfigReader::take_own_client_address() {
  ServerId me = replica().zab.me;
  std::string address = members_[me].client_address;
  if (address.empty()) return {};
  size_t colon = address.rfind(':');
  auto port = static_cast<uint16_t>(std::stoi(address.substr(colon + 1)));
  if (config_.wire.port && *config_.wire.port != port) {
    return Status::failed(fmt::format("{}: clientPort {} differs from the one in server.{}", file_,
                                      *config_.wire.port, me.value));
  }
  config_.wire.port = port;
  std::string host = colon == std::string::npos ? "" : address.substr(0, colon);
  if (config_.wire.address.empty() && host != "0.0.0.0") config_.wire.address = host;
  return {};
}

}  // namespace zabfs::fsd
