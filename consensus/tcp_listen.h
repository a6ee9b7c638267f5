// What the ports have in common: to listen, to accept, and who is at the other end.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "tree/status.h"

namespace zabfs::consensus {

// Binds `acceptor` to `host`, or to all addresses if it is empty, and listens. `what` names the
// port in what it says if it fails, with what to look at.
Status listen_on(boost::asio::ip::tcp::acceptor& acceptor, boost::asio::io_context& io,
                 const std::string& host, uint16_t port, int backlog, const char* what);

// The same, once for each address of `host`: `add` gives the acceptors. An address that this
// machine does not have is left out, if another one is there.
Status listen_on_each(const std::function<boost::asio::ip::tcp::acceptor&()>& add,
                      boost::asio::io_context& io, const std::string& host, uint16_t port,
                      int backlog, const char* what);

// Runs `next(error)` once somebody came into `socket`, and not at all once the port is closed. With
// an error nobody came: no descriptor is free, most likely. Then the port is left alone for a
// moment before `next` runs. Any protocol that is accepted: TCP, or Unix-domain sockets.
template <class Acceptor, class Next>
void accept_next(Acceptor& acceptor, typename Acceptor::protocol_type::socket& socket,
                 boost::asio::steady_timer& pause, Next next) {
  using boost::system::error_code;
  acceptor.async_accept(socket, [&pause, next = std::move(next)](error_code error) mutable {
    if (error == boost::asio::error::operation_aborted) return;
    if (!error) return next(error);
    pause.expires_after(std::chrono::milliseconds(100));
    pause.async_wait([next = std::move(next), error](error_code over) mutable {
      if (!over) next(error);
    });
  });
}

// How many there may be at one door of whom nobody knows who they are: 64, or fewer where files are
// few. All these doors together take less than what clients leave to this process.
size_t most_strangers();

// How an error of reading ended a connection: "the connection was closed".
std::string why_over(const boost::system::error_code& error);
// "10.0.0.1:2888", for the log.
std::string name_of(const boost::asio::ip::tcp::socket& socket);
// "10.0.0.1"; empty if there is nobody any more.
std::string address_of(const boost::asio::ip::tcp::socket& socket);

// Without delay; and what the peer's kernel does not acknowledge in this time ends the connection:
// TCP alone would go on repeating it at intervals that grow to minutes, long after the network is
// well again.
void set_options(boost::asio::ip::tcp::socket& socket, int unacknowledged_ms);

}  // namespace zabfs::consensus
