// What the client port is told in zoo.cfg; in comments, the keys.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "consensus/tls.h"
#include "tree/types.h"

namespace zabfs::fsd::wire {

struct WireConfig {
  std::optional<uint16_t> port;  // none: no client port
  std::string address;           // empty: all of them
  size_t max_per_address = 60;   // maxClientCnxns; 0: any number
  size_t max_connections = 0;    // maxCnxns; 0: as many as there are file descriptors for
  size_t memory_bytes = size_t{512} << 20;               // zabfs.clientMemory
  size_t max_frame_bytes = tree::Limits::kDefaultBytes;  // jute.maxbuffer
  std::set<std::string> commands{"srvr"};                // 4lw.commands.whitelist; "*" for all
  std::optional<uint16_t> secure_port;                   // secureClientPort: TLS
  std::string secure_address;                            // secureClientPortAddress
  consensus::TlsConfig tls;                              // ssl.keyStore.location and so on
  std::string x509_super;                                // X509AuthenticationProvider.superUser
  std::string unix_socket;                               // zabfs.clientSocket
  std::vector<std::string> enforced_auth;         // enforce.auth.schemes, if enforce.auth.enabled
  bool local_sessions = false;                    // localSessionsEnabled
  bool local_upgrading = false;                   // localSessionsUpgradingEnabled
  std::string super_digest;                       // DigestAuthenticationProvider.superDigest
  std::map<std::string, std::string> sasl_users;  // zabfs.sasl.user.NAME, to passwords
  bool skip_acl = false;
  bool read_only_mode = false;      // readonlymode.enabled
  size_t max_outstanding = 10'000;  // globalOutstandingLimit
  bool leader_serves = true;        // leaderServes
  int threads = 1;
  int backlog = 1'024;
  std::string data_dir, data_log_dir;
  std::vector<std::string> settings;  // `key=value`, for the word `conf`
};

}  // namespace zabfs::fsd::wire
