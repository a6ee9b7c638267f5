// Reads zoo.cfg into a Config: each line by its row of the table of keys (keys.h), then what only
// the whole of the file says.
//
// The file's members, TLS and providers need more than one line, so they are gathered here. The
// first fault ends the reading.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "consensus/ensemble.h"
#include "consensus/tls.h"
#include "fsd/config/config.h"
#include "fsd/config/properties.h"
#include "tree/status.h"

namespace zabfs::fsd {

// The name of this machine in the network, if it stands for an address other than of the machine
// itself.
std::optional<std::string> name_for_others();

class ConfigReader {
 public:
  ConfigReader(const std::string& file, Config& config) : file_(file), config_(config) {}

  // What is wrong names the file, the line and the key.
  Status read();

  // -- for the table of keys
  Config& config() { return config_; }
  consensus::ReplicaConfig& replica() { return config_.host.replica; }
  consensus::TlsConfig& client_tls() { return config_.wire.tls; }
  consensus::TlsConfig& quorum_tls() { return quorum_tls_; }
  void fail(const Property& line, const std::string& what);
  void warn(const Property& line, const std::string& what);

  // The bounds of zabfs's own numbers are errors. ZooKeeper has none for most of its numbers: here
  // the nearest bound is taken, with a warning. take.h says of which kind a key is.
  template <class T>
  void own_number(const Property& line, T& out, int64_t low, int64_t high) {
    if (std::optional<int64_t> value = own_number_of(line, low, high)) out = static_cast<T>(*value);
  }
  template <class T>
  void number(const Property& line, T& out, int64_t low, int64_t high) {
    if (std::optional<int64_t> value = number_of(line, low, high)) out = static_cast<T>(*value);
  }
  template <class T>
  void property_number(const Property& line, T& out, int64_t low, int64_t high) {
    if (std::optional<int64_t> value = property_of(line, low, high)) out = static_cast<T>(*value);
  }
  void mode(const Property& line, uint32_t& out);
  void boolean(const Property& line, bool& out);
  void property_boolean(const Property& line, bool& out);
  void path(const Property& line, std::string& out);
  void host(const Property& line, std::string& out);
  void port(const Property& line, std::optional<uint16_t>& out);
  // Fails with `why` unless the line has that value.
  void only(const Property& line, const std::string& value, const char* why);

  void peer_type(const Property& line);
  void metrics_provider(const Property& line);
  void enforce_auth(const Property& line) { boolean(line, enforce_auth_); }
  void require_sasl(const Property& line) { boolean(line, requires_sasl_); }
  void require_scheme(const Property& line);
  void ssl_quorum(const Property& line) { boolean(line, ssl_quorum_); }
  void take_connection_factory(const Property& line);
  // Java's providers go by their class; ours are the same, under these names.
  void take_auth_provider(const Property& line);
  // Only the members are in there (Java: QuorumPeerConfig.parseDynamicConfig).
  void take_dynamic_file(const Property& line);
  // Warns if every user of the machine can read that file.
  void check_readers(const std::string& file, const std::string& what);

 private:
  static constexpr const char* kElsewhere = "dynamicConfigFile has the members; it belongs there";
  static bool is_of_members(const std::string& key);
  std::optional<int64_t> own_number_of(const Property& line, int64_t low, int64_t high);
  std::optional<int64_t> number_of(const Property& line, int64_t low, int64_t high);
  std::optional<int64_t> property_of(const Property& line, int64_t low, int64_t high);
  int64_t bounded(const Property& line, int64_t value, int64_t low, int64_t high);
  std::vector<Property> last_of_each(std::vector<Property> lines);
  void take(const Property& line);
  void take_unknown(const Property& line);
  void take_of_members(const Property& line);
  void take_server(const Property& line);
  void follow_jute_max_buffer();
  Status check_session_limits() const;
  Status check_enforced_schemes();
  Status check_client_doors();
  Status take_tls_of_members();
  Status finish();
  Status finish_alone();
  Status read_myid();
  Status check_members();
  Status tell_own_address();
  Status check_addresses() const;
  Status take_own_client_address();
  void compare_role();

  const std::string& file_;
  Config& config_;
  std::map<tree::ServerId, consensus::Member> members_;
  consensus::Hierarchy hierarchy_;
  std::map<std::string, Property> lines_of_members_;
  std::optional<Property> dynamic_;  // the line that names another file for them
  std::optional<Property> peer_type_;
  bool enforce_auth_ = false;
  bool requires_sasl_ = false;   // sessionRequireClientSASLAuth
  std::optional<Property> nio_;  // the line that wants the server without TLS
  bool has_secret_ = false;
  bool ssl_quorum_ = false;
  consensus::TlsConfig quorum_tls_;
  Status status_;
};

}  // namespace zabfs::fsd
