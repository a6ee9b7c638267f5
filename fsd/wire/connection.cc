#include "fsd/wire/connection.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <utility>

#include "fsd/wire/auth.h"
#include "tree/identities.h"

namespace zabfs::fsd::wire {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr size_t kReadBytes = 64u << 10;

}  // namespace

Connection::Connection(const Server& server, Socket socket, uint64_t number, Visitor visitor)
    : server_(server),
      socket_(std::move(socket)),
      number_(number),
      address_(std::move(visitor.address)),
      port_(visitor.port),
      is_with_tls_(visitor.is_with_tls),
      since_(std::chrono::system_clock::now()),
      since_steady_(Clock::now()),
      state_(server.budget, server.stats, std::move(visitor.identities), visitor.is_with_tls) {}

std::string Connection::name() const { return fmt::format("{}:{}", address_, port_); }

// ---- bytes in

void Connection::read() {
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](error_code error) {
    Connection& c = *self;
    if (error) return c.server_.owner.closed(self);
    // One buffer a thread: thousands of idle connections hold none.
    thread_local std::string buffer(kReadBytes, '\0');
    ssize_t n = ::recv(c.socket_.native_handle(), buffer.data(), buffer.size(), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return c.read();
    if (n <= 0) return c.server_.owner.closed(self);
    std::string_view bytes(buffer.data(), static_cast<size_t>(n));
    c.server_.stats.received_bytes.fetch_add(bytes.size(), std::memory_order_relaxed);
    if (!c.is_with_tls_) {
      c.in_.append(bytes);
    } else if (!c.unseal(bytes)) {
      return;
    }
    c.server_.owner.received(self);
  });
}

void Connection::start() {
  if (is_with_tls_) {
    Locked locked(*this);
    tls_ = std::make_unique<consensus::TlsSession>(*server_.tls);
  }
  asio::post(socket_.get_executor(), [self = shared_from_this()] { self->read(); });
}

void Connection::take_later() {
  asio::post(socket_.get_executor(),
             [self = shared_from_this()] { self->server_.owner.received(self); });
}

// False: the connection is over.
bool Connection::unseal(std::string_view bytes) {
  std::string problem;
  {
    Locked locked(*this);
    bool was_established = tls_->is_established();
    if (!tls_->receive(bytes, in_.bytes())) problem = tls_->why();
    if (problem.empty() && !was_established && tls_->is_established()) {
      if (std::optional<std::string> subject = tls_->peer_subject()) {
        tree::Identities proven = identities_of_certificate(*subject, server_.x509_super);
        if (!tree::add_identities(locked->client().identities, proven)) {
          problem = too_many_identities();
        }
      }
    }
  }
  send();  // the handshake's answers, and alerts
  if (problem.empty()) return true;
  refuse("TLS: " + problem);
  return false;
}

void Connection::forget_taken() { in_.discard_taken(server_.budget.kept_bytes()); }

// ---- bytes out

void Connection::send() {
  Locked locked(*this);
  if (locked->is_closed() || locked->awaits_socket()) return;
  OutBuffer& out = locked->out();
  if (tls_) {
    out.seal([&tls = *tls_](std::string_view plain, std::string& records) {
      tls.say(plain);
      tls.take_outgoing(records);
    });
  }
  while (!out.next().empty()) {
    std::string_view next = out.next();
    ssize_t n =
        ::send(socket_.native_handle(), next.data(), next.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return shut(locked);
    if (n < 0) break;
    out.sent(static_cast<size_t>(n));
    server_.stats.sent_bytes.fetch_add(static_cast<size_t>(n), std::memory_order_relaxed);
    locked->note_moved();
  }
  bool is_all_sent = out.next().empty();
  out.tidy(server_.budget.kept_bytes());
  if (!is_all_sent) {
    locked->set_awaits_socket(true);
    await_socket();
  } else if (locked->phase() == Phase::kOver) {
    return shut(locked);
  }
  locked->count();
  if (locked->can_drain()) {
    asio::post(socket_.get_executor(),
               [self = shared_from_this()] { self->server_.owner.may_drain(self); });
  }
  if (locked->may_resume()) take_later();
}

void Connection::await_socket() {
  asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->socket_.async_wait(Socket::wait_write, [self](error_code) {
      self->lock()->set_awaits_socket(false);
      self->send();
    });
  });
}

// ---- its end

void Connection::finish() {
  lock()->end();
  send();
}

void Connection::end(Locked& locked, const std::string& why) {
  warn_of_end(why);
  locked->end();
}

void Connection::refuse(const std::string& why) {
  warn_of_end(why);
  Locked locked(*this);
  shut(locked);
}

void Connection::cut(Locked& locked, const std::string& why) {
  if (locked->is_closed()) return;
  warn_of_end(why);
  shut(locked);
}

void Connection::warn_of_end(const std::string& why) const {
  ++server_.stats.dropped;
  warn(fmt::format("client port: closed {}: {}", name(), why));
}

void Connection::shut(Locked& locked) {
  if (!locked->close()) return;
  ::shutdown(socket_.native_handle(), SHUT_RDWR);
  asio::post(socket_.get_executor(),
             [self = shared_from_this()] { self->server_.owner.closed(self); });
}

void Connection::release() {
  Locked locked(*this);
  locked->release();
  in_.clear();
  error_code ignored;
  socket_.close(ignored);
}

void Connection::abandon() {
  Locked locked(*this);
  locked->close();
  error_code ignored;
  socket_.close(ignored);
}

}  // namespace zabfs::fsd::wire
