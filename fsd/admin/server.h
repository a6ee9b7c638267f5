// The admin port: ZooKeeper's commands over HTTP, `GET /commands/NAME`, answered in JSON (Java:
// JettyAdminServer), and the node's health:
//
//   /health/live    200 while the node answers at all; 503 when it has not for kAnswerTime
//   /health/ready   200 if it can be given work; else 503, with the reason
//
// The answers are made on the replica's strand. Limits: http_listener.h.
#pragma once

#include <optional>
#include <string>

#include "consensus/service.h"
#include "fsd/admin/config.h"
#include "fsd/admin/http_listener.h"
#include "fsd/admin/snapshot_command.h"
#include "fsd/wire/server.h"
#include "tree/status.h"

namespace zabfs::fsd::admin {

class AdminServer {
 public:
  // `clients` is null where nothing listens to ZooKeeper's clients: there are no commands then.
  AdminServer(consensus::Service& service, wire::WireServer* clients, AdminConfig config);

  // Binds.
  Status listen() { return listener_.listen(); }
  void start() { listener_.start(); }
  void stop() { listener_.stop(); }

 private:
  using Answer = HttpListener::Answer;
  using Reply = HttpListener::Reply;

  void answer(const HttpListener::Request& request, const Reply& reply);
  void answer_commands(const HttpListener::Request& request, const Reply& reply);
  void answer_health(bool asks_ready, const Reply& reply);

  consensus::Service& service_;
  wire::WireServer* const clients_;
  const AdminConfig config_;
  std::optional<SnapshotCommand> snapshot_;  // where there are commands
  HttpListener listener_;
};

}  // namespace zabfs::fsd::admin
