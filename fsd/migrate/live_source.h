// A running ensemble of Apache ZooKeeper's: which of its servers leads is found out, and its tree
// is copied from there.
//
// Only a leader has its quorum port open. Where addresses of clients are given, the quorum ports
// are those of /zookeeper/config. It is read in a session, as by any client. The session is closed
// while the copy is made, and the copy ends without it: so there is a txn at least whose digest the
// tree can be compared with.
//
// The servers are asked one after the other. What they answer is bounded, and loses its control
// characters before somebody reads it.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "consensus/tls.h"
#include "fsd/migrate/java_data.h"
#include "fsd/migrate/live_copy.h"
#include "fsd/migrate/peer_connection.h"
#include "fsd/progress.h"
#include "tree/status.h"
#include "tree/types.h"

namespace zabfs::migrate {

struct LiveOptions {
  std::string addresses;  // HOST:PORT,... of clients, or of quorum ports, or both
  // What the quorum ports speak (sslQuorum). Null: no TLS.
  consensus::TlsContext* tls = nullptr;
  // That a server may say nothing for.
  std::chrono::seconds silence{60};
  // The data of /zookeeper/config, at the client port of that server: in a session that stays open.
  std::function<StatusOr<std::string>(const std::string& address)> configuration;
  // Closes that session, and gives its id; 0: there is none.
  std::function<tree::SessionId()> end_session;
};

class LiveSource {
 public:
  static constexpr size_t kMaxAddresses = 255;

  LiveSource(const LiveOptions& options, fsd::Progress& progress)
      : options_(options), progress_(progress) {}

  // Fails, with what each server said and the remedy, if none of them gives all of its tree.
  StatusOr<JavaData> read();

 private:
  struct Candidate {
    PeerAddress address;
    std::string name;  // for messages
  };
  enum class Port { kNone, kClient, kMayBeQuorum };

  Status look_at_all(const std::vector<PeerAddress>& addresses);
  Status look_at(const PeerAddress& address);
  StatusOr<Port> kind_of(const PeerAddress& address, std::string& answer) const;
  Status note_client_port(const PeerAddress& address, const std::string& answer);
  Status take_configuration(const PeerAddress& client, const std::string& text);
  void add_candidate(const PeerAddress& address, std::string name);
  StatusOr<size_t> exchange(PeerConnection& connection, LiveCopy& copy,
                            PeerConnection::Limit limit) const;
  StatusOr<JavaData> copy_from(const Candidate& candidate, bool& has_leader);
  Status nobody_leads() const;

  const LiveOptions& options_;
  fsd::Progress& progress_;
  std::vector<PeerAddress> clients_;  // client ports that serve
  std::vector<Candidate> candidates_;
  std::vector<std::string> reasons_;  // why a port was of no use, a line each
};

// HOST:PORT, [IPV6]:PORT with commas between them. The port of clients is 2181 where none is given.
StatusOr<std::vector<PeerAddress>> parse_addresses(const std::string& text);

}  // namespace zabfs::migrate
