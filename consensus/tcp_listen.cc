#include "consensus/tcp_listen.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

namespace zabfs::consensus {

using boost::asio::ip::tcp;

namespace {

// None: all addresses.
StatusOr<std::vector<tcp::endpoint>> endpoints_of(boost::asio::io_context& io,
                                                  const std::string& host, uint16_t port,
                                                  const char* what) {
  std::vector<tcp::endpoint> endpoints;
  if (host.empty()) return endpoints;
  boost::system::error_code error;
  tcp::resolver resolver(io);
  auto found = resolver.resolve(host, std::to_string(port), error);
  if (error || found.empty()) {
    return Status::failed(fmt::format("{}: can't resolve {}, this server's own address: {}", what,
                                      host, error.message()));
  }
  for (const auto& entry : found) {
    bool is_new =
        std::find(endpoints.begin(), endpoints.end(), entry.endpoint()) == endpoints.end();
    if (is_new) endpoints.push_back(entry.endpoint());
  }
  return endpoints;
}

boost::system::error_code listen_at(tcp::acceptor& acceptor, const tcp::endpoint& endpoint,
                                    int backlog) {
  boost::system::error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(backlog, error);
  return error;
}

boost::system::error_code listen_everywhere(tcp::acceptor& acceptor, uint16_t port, int backlog) {
  boost::system::error_code error;
  acceptor.open(tcp::v6(), error);
  bool has_v6 = !error;
  if (has_v6) acceptor.close(error);
  return listen_at(acceptor, tcp::endpoint(has_v6 ? tcp::v6() : tcp::v4(), port), backlog);
}

// This machine does not have that address.
bool is_absent(const boost::system::error_code& error) {
  return error == boost::system::errc::address_not_available ||
         error == boost::system::errc::address_family_not_supported;
}

Status cannot_listen(const std::string& host, uint16_t port, const char* what,
                     const boost::system::error_code& error) {
  std::string remedy = "is another server running there?";
  if (is_absent(error)) {
    remedy = "this machine does not have that address: mend it in zoo.cfg";
  } else if (error == boost::system::errc::permission_denied) {
    remedy = "a port below 1024 is for root";
  }
  return Status::failed(fmt::format("can't listen on {}:{} ({}): {}; {}", host.empty() ? "*" : host,
                                    port, what, error.message(), remedy));
}

}  // namespace

Status listen_on(tcp::acceptor& acceptor, boost::asio::io_context& io, const std::string& host,
                 uint16_t port, int backlog, const char* what) {
  auto endpoints = endpoints_of(io, host, port, what);
  if (!endpoints.ok()) return endpoints.status();
  boost::system::error_code error = endpoints->empty()
                                        ? listen_everywhere(acceptor, port, backlog)
                                        : listen_at(acceptor, endpoints->front(), backlog);
  return error ? cannot_listen(host, port, what, error) : Status();
}

Status listen_on_each(const std::function<tcp::acceptor&()>& add, boost::asio::io_context& io,
                      const std::string& host, uint16_t port, int backlog, const char* what) {
  auto endpoints = endpoints_of(io, host, port, what);
  if (!endpoints.ok()) return endpoints.status();
  if (endpoints->empty()) return listen_on(add(), io, host, port, backlog, what);
  boost::system::error_code absent;
  size_t listening = 0;
  for (tcp::endpoint endpoint : *endpoints) {
    endpoint.port(port);
    tcp::acceptor& acceptor = add();
    boost::system::error_code error = listen_at(acceptor, endpoint, backlog);
    boost::system::error_code ignored;
    if (is_absent(error)) {
      absent = error;
      acceptor.close(ignored);
      continue;
    }
    if (error) return cannot_listen(endpoint.address().to_string(), port, what, error);
    ++listening;
  }
  return listening > 0 ? Status() : cannot_listen(host, port, what, absent);
}

size_t most_strangers() {
  constexpr size_t kMost = 64, kLeast = 4;
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMost;
  return std::clamp(static_cast<size_t>(limit.rlim_cur) / 16, kLeast, kMost);
}

std::string why_over(const boost::system::error_code& error) {
  if (error == boost::asio::error::eof) return "it closed the connection";
  if (error == boost::asio::error::timed_out) return "it does not answer any more";
  return error.message();
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
