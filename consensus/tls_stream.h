// A socket with or without TLS, for Asio's composed reads and writes of small messages. One
// thread's.
#pragma once

#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
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
  explicit TlsStream(tcp::socket accepted) : socket(std::move(accepted)) {}
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
  // The peer hears the end once it has all that was written.
  void finish_writing() {
    is_last_ = true;
    if (!writing_) end();
  }
  // What was written with TLS and is not sent yet, in bytes: such a write is over at once.
  size_t unsent() const { return outgoing_.size() + (writing_ ? sending_.size() : 0); }
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
  // Queues what TLS has for the peer. False: the peer reads too slowly.
  bool push() {
    tls_->take_outgoing(outgoing_);
    if (outgoing_.size() > kMaxOutgoing) return false;
    if (!writing_ && !outgoing_.empty()) write_out();
    return true;
  }
  void write_out() {
    writing_ = true;
    sending_.clear();
    sending_.swap(outgoing_);
    boost::asio::async_write(socket, boost::asio::buffer(sending_),
                             [self = shared_from_this()](error_code error, size_t) {
                               self->writing_ = false;
                               if (!error && !self->outgoing_.empty()) return self->write_out();
                               if (self->is_last_) self->end();
                             });
  }
  void end() {
    error_code ignored;
    socket.shutdown(tcp::socket::shutdown_send, ignored);
  }

  static constexpr size_t kMaxOutgoing = 256u << 20;  // bytes; more than a packet
  std::unique_ptr<TlsSession> tls_;
  std::array<char, 16u << 10> raw_{};
  std::string plain_;
  std::string outgoing_, sending_;
  bool writing_ = false;
  bool is_last_ = false;  // nothing is said any more
  std::string why_;
};

}  // namespace zabfs::consensus
