#include "fsd/admin/metrics_server.h"

#include <string>

namespace zabfs::fsd::admin {

MetricsServer::MetricsServer(consensus::Service& service, const Registry& registry,
                             const MetricsConfig& config)
    : service_(service),
      registry_(registry),
      listener_(service, {"port of metrics", config.address, config.port},
                [this](const HttpListener::Request& request, const HttpListener::Reply& reply) {
                  answer(request, reply);
                }) {}

void MetricsServer::answer(const HttpListener::Request& request, const HttpListener::Reply& reply) {
  if (request.is_post || request.path != "/metrics")
    return reply({404, "text/plain", "see /metrics\n"});
  service_.post([this, reply] { reply({200, Registry::kTextType, registry_.text()}); });
}

}  // namespace zabfs::fsd::admin
