#include "consensus/tcp_listen.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>

namespace zabfs::consensus {

using boost::asio::ip::tcp;

Status listen_on(tcp::acceptor& acceptor, boost::asio::io_context& io, const std::string& host,
                 uint16_t port, int backlog, const char* what) {
  boost::system::error_code error;
  tcp::endpoint endpoint(tcp::v6(), port);
  if (!host.empty()) {
    tcp::resolver resolver(io);
    auto found = resolver.resolve(host, std::to_string(port), error);
    if (error || found.empty()) {
      return Status::failed(fmt::format("{}: can't resolve {}, this server's own address: {}", what,
                                        host, error.message()));
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
  return Status::failed(
      fmt::format("can't listen on {}:{} ({}): {}; is another server running there?",
                  host.empty() ? "*" : host, port, what, error.message()));
}

size_t most_strangers() {
  constexpr size_t kMost = 64, kLeast = 4;
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMost;
  return std::clamp(static_cast<size_t>(limit.rlim_cur) / 16, kLeast, kMost);
}

std::string name_of(const tcp::socket& socket) {
  boost::system::error_code error;
  tcp::endpoint peer = socket.remote_endpoint(error);
  return error ? "a peer" : fmt::format("{}:{}", peer.address().to_string(), peer.port());
}

std::string address_of(const tcp::socket& socket) {
  boost::system::error_code error;
  boost::asio::ip::address address = socket.remote_endpoint(error).address();
  if (error) return {};
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    address = boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, address.to_v6());
  }
  return address.to_string();
}

void set_options(tcp::socket& socket, int unacknowledged_ms) {
  boost::system::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  static_cast<void>(::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT,
                                 &unacknowledged_ms, sizeof unacknowledged_ms));
}

}  // namespace zabfs::consensus
