#include "fsd/wire/acceptors.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/strand.hpp>
#include <memory>
#include <utility>

#include "consensus/tcp_listen.h"
#include "fsd/wire/auth.h"

namespace zabfs::fsd::wire {

namespace asio = boost::asio;
using boost::system::error_code;

Acceptors::Acceptors(asio::io_context& io, const WireConfig& config, Arrived arrived, Warn warn)
    : io_(io), config_(config), arrived_(std::move(arrived)), warn_(std::move(warn)), local_(io) {}

Status Acceptors::listen() {
  if (config_.port) {
    Status status = listen_at(open_, config_.address, *config_.port, "client port");
    if (!status.ok()) return status;
  }
  if (config_.secure_port) {
    tls_.emplace(config_.tls, [](const std::string& line) { spdlog::warn(line); });
    if (Status status = tls_->load(); !status.ok()) return status;
    Status status =
        listen_at(secure_, config_.secure_address, *config_.secure_port, "secure client port");
    if (!status.ok()) return status;
  }
  return config_.unix_socket.empty() ? Status() : listen_locally();
}

Status Acceptors::listen_at(std::list<Door<tcp>>& doors, const std::string& host, uint16_t port,
                            const char* what) {
  auto add = [&]() -> tcp::acceptor& {
    return doors.emplace_back(io_, &doors == &secure_).acceptor;
  };
  return consensus::listen_on_each(add, io_, host, port, config_.backlog, what);
}

// The file is for everybody to connect to: what a user may is the ACLs' to say.
Status Acceptors::listen_locally() {
  const std::string& path = config_.unix_socket;
  Local::acceptor& acceptor = local_.acceptor;
  error_code error;
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return Status::failed(fmt::format("zabfs.clientSocket: {} is too long for a socket", path));
  }
  acceptor.open(Local(), error);
  // The mode goes with the bind: by then the path may be another file's.
  if (!error) ::fchmod(acceptor.native_handle(), 0666);
  mode_t umask = ::umask(0);
  if (!error) acceptor.bind(Local::endpoint(path), error);
  if (error == asio::error::address_in_use) {
    Local::socket probe(io_);
    error_code refused;
    probe.connect(Local::endpoint(path), refused);
    if (refused == asio::error::connection_refused) {  // left behind by a former life
      ::unlink(path.c_str());
      acceptor.bind(Local::endpoint(path), error);
    }
  }
  ::umask(umask);
  if (!error) acceptor.listen(config_.backlog, error);
  if (error) {
    return Status::failed(
        fmt::format("can't listen on {} (zabfs.clientSocket): {}", path, error.message()));
  }
  return {};
}

std::string Acceptors::text() const {
  std::string text;
  error_code ignored;
  auto add_port = [&](const std::list<Door<tcp>>& doors, const char* kind) {
    for (const Door<tcp>& door : doors) {
      if (!door.acceptor.is_open()) continue;
      text += fmt::format("{}{}", kind, door.acceptor.local_endpoint(ignored).port());
      return;
    }
  };
  add_port(open_, " port ");
  add_port(secure_, " TLS port ");
  if (local_.acceptor.is_open()) text += " " + config_.unix_socket;
  return text;
}

void Acceptors::start() {
  for (std::list<Door<tcp>>* doors : {&open_, &secure_}) {
    for (Door<tcp>& door : *doors) {
      if (door.acceptor.is_open()) accept(door);
    }
  }
  if (local_.acceptor.is_open()) accept(local_);
}

void Acceptors::stop() {
  if (local_.acceptor.is_open()) ::unlink(config_.unix_socket.c_str());
}

template <class Protocol>
void Acceptors::accept(Door<Protocol>& door) {
  // The connection runs on a strand of its own.
  auto socket = std::make_shared<typename Protocol::socket>(asio::make_strand(io_));
  consensus::accept_next(
      door.acceptor, *socket, door.pause, [this, &door, socket](error_code error) {
        if (error) {  // out of file descriptors, most likely
          warn_(fmt::format("client port: can't accept a connection: {}", error.message()));
        } else if (Visitor visitor = visitor_of(door, *socket); !visitor.address.empty()) {
          arrived_(Connection::Socket(std::move(*socket)), std::move(visitor));
        }
        accept(door);
      });
}

// An empty address: nobody is there any more.
Visitor Acceptors::visitor_of(const Door<tcp>& door, tcp::socket& socket) const {
  error_code error;
  socket.set_option(tcp::no_delay(true), error);
  std::string address = consensus::address_of(socket);
  uint16_t port = socket.remote_endpoint(error).port();
  if (error) return {};
  return {address, port, door.has_tls, {{"ip", address}}};
}

Visitor Acceptors::visitor_of(const Door<Local>&, Local::socket& socket) const {
  StatusOr<tree::Identities> peer = identities_of_peer(socket.native_handle());
  if (!peer.ok()) {
    warn_(
        fmt::format("client port: refused a connection to the Unix-domain socket: {}", peer.why()));
    return {};
  }
  std::string name = "uid " + peer->front().id;
  return {std::move(name), 0, false, std::move(*peer)};
}

}  // namespace zabfs::fsd::wire
