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

#include "consensus/ensemble.h"
#include "consensus/tls.h"
#include "fsd/config/config.h"
#include "fsd/config/properties.h"
#include "tree/status.h"

namespace zabfs::fsd {

class ConfigReader {
 public:
  ConfigReader(const std::string& file, Config& config) : file_(file), config_(config) {}

  // What is wrong names the file, the line and the key.
  Status read();

  // -- for the table of keys
  Config& config() { return config_; }
  consensus::ReplicaConfig& replica() { return config_.host.replica; }
  void fail(const Property& line, const std::string& what);

  template <class T>
  void number(const Property& line, T& out, int64_t low, int64_t high) {
    if (std::optional<int64_t> value = number_of(line, low, high)) out = static_cast<T>(*value);
  }
  void mode(const Property& line, uint32_t& out);
  void boolean(const Property& line, bool& out);
  void path(const Property& line, std::string& out);

  void peer_type(const Property& line);
  void metrics_provider(const Property& line);
  void enforce_auth(const Property& line) { boolean(line, enforce_auth_); }
  void ssl_quorum(const Property& line) { boolean(line, ssl_quorum_); }
  void quorum_tls(const Property& line, const std::string& key) {
    take_tls(line, key, quorum_tls_);
  }
  // The keys of one side's TLS, without their prefix.
  void take_tls(const Property& line, const std::string& key, consensus::TlsConfig& tls);
  // Java's providers go by their class; ours are the same, under these names.
  void take_auth_provider(const Property& line);
  // Only the members are in there (Java: QuorumPeerConfig.parseDynamicConfig).
  void take_dynamic_file(const Property& line);

 private:
  std::optional<int64_t> number_of(const Property& line, int64_t low, int64_t high);
  void warn(const Property& line, const std::string& what);
  void take(const Property& line);
  void take_of_members(const Property& line);
  void take_server(const Property& line);
  Status check_client_doors();
  Status take_tls_of_members();
  void check_readers(const std::string& file, const std::string& what);
  Status finish();
  Status finish_alone();
  Status read_myid();
  Status check_members();
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
  bool has_secret_ = false;
  bool ssl_quorum_ = false;
  consensus::TlsConfig quorum_tls_;
  Status status_;
};

}  // namespace zabfs::fsd
