// The admin port: ZooKeeper's commands over HTTP, `GET /commands/NAME`, answered in JSON (Java:
// JettyAdminServer).
//
// One thread of its own; the answers are made on the replica's strand. At most kMaxConnections at
// once, each for one request of at most 8 KiB and 10 s.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "consensus/replica.h"
#include "consensus/service.h"
#include "fsd/admin/config.h"
#include "fsd/wire/server.h"
#include "tree/status.h"

namespace zabfs::fsd::admin {

class AdminServer {
 public:
  AdminServer(consensus::Service& service, wire::WireServer& clients, AdminConfig config);
  ~AdminServer();

  // Binds.
  Status listen();
  void start();
  void stop();

 private:
  using tcp = boost::asio::ip::tcp;
  struct Exchange;

  void accept();
  void admit(tcp::socket socket);
  void greet(const std::shared_ptr<Exchange>& exchange);
  void answer(const std::shared_ptr<Exchange>& exchange);
  void reply(const std::shared_ptr<Exchange>& exchange, unsigned status, const char* type,
             std::string body);

  consensus::Service& service_;
  wire::WireServer& clients_;
  const AdminConfig config_;
  const size_t max_connections_;
  boost::asio::io_context io_{1};
  tcp::acceptor acceptor_;
  boost::asio::steady_timer pause_;
  std::optional<consensus::TlsContext> tls_;
  size_t open_ = 0;
  std::thread thread_;
};

}  // namespace zabfs::fsd::admin
