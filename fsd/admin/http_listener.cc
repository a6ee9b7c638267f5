#include "fsd/admin/http_listener.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <utility>

#include "consensus/tcp_listen.h"
#include "consensus/tls_stream.h"

namespace zabfs::fsd::admin {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr int kBacklog = 64;
constexpr size_t kMaxRequestBytes = 8u << 10;
constexpr auto kTimeLimit = std::chrono::seconds(10);
constexpr size_t kMaxUnsentBytes = 4u << 20;  // of a long answer
constexpr auto kUnsentPause = std::chrono::milliseconds(20);
constexpr unsigned kChunksSince = 11;       // HTTP 1.1
constexpr size_t kUploadBytes = 64u << 10;  // of a piece

}  // namespace

struct HttpListener::Exchange {
  explicit Exchange(tcp::socket socket)
      : stream(std::make_shared<consensus::TlsStream>(std::move(socket))),
        deadline(stream->get_executor()),
        pause(stream->get_executor()),
        buffer(kMaxRequestBytes) {
    parser.header_limit(kMaxRequestBytes);
    parser.body_limit(boost::none);  // who asks for it says how large it may be
  }
  std::shared_ptr<consensus::TlsStream> stream;
  asio::steady_timer deadline, pause;
  beast::flat_buffer buffer;
  http::request_parser<http::empty_body> parser;
  http::response<http::string_body> response;
  // Of a long answer.
  NextPiece next;
  http::response<http::empty_body> head;
  std::optional<http::response_serializer<http::empty_body>> serializer;
  std::string piece;
  // Of a body that is read.
  Upload upload;
  std::optional<http::request_parser<http::buffer_body>> body;
  http::response<http::empty_body> go_on;
  unsigned version = kChunksSince;
  std::shared_ptr<const void> kept;
  bool is_answered = false;
};

HttpListener::HttpListener(consensus::Service& service, Options options, Handler handler)
    : service_(service),
      options_(std::move(options)),
      handler_(std::move(handler)),
      max_connections_(consensus::most_strangers()),
      acceptor_(io_),
      pause_(io_) {}

HttpListener::~HttpListener() { stop(); }

Status HttpListener::listen() {
  if (options_.accepts_tls || options_.only_tls) {
    tls_.emplace(options_.tls, [](const std::string& line) { spdlog::warn(line); });
    if (Status status = tls_->load(); !status.ok()) return status;
  }
  return consensus::listen_on(acceptor_, io_, options_.address, options_.port, kBacklog,
                              options_.name.c_str());
}

void HttpListener::start() {
  accept();
  thread_ = std::thread([this] { io_.run(); });
  pthread_setname_np(thread_.native_handle(), "zabfs-admin");
}

void HttpListener::stop() {
  io_.stop();
  if (thread_.joinable()) thread_.join();
}

void HttpListener::accept() {
  auto socket = std::make_shared<tcp::socket>(io_);
  consensus::accept_next(acceptor_, *socket, pause_, [this, socket](error_code error) {
    if (!error && open_ < max_connections_) admit(std::move(*socket));
    accept();
  });
}

void HttpListener::admit(tcp::socket socket) {
  ++open_;
  // Its end counts it out, on whichever thread that is.
  std::shared_ptr<Exchange> exchange(new Exchange(std::move(socket)), [this](Exchange* over) {
    asio::post(io_, [this, over] {
      delete over;
      --open_;
    });
  });
  set_deadline(exchange);
  greet(exchange);
}

// From now on. One that was set before does not count any more.
void HttpListener::set_deadline(const std::shared_ptr<Exchange>& exchange) {
  exchange->deadline.expires_after(kTimeLimit);
  exchange->deadline.async_wait([stream = exchange->stream](error_code cancelled) {
    if (!cancelled) stream->close();
  });
}

