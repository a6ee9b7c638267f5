// Where a node keeps its data, and how its replica and its ports between members behave.
#pragma once

#include <optional>
#include <string>

#include "consensus/replica.h"
#include "consensus/tls.h"

namespace zabfs::consensus {

struct HostConfig {
  ReplicaConfig replica;
  std::string data_dir;
  std::string data_log_dir;  // empty: data_dir
  bool listen_on_all = false;
  int32_t connect_ms = 2'000;           // cnxTimeout: for an address of a member to answer
  std::optional<TlsConfig> quorum_tls;  // sslQuorum
};

}  // namespace zabfs::consensus
