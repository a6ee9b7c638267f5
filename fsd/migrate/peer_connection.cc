#include "fsd/migrate/peer_connection.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace zabfs::migrate {

namespace {

using Clock = std::chrono::steady_clock;

Status failed_by(int error) { return Status::failed(std::strerror(error)); }

std::string in_seconds(PeerConnection::Limit limit) {
  return fmt::format("{:g} s", std::chrono::duration<double>(limit).count());
}

// Fails with ETIMEDOUT; 0: it is ready.
int wait_for(int fd, short events, PeerConnection::Limit limit) {
  const Clock::time_point end = Clock::now() + limit;
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd waiting{fd, events, 0};
    int ready = ::poll(&waiting, 1, left > 0 ? static_cast<int>(left) : 0);
    if (ready > 0) return 0;
    if (ready == 0) return ETIMEDOUT;
    if (errno != EINTR) return errno;
  }
}

// 0, or why not.
int connect_to(int fd, const addrinfo& address, PeerConnection::Limit limit) {
  if (::connect(fd, address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (int error = wait_for(fd, POLLOUT, limit); error != 0) return error;
  int error = 0;
  socklen_t size = sizeof(error);
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

}  // namespace

std::string PeerAddress::text() const {
  bool is_ipv6 = host.find(':') != std::string::npos;
  return is_ipv6 ? fmt::format("[{}]:{}", host, port) : fmt::format("{}:{}", host, port);
}

PeerConnection::PeerConnection(fsd::Descriptor socket, const std::string& host,
                               consensus::TlsContext* tls)
    : socket_(std::move(socket)), host_(host), raw_(kPieceBytes, '\0') {
  if (tls != nullptr) tls_ = std::make_unique<consensus::TlsSession>(*tls, &host_);
}

StatusOr<std::unique_ptr<PeerConnection>> PeerConnection::open(const PeerAddress& address,
                                                               Limit limit,
                                                               consensus::TlsContext* tls) {
  addrinfo wanted = {};
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  int failed =
      ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &wanted, &list);
  if (failed != 0) return Status::failed(::gai_strerror(failed));
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> found(list, ::freeaddrinfo);
  int error = EHOSTUNREACH;
  for (const addrinfo* next = list; next != nullptr; next = next->ai_next) {
    fsd::Descriptor socket(
        ::socket(next->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, next->ai_protocol));
    error = socket ? connect_to(socket.get(), *next, limit) : errno;
    if (error != 0) continue;
    int on = 1;
    static_cast<void>(::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
    return std::unique_ptr<PeerConnection>(
        new PeerConnection(std::move(socket), address.host, tls));
  }
  if (error == ETIMEDOUT) return Status::failed("no connection in " + in_seconds(limit));
  return failed_by(error);
}

Status PeerConnection::write(std::string_view bytes, Limit limit) {
  while (!bytes.empty()) {
    ssize_t n = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      bytes.remove_prefix(static_cast<size_t>(n));
    } else if (errno == EAGAIN) {
      int error = wait_for(socket_.get(), POLLOUT, limit);
      if (error == ETIMEDOUT) return Status::failed("takes nothing for " + in_seconds(limit));
      if (error != 0) return failed_by(error);
    } else if (errno != EINTR) {
      return failed_by(errno);
    }
  }
  return {};
}

Status PeerConnection::flush_tls(Limit limit) {
  std::string records;
  tls_->take_outgoing(records);
  return write(records, limit);
}

Status PeerConnection::send(std::string_view bytes, Limit limit) {
  if (!tls_) return write(bytes, limit);
  tls_->say(bytes);
  return flush_tls(limit);
}

void PeerConnection::finish_sending() { ::shutdown(socket_.get(), SHUT_WR); }

StatusOr<std::string_view> PeerConnection::read(Limit limit) {
  for (;;) {
    ssize_t n = ::recv(socket_.get(), raw_.data(), raw_.size(), 0);
    if (n >= 0) return std::string_view(raw_).substr(0, static_cast<size_t>(n));
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return failed_by(errno);
    int error = wait_for(socket_.get(), POLLIN, limit);
    if (error == ETIMEDOUT) return Status::failed("says nothing for " + in_seconds(limit));
    if (error != 0) return failed_by(error);
  }
}

StatusOr<std::string_view> PeerConnection::receive(Limit limit) {
  for (;;) {
    StatusOr<std::string_view> bytes = read(limit);
    if (!tls_ || !bytes.ok() || bytes->empty()) return bytes;
    plain_.clear();
    bool is_open = tls_->receive(*bytes, plain_);
    Status status = flush_tls(limit);
    if (!plain_.empty()) return std::string_view(plain_);
    if (!is_open) return Status::failed(tls_->why());
    if (!status.ok()) return status;
  }
}

}  // namespace zabfs::migrate