// By its first byte a client says whether it speaks TLS.
void HttpListener::greet(const std::shared_ptr<Exchange>& exchange) {
  consensus::TlsStream& stream = *exchange->stream;
  stream.socket.async_wait(tcp::socket::wait_read, [this, exchange](error_code error) {
    constexpr char kHandshake = 0x16;
    char first = 0;
    consensus::TlsStream& ready = *exchange->stream;
    if (error || ::recv(ready.socket.native_handle(), &first, 1, MSG_PEEK) != 1) return;
    bool with_tls = first == kHandshake && tls_;
    if (!with_tls && options_.only_tls) {
      return warn("closed a client without TLS (admin.forceHttps)");
    }
    if (with_tls) ready.start(&*tls_, nullptr);
    http::async_read_header(ready, exchange->buffer, exchange->parser,
                            [this, exchange](error_code failed, size_t) {
                              if (!exchange->stream->why().empty()) {
                                warn("closed a client: TLS: " + exchange->stream->why());
                              }
                              if (!failed) answer(exchange);
                            });
  });
}

void HttpListener::warn(const std::string& what) {
  service_.log_limited(consensus::LogLevel::kWarning, options_.name + ": " + what);
}

void HttpListener::answer(const std::shared_ptr<Exchange>& exchange) {
  const auto& asked = exchange->parser.get();
  bool is_post = asked.method() == http::verb::post;
  if (!is_post && asked.method() != http::verb::get) {
    return send(exchange, {405, "text/plain", "only GET and POST are answered here\n"});
  }
  Request request;
  std::string target(asked.target());
  size_t mark = std::min(target.find('?'), target.size());
  request.path = target.substr(0, mark);
  request.query = target.substr(std::min(mark + 1, target.size()));
  request.is_post = is_post;
  request.authorization = std::string(asked[http::field::authorization]);
  error_code unknown;
  request.address = exchange->stream->socket.remote_endpoint(unknown).address().to_string();
  exchange->version = asked.version();
  handler_(request, reply_to(exchange));
}

HttpListener::Reply HttpListener::reply_to(const std::shared_ptr<Exchange>& exchange) {
  return [this, exchange](Answer answer) {
    asio::post(io_, [this, exchange, answer = std::move(answer)]() mutable {
      send(exchange, std::move(answer));
    });
  };
}

// A client that has much to send may wait until it is told to go on.
void HttpListener::receive(const std::shared_ptr<Exchange>& exchange, Upload upload) {
  exchange->upload = std::move(upload);
  bool waits = beast::iequals(exchange->parser.get()[http::field::expect], "100-continue");
  exchange->body.emplace(std::move(exchange->parser));
  exchange->body->body_limit(exchange->upload.max_bytes);
  if (exchange->body->content_length().value_or(0) > exchange->upload.max_bytes) {
    return received(exchange, Status::failed("the body is too large"));
  }
  exchange->buffer.max_size(kUploadBytes);
  exchange->piece.resize(kUploadBytes);
  if (!waits) return receive_piece(exchange);
  exchange->go_on.version(exchange->version);
  exchange->go_on.result(http::status::continue_);
  http::async_write(*exchange->stream, exchange->go_on, [this, exchange](error_code error, size_t) {
    if (!error) receive_piece(exchange);
  });
}

void HttpListener::receive_piece(const std::shared_ptr<Exchange>& exchange) {
  if (exchange->body->is_done()) return received(exchange, {});
  set_deadline(exchange);
  auto& room = exchange->body->get().body();
  room.data = exchange->piece.data();
  room.size = exchange->piece.size();
  http::async_read(*exchange->stream, exchange->buffer, *exchange->body,
                   [this, exchange](error_code error, size_t) {
                     if (error == http::error::body_limit) {
                       return received(exchange, Status::failed("the body is too large"));
                     }
                     if (error && error != http::error::need_buffer) return;
                     size_t left = exchange->body->get().body().size;
                     Status status = exchange->upload.take(
                         std::string_view(exchange->piece).substr(0, kUploadBytes - left));
                     if (!status.ok()) return received(exchange, status);
                     receive_piece(exchange);
                   });
}

