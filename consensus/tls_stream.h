// A socket with or without TLS, for Asio's composed reads and writes of small messages. One
// thread's.
#pragma once

#include <sys/socket.h>

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <memory>
#include <string>
#include <utility>

#include "consensus/tls.h"

namespace zabfs::consensus {

class TlsStream : public std::enable_shared_from_this<TlsStream> {
 public:
  using tcp = boost::asio::ip::tcp;
  using error_code = boost::system::error_code;
  using executor_type = tcp::socket::executor_type;

  explicit TlsStream(boost::asio::io_context& io) : socket(io) {}
  executor_type get_executor() { return socket.get_executor(); }

  // On a connection that is open; `host` names the server that was dialled. Null: no TLS.
  void start(TlsContext* context, const std::string* host) {
    if (context == nullptr) return;
    tls_ = std::make_unique<TlsSession>(*context, host);
    push();
  }
  void close() {
    error_code ignored;
    socket.close(ignored);
  }
  // Why TLS ended it, if it did.
  const std::string& why() const { return why_; }

  template <class Buffers, class Handler>
  void async_read_some(const Buffers& buffers, Handler handler) {
    if (!tls_) return socket.async_read_some(buffers, std::move(handler));
    if (!plain_.empty()) return hand_over(buffers, std::move(handler));
    socket.async_read_some(boost::asio::buffer(raw_), [self = shared_from_this(), buffers,
                                                       handler = std::move(handler)](
                                                          error_code error, size_t n) mutable {
      if (error) return handler(error, 0);
      if (!self->tls_->receive({self->raw_.data(), n}, self->plain_) || !self->push()) {
        self->why_ = self->tls_->why();
        return handler(boost::asio::error::connection_aborted, 0);
      }
      self->async_read_some(buffers, std::move(handler));
    });
  }

  template <class Buffers, class Handler>
  void async_write_some(const Buffers& buffers, Handler handler) {
    if (!tls_) return socket.async_write_some(buffers, std::move(handler));
    std::string text(boost::asio::buffer_size(buffers), '\0');
    boost::asio::buffer_copy(boost::asio::buffer(text), buffers);
    tls_->say(text);
    finish(std::move(handler), push() ? error_code() : boost::asio::error::connection_aborted,
           text.size());
  }

  tcp::socket socket;

 private:
  template <class Buffers, class Handler>
  void hand_over(const Buffers& buffers, Handler handler) {
    size_t n = boost::asio::buffer_copy(buffers, boost::asio::buffer(plain_));
    plain_.erase(0, n);
    finish(std::move(handler), {}, n);
  }
  template <class Handler>
  void finish(Handler handler, error_code error, size_t n) {
    boost::asio::post(socket.get_executor(),
                      [self = shared_from_this(), handler = std::move(handler), error,
                       n]() mutable { handler(error, n); });
  }
  // Messages are small: what the kernel has no room for ends the connection.
  bool push() {
    std::string bytes;
    tls_->take_outgoing(bytes);
    if (bytes.empty()) return true;
    ssize_t n =
        ::send(socket.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return n == static_cast<ssize_t>(bytes.size());
  }

  std::unique_ptr<TlsSession> tls_;
  std::array<char, 16u << 10> raw_{};
  std::string plain_;
  std::string why_;
};

}  // namespace zabfs::consensus
