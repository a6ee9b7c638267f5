// The facts that four-letter words and the admin port tell of the server and of its connections.
//
// `Facts` looks them up at the moment it is asked, on the strand.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "consensus/service.h"
#include "fsd/facts/fact.h"
#include "fsd/facts/metric.h"
#include "fsd/facts/node.h"
#include "fsd/wire/budget.h"
#include "fsd/wire/config.h"
#include "fsd/wire/connection_table.h"
#include "fsd/wire/reads.h"
#include "fsd/wire/stats.h"
#include "tree/types.h"

namespace zabfs::fsd::wire {

// Clients parse a ZooKeeper version here: it says which one this server speaks.
inline constexpr const char* kServerVersion = "3.8.0-zabfs, built on 2026-11-25 00:00 UTC";

struct ServerFacts : NodeFacts {
  uint64_t received = 0, sent = 0;
  int64_t outstanding = 0;
  int64_t latency_ms_min = 0, latency_ms_max = 0;
  double latency_ms_avg = 0;
  size_t connections = 0, local_sessions = 0;
  size_t ephemerals = 0, watches = 0;
  uint64_t open_files = 0, max_files = 0;
  int64_t uptime_ms = 0;
};

// On disk, in bytes. Looked up apart: it takes a look at every file.
struct DirectorySizes {
  uint64_t snapshots = 0, log = 0;
};

struct ConnectionFacts {
  std::string address;  // host:port
  bool receives = false;
  size_t queued = 0;
  uint64_t received = 0, sent = 0;
  tree::SessionId session;
  int32_t timeout_ms = 0;
  std::string last_op;
  int64_t established_ms = 0;  // since 1970
  int32_t last_cxid = 0;
  tree::Zxid last_zxid;
  int64_t last_response_ms = 0;  // ago
  int64_t expires_in_ms = 0;     // if it is not heard of by then, as of its last answer
  int64_t last_latency_ms = 0, min_latency_ms = 0, avg_latency_ms = 0, max_latency_ms = 0;
};

// Each list is told as text by four-letter words and as JSON by the admin port, under the names
// that ZooKeeper gives there.

// What `mntr` and the others that ask the registry are told of clients. Sources of the registry.
void add_connection_count(size_t connections, Metrics& into);
void add_client_metrics(const ServerFacts& facts, const ServerStats& stats, Metrics& into);
// `srvr` and `stat`; the admin commands `server_stats` and `stats` add the directories' sizes.
std::vector<NamedFact> server_stats(const ServerFacts& facts);
// `envi` and the admin command `environment`.
std::vector<NamedFact> environment_facts();

// `cons` has short names, the admin command `connections` long ones.
struct ConnectionFact {
  const char* short_name;
  const char* name;
  FactValue value;
  bool is_hex = false;  // in the text of `cons`
};
// Of a connection that has a session. Empty without one.
std::vector<ConnectionFact> session_facts(const ConnectionFacts& facts);

class Facts {
 public:
  struct Sources {
    consensus::Service& service;
    const WireConfig& config;
    const ConnectionTable& connections;
    WatchBoard& watches;
    const ServerStats& stats;
    const Budget& budget;
  };

  explicit Facts(const Sources& sources) : sources_(sources) {}

  ServerFacts server() const;
  DirectorySizes directories() const;
  std::vector<ConnectionFacts> connections() const;

 private:
  const Sources sources_;
  const Clock::time_point started_ = Clock::now();
};

}  // namespace zabfs::fsd::wire
