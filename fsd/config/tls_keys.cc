// The keys of TLS: `ssl.` for clients, `ssl.quorum.` for members and the admin port.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <map>
#include <set>

#include "consensus/tls.h"
#include "fsd/config/keys.h"
#include "fsd/config/take.h"

namespace zabfs::fsd {

using consensus::TlsConfig;
using ClientAuth = TlsConfig::ClientAuth;
using namespace take;

namespace {

using Side = TlsConfig& (ConfigReader::*)();
using TakeTls = void (*)(ConfigReader&, const Property&, TlsConfig&);

void take_client_auth(ConfigReader& reader, const Property& line, TlsConfig& tls) {
  static const std::map<std::string, ClientAuth> kClientAuth = {{"none", ClientAuth::kNone},
                                                                {"want", ClientAuth::kWant},
                                                                {"need", ClientAuth::kNeed},
                                                                {"", ClientAuth::kNeed}};
  auto found = kClientAuth.find(in_lower_case(line.value));
  if (found == kClientAuth.end()) return reader.fail(line, "it is none of none, want, need");
  tls.client_auth = found->second;
}

// What kind of store a file is, its first bytes say.
void take_type(ConfigReader& reader, const Property& line, TlsConfig&) {
  static const std::set<std::string> kTypes = {"", "pem", "pkcs12", "jks"};
  if (!kTypes.contains(in_lower_case(line.value))) {
    reader.fail(line, "it is none of PEM, PKCS12, JKS");
  }
}

void take_password_of(ConfigReader& reader, const Property& line, std::string& password) {
  std::ifstream in(line.value);
  if (!in || !std::getline(in, password)) {
    return reader.fail(line, fmt::format("can't read a password from {}", line.value));
  }
  password = trimmed(password);
  reader.check_readers(line.value, "a password");
}

void take_protocols(ConfigReader& reader, const Property& line, TlsConfig& tls) {
  bool has_old = false;
  tls.is_1_2 = tls.is_1_3 = false;
  for (const std::string& name : comma_separated(line.value)) {
    if (name == "TLSv1.2" || name == "TLS") tls.is_1_2 = true;
    if (name == "TLSv1.3" || name == "TLS") tls.is_1_3 = true;
    has_old = has_old || !(name == "TLS" || name == "TLSv1.2" || name == "TLSv1.3");
  }
  if (!tls.is_1_2 && !tls.is_1_3) {
    return reader.fail(line, fmt::format("\"{}\" has neither TLSv1.2 nor TLSv1.3", line.value));
  }
  if (has_old) reader.warn(line, "only TLSv1.2 and TLSv1.3 are used");
}

// ssl.enabledProtocols counts, whichever comes first.
void take_protocol(ConfigReader& reader, const Property& line, TlsConfig& tls) {
  if (!tls.has_enabled_protocols) take_protocols(reader, line, tls);
}

void take_enabled_protocols(ConfigReader& reader, const Property& line, TlsConfig& tls) {
  tls.has_enabled_protocols = true;
  take_protocols(reader, line, tls);
}

void take_ciphers(ConfigReader& reader, const Property& line, TlsConfig& tls) {
  StatusOr<consensus::TlsCiphers> ciphers = consensus::find_ciphers(comma_separated(line.value));
  if (!ciphers.ok()) return reader.fail(line, ciphers.why());
  tls.ciphers = *ciphers;
}

void take_revocation(ConfigReader& reader, const Property& line, TlsConfig&) {
  reader.only(
      line, "false",
      "whether a certificate was revoked is not looked up; take its issuer out of the trust "
      "store");
}

void refuse_class(ConfigReader& reader, const Property& line, TlsConfig&) {
  reader.fail(line, "classes of Java can't be loaded");
}

struct Row {
  const char *name, *value;
  TakeTls take;
  const char* help;
};

constexpr const char* kPassword = "a password";

// Without their prefix.
const Row kRows[] = {
    {"keyStore.location", "a path",
     [](ConfigReader&, const Property& line, TlsConfig& tls) { tls.key_store = line.value; },
     "a PEM or PKCS#12 file; for JKS the start is refused, with the command that converts it"},
    {"keyStore.password", kPassword,
     [](ConfigReader&, const Property& line, TlsConfig& tls) { tls.password = line.value; }, ""},
    {"keyStore.passwordPath", "a path",
     [](ConfigReader& reader, const Property& line, TlsConfig& tls) {
       take_password_of(reader, line, tls.password);
     },
     ""},
    {"keyStore.type", "PEM, PKCS12, JKS", take_type, "the file itself says what it is"},
    {"trustStore.location", "a path",
     [](ConfigReader&, const Property& line, TlsConfig& tls) { tls.trust_store = line.value; },
     "as keyStore.location"},
    {"trustStore.password", kPassword,
     [](ConfigReader&, const Property& line, TlsConfig& tls) { tls.trust_password = line.value; },
     ""},
    {"trustStore.passwordPath", "a path",
     [](ConfigReader& reader, const Property& line, TlsConfig& tls) {
       take_password_of(reader, line, tls.trust_password);
     },
     ""},
    {"trustStore.type", "PEM, PKCS12, JKS", take_type, "the file itself says what it is"},
    {"protocol", "TLSv1.2, TLSv1.3", take_protocol, "without it both are taken"},
    {"enabledProtocols", "TLSv1.2 and TLSv1.3, with a comma between", take_enabled_protocols,
     "older ones are never used"},
    {"ciphersuites", "names as in Java, with commas between", take_ciphers, ""},
    {"clientAuth", "need, want, none", take_client_auth, ""},
    {"hostnameVerification", take::kBoolean,
     [](ConfigReader& reader, const Property& line, TlsConfig& tls) {
       reader.property_boolean(line, tls.verify_host);
     },
     "of servers that are dialled"},
    {"crl", "false", take_revocation, kTrueAlone},
    {"ocsp", "false", take_revocation, kTrueAlone},
    {"context.supplier.class", "none", refuse_class, "the start is refused"},
};

void add_keys_of(const std::string& prefix, Side side, std::vector<Key>& keys) {
  for (const Row& row : kRows) {
    keys.push_back({prefix + row.name, row.value,
                    [side, take = row.take](ConfigReader& reader, const Property& line) {
                      take(reader, line, (reader.*side)());
                    },
                    "", row.help});
  }
}

}  // namespace

std::vector<Key> tls_keys() {
  std::vector<Key> keys;
  add_keys_of("ssl.", &ConfigReader::client_tls, keys);
  add_keys_of("ssl.quorum.", &ConfigReader::quorum_tls, keys);
  keys.push_back({"ssl.authProvider", "x509",
                  only("x509",
                       "only x509, certificates that the trust store vouches for, is "
                       "supported"),
                  "", "anything else: the start is refused"});
  return keys;
}

}  // namespace zabfs::fsd
