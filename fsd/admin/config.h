// What the admin port and the port of metrics are told in zoo.cfg; in comments, the keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "consensus/tls.h"

namespace zabfs::fsd::admin {

struct AdminConfig {
  bool accepts_tls = false;  // admin.portUnification, with the keys of ssl.quorum
  bool only_tls = false;     // admin.forceHttps
  consensus::TlsConfig tls;
  bool enabled = true;             // admin.enableServer
  std::optional<uint16_t> port;    // admin.serverPort; without it nothing listens
  std::string address;             // admin.serverAddress
  std::string path = "/commands";  // admin.commandURL
};

// Of the port of metrics.
struct MetricsConfig {
  bool enabled = false;   // metricsProvider.className names that of Prometheus
  std::string address;    // metricsProvider.httpHost; empty: all
  uint16_t port = 7'000;  // metricsProvider.httpPort
};

}  // namespace zabfs::fsd::admin
