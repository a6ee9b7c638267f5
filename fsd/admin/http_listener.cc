#include "fsd/admin/http_listener.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
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

}  // namespace

struct HttpListener::Exchange {
  explicit Exchange(tcp::socket socket)
      : stream(std::make_shared<consensus::TlsStream>(std::move(socket))),
        deadline(stream->get_executor()),
        buffer(kMaxRequestBytes) {}
  std::shared_ptr<consensus::TlsStream> stream;
  asio::steady_timer deadline;
  beast::flat_buffer buffer;
  http::request<http::empty_body> request;
  http::response<http::string_body> response;
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
  exchange->deadline.expires_after(kTimeLimit);
  exchange->deadline.async_wait([stream = exchange->stream](error_code cancelled) {
    if (!cancelled) stream->close();
  });
  greet(exchange);
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
    http::async_read(ready, exchange->buffer, exchange->request,
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
  if (exchange->request.method() != http::verb::get) {
    return send(exchange, {405, "text/plain", "only GET is answered here\n"});
  }
  std::string path(exchange->request.target());
  path = path.substr(0, path.find('?'));
  handler_(path, [this, exchange](Answer answer) {
    asio::post(io_, [this, exchange, answer = std::move(answer)]() mutable {
      send(exchange, std::move(answer));
    });
  });
}

void HttpListener::send(const std::shared_ptr<Exchange>& exchange, Answer answer) {
  if (std::exchange(exchange->is_answered, true)) return;
  exchange->response.result(answer.status);
  exchange->response.version(exchange->request.version());
  exchange->response.set(http::field::content_type, answer.type);
  exchange->response.keep_alive(false);
  exchange->response.body() = std::move(answer.body);
  exchange->response.prepare_payload();
  http::async_write(*exchange->stream, exchange->response, [exchange](error_code, size_t) {
    exchange->deadline.cancel();
    exchange->stream->finish_writing();
  });
}

}  // namespace zabfs::fsd::admin
