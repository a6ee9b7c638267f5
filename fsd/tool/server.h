// A server that is asked over the network, where this machine has no mount: zabfs's or Java's, at
// its clientPort.
//
// Facts come by four-letter words, and what needs a session by ZooKeeper's C library. That library
// speaks no TLS in Debian, so neither does this. Answers are bounded (kMaxAnswerBytes, kAnswerS)
// and lose their control characters.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "fsd/tool/cluster.h"
#include "tree/status.h"
#include "tree/types.h"

namespace zabfs::tool {

inline constexpr size_t kMaxAnswerBytes = 1u << 20;
inline constexpr int kAnswerS = 5;    // for an answer to a word
inline constexpr int kSessionS = 10;  // for a session to be there, and for an answer in it

struct ServerOptions {
  std::string address;    // HOST:PORT, [IPV6]:PORT
  std::string auth_file;  // holds SCHEME:CREDENTIALS; `-`: standard input; empty: $ZABFS_AUTH
  std::string credentials = {};  // "digest:alice:secret"; empty: none

  // Looks `credentials` up: in a file that nobody else can read, on standard input (without echo on
  // a terminal), or in the environment. Never on the command line, where others can read it.
  Status take_credentials();
};

class ServerSession;

// What `@/cluster` says there. A server that does not answer the word `clus` (Java's do not, and
// others need it in 4lw.commands.whitelist) is asked for `srvr`, and for /zookeeper/config, and
// each member with a client address there is asked for `srvr`, too. `session`: with that server, if
// there is one.
StatusOr<Cluster> cluster_of_server(const ServerOptions& options, ServerSession* session = nullptr);

// Not thread-safe.
class ServerSession {
 public:
  static StatusOr<std::unique_ptr<ServerSession>> open(const ServerOptions& options);
  ServerSession(const ServerSession&) = delete;
  ServerSession& operator=(const ServerSession&) = delete;
  ~ServerSession();

  tree::SessionId id() const;
  // The data of /zookeeper/config.
  StatusOr<std::string> configuration();
  // `members`: "server.1=...,server.2=...", in the place of the configuration of that version.
  // Gives errno, as a write to `@/members` does.
  int reconfigure(const std::string& members, int64_t version);

 private:
  struct Connection;
  explicit ServerSession(std::unique_ptr<Connection> connection);
  std::unique_ptr<Connection> connection_;
};

}  // namespace zabfs::tool
