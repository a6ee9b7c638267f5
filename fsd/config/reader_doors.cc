// Of the reader: who gets in by the ports of clients and of members.
#include <fmt/format.h>
#include <sys/stat.h>

#include <set>

#include "fsd/config/reader.h"
#include "tree/posix.h"

namespace zabfs::fsd {

using ClientAuth = consensus::TlsConfig::ClientAuth;

void ConfigReader::take_connection_factory(const Property& line) {
  std::string name = line.value.substr(line.value.rfind('.') + 1);
  if (name == "NIOServerCnxnFactory") {
    nio_ = line;
  } else if (name != "NettyServerCnxnFactory") {
    fail(line, "classes of Java can't be loaded; take the line out");
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

void ConfigReader::require_scheme(const Property& line) {
  std::string scheme = in_lower_case(line.value);
  if (scheme.empty() || scheme == "none") return;
  if (scheme != "sasl") return fail(line, "only sasl is supported; see enforce.auth.schemes");
  requires_sasl_ = true;
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

// Java: AuthenticationHelper.
Status ConfigReader::check_enforced_schemes() {
  static const std::set<std::string> kKnown = {"digest", "ip", "x509", "sasl",
                                               std::string(tree::kUidScheme)};
  wire::WireConfig& wire = config_.wire;
  if (requires_sasl_) {
    enforce_auth_ = true;
    wire.enforced_auth = {"sasl"};
  }
  if (!enforce_auth_) {
    wire.enforced_auth.clear();
    return {};
  }
  if (wire.enforced_auth.empty()) {
    return Status::failed(
        fmt::format("{}: enforce.auth.enabled without enforce.auth.schemes", file_));
  }
  for (const std::string& scheme : wire.enforced_auth) {
    if (kKnown.contains(scheme)) continue;
    return Status::failed(
        fmt::format("{}: enforce.auth.schemes: there is no scheme {}", file_, scheme));
  }
  if (wire.enforced_auth == std::vector<std::string>{"sasl"} && wire.sasl_users.empty()) {
    return Status::failed(
        fmt::format("{}: clients have to authenticate by SASL, and there are no users who could; "
                    "give them as zabfs.sasl.user.NAME=PASSWORD",
                    file_));
  }
  return {};
}

Status ConfigReader::check_client_doors() {
  if (Status status = check_enforced_schemes(); !status.ok()) return status;
  wire::WireConfig& wire = config_.wire;
  if (wire.secure_port && nio_) {
    return Status::failed(fmt::format(
        "{}:{}: serverCnxnFactory: NIOServerCnxnFactory has no TLS, and secureClientPort is set; "
        "take one of the two out",
        nio_->file, nio_->line));
  }
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

}  // namespace zabfs::fsd
