// The doors of the client port: a TCP port, a TCP port with TLS, a Unix-domain socket. Each is open
// if zoo.cfg names it.
//
// A door hands each accepted socket to `arrived`, with a `Visitor`: the peer's address, or for a
// Unix-domain socket the peer's user, on the kernel's word. The number of connections is no concern
// of a door (connection_table.h). A socket whose peer is gone already is dropped.
//
// Out of file descriptors, a door rests for a moment and tries again (consensus/tcp_listen.h).
//
// Threads: `listen`, `start` and `stop` by the server's owner, in this order. `arrived` runs on the
// io context's threads, one call at a time for each door.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <list>
#include <optional>
#include <string>

#include "consensus/tls.h"
#include "fsd/wire/config.h"
#include "fsd/wire/connection.h"
#include "tree/status.h"

namespace zabfs::fsd::wire {

class Acceptors {
 public:
  using Arrived = std::function<void(Connection::Socket, Visitor)>;
  using Warn = std::function<void(const std::string&)>;

  Acceptors(boost::asio::io_context& io, const WireConfig& config, Arrived arrived, Warn warn);

  // Binds.
  Status listen();
  void start();
  // The io context has stopped.
  void stop();
  // Says which doors are open, for the log: " port 2181 TLS port 2281".
  std::string text() const;
  // Null: no door has TLS.
  consensus::TlsContext* tls() { return tls_ ? &*tls_ : nullptr; }

 private:
  using tcp = boost::asio::ip::tcp;
  using Local = boost::asio::local::stream_protocol;
  template <class Protocol>
  struct Door {
    explicit Door(boost::asio::io_context& io, bool tls = false)
        : acceptor(io), pause(io), has_tls(tls) {}
    typename Protocol::acceptor acceptor;
    boost::asio::steady_timer pause;  // while there is no file descriptor
    const bool has_tls;
  };

  template <class Protocol>
  void accept(Door<Protocol>& door);
  Status listen_at(std::list<Door<tcp>>& doors, const std::string& host, uint16_t port,
                   const char* what);
  Visitor visitor_of(const Door<tcp>& door, tcp::socket& socket) const;
  Visitor visitor_of(const Door<Local>& door, Local::socket& socket) const;
  Status listen_locally();

  boost::asio::io_context& io_;
  const WireConfig& config_;
  const Arrived arrived_;
  const Warn warn_;
  std::list<Door<tcp>> open_, secure_;  // a door for each address
  Door<Local> local_;
  std::optional<consensus::TlsContext> tls_;
};

}  // namespace zabfs::fsd::wire
