#include "consensus/tcp_listen.h"

#include <fmt/format.h>

namespace zabfs::consensus {

using boost::asio::ip::tcp;

std::string listen_on(tcp::acceptor& acceptor, boost::asio::io_context& io, const std::string& host,
                      uint16_t port, int backlog, const char* what) {
  boost::system::error_code error;
  tcp::endpoint endpoint(tcp::v6(), port);
  if (!host.empty()) {
    tcp::resolver resolver(io);
    auto found = resolver.resolve(host, std::to_string(port), error);
    if (error || found.empty()) {
      return fmt::format("{}: can't resolve {}, this server's own address: {}", what, host,
                         error.message());
    }
    endpoint = *found.begin();
  }
  acceptor.open(endpoint.protocol(), error);
  if (error && host.empty()) {  // a machine without IPv6
    endpoint = tcp::endpoint(tcp::v4(), port);
    acceptor.open(endpoint.protocol(), error);
  }
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(backlog, error);
  if (!error) return {};
  return fmt::format("can't listen on {}:{} ({}): {}; is another server running there?",
                     host.empty() ? "*" : host, port, what, error.message());
}

}  // namespace zabfs::consensus
