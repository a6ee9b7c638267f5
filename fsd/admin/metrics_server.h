// The port of metrics: `GET /metrics`, in the text format of Prometheus (Java:
// PrometheusMetricsProvider). Off unless zoo.cfg names that provider.
//
// The registry is read on the replica's strand. Limits: http_listener.h.
#pragma once

#include "consensus/service.h"
#include "fsd/admin/config.h"
#include "fsd/admin/http_listener.h"
#include "fsd/facts/registry.h"
#include "tree/status.h"

namespace zabfs::fsd::admin {

class MetricsServer {
 public:
  MetricsServer(consensus::Service& service, const Registry& registry, const MetricsConfig& config);

  // Binds.
  Status listen() { return listener_.listen(); }
  void start() { listener_.start(); }
  void stop() { listener_.stop(); }

 private:
  void answer(const HttpListener::Request& request, const HttpListener::Reply& reply);

  consensus::Service& service_;
  const Registry& registry_;
  HttpListener listener_;
};

}  // namespace zabfs::fsd::admin