// What is made of it may take long.
void HttpListener::received(const std::shared_ptr<Exchange>& exchange, const Status& status) {
  exchange->deadline.cancel();
  exchange->is_answered = false;
  Upload upload = std::move(exchange->upload);
  upload.taken(status, reply_to(exchange));
}

void HttpListener::send(const std::shared_ptr<Exchange>& exchange, Answer answer) {
  if (std::exchange(exchange->is_answered, true)) return;
  if (answer.upload) return receive(exchange, std::move(*answer.upload));
  exchange->kept = std::move(answer.kept);
  auto fill = [&exchange, &answer](auto& response) {
    response.result(answer.status);
    response.version(exchange->version);
    response.set(http::field::content_type, answer.type);
    for (const auto& [name, value] : answer.fields) response.set(name, value);
    response.keep_alive(false);
  };
  if (answer.next) {
    exchange->next = std::move(answer.next);
    fill(exchange->head);
    return send_pieces(exchange);
  }
  fill(exchange->response);
  exchange->response.body() = std::move(answer.body);
  exchange->response.prepare_payload();
  http::async_write(*exchange->stream, exchange->response,
                    [this, exchange](error_code, size_t) { end(exchange); });
}

// A socket that is closed before all is read that came takes the answer with it. So what a client
// sent in vain is read until it closes, or until the deadline.
void HttpListener::end(const std::shared_ptr<Exchange>& exchange) {
  exchange->stream->finish_writing();
  set_deadline(exchange);
  exchange->piece.resize(kUploadBytes);
  skip(exchange);
}

void HttpListener::skip(const std::shared_ptr<Exchange>& exchange) {
  exchange->stream->socket.async_read_some(asio::buffer(exchange->piece),
                                           [this, exchange](error_code error, size_t) {
                                             if (!error) return skip(exchange);
                                             exchange->deadline.cancel();
                                           });
}

// A client of HTTP 1.0 takes all up to the end of the connection for the body.
void HttpListener::send_pieces(const std::shared_ptr<Exchange>& exchange) {
  exchange->head.chunked(exchange->head.version() >= kChunksSince);
  exchange->serializer.emplace(exchange->head);
  http::async_write_header(*exchange->stream, *exchange->serializer,
                           [this, exchange](error_code error, size_t) {
                             if (!error) send_piece(exchange);
                           });
}

// An answer that can't be made to its end is cut off: its client sees that the last chunk is
// missing.
void HttpListener::send_piece(const std::shared_ptr<Exchange>& exchange) {
  if (exchange->stream->unsent() > kMaxUnsentBytes) {  // the deadline goes on
    exchange->pause.expires_after(kUnsentPause);
    return exchange->pause.async_wait([this, exchange](error_code) {
      if (exchange->stream->socket.is_open()) send_piece(exchange);
    });
  }
  set_deadline(exchange);
  exchange->piece.clear();
  StatusOr<bool> is_more = true;
  while (is_more.ok() && *is_more && exchange->piece.empty()) {
    is_more = exchange->next(exchange->piece);
  }
  if (!is_more.ok()) {
    warn("a long answer is cut off: " + is_more.why());
    return exchange->stream->close();
  }
  bool is_last = exchange->piece.empty();
  auto sent = [this, exchange, is_last](error_code error, size_t) {
    if (!error && !is_last) return send_piece(exchange);
    end(exchange);
  };
  bool has_chunks = exchange->head.chunked();
  if (!has_chunks) return asio::async_write(*exchange->stream, asio::buffer(exchange->piece), sent);
  if (is_last) return asio::async_write(*exchange->stream, http::make_chunk_last(), sent);
  asio::async_write(*exchange->stream, http::make_chunk(asio::buffer(exchange->piece)), sent);
}

}  // namespace zabfs::fsd::admin
