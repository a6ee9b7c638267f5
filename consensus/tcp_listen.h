// One way to open a listening port.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <string>

namespace zabfs::consensus {

// Binds `acceptor` to `host`, or to all addresses if it is empty, and listens. `what` names the
// port in errors. An empty string, or what is wrong and what to look at.
std::string listen_on(boost::asio::ip::tcp::acceptor& acceptor, boost::asio::io_context& io,
                      const std::string& host, uint16_t port, int backlog, const char* what);

}  // namespace zabfs::consensus
