#include "fsd/admin/server.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json/src.hpp>  // the library is header-only here: this file is its one source
#include <utility>

#include "consensus/tcp_listen.h"
#include "consensus/tls_stream.h"
#include "fsd/admin/commands.h"

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

struct AdminServer::Exchange {
  explicit Exchange(tcp::socket socket)
      : stream(std::make_shared<consensus::TlsStream>(std::move(socket))),
        deadline(stream->get_executor()),
        buffer(kMaxRequestBytes) {}
  std::shared_ptr<consensus::TlsStream> stream;
  asio::steady_timer deadline;
  beast::flat_buffer buffer;
  http::request<http::empty_body> request;
  http::response<http::string_body> response;
};

AdminServer::AdminServer(consensus::Service& service, wire::WireServer& clients, AdminConfig config)
    : service_(service),
      clients_(clients),
      config_(std::move(config)),
      max_connections_(consensus::most_strangers()),
      acceptor_(io_),
      pause_(io_) {}

AdminServer::~AdminServer() { stop(); }

Status AdminServer::listen() {
  if (config_.accepts_tls || config_.only_tls) {
    tls_.emplace(config_.tls, [](const std::string& line) { spdlog::warn(line); });
    if (Status status = tls_->load(); !status.ok()) return status;
  }
  return consensus::listen_on(acceptor_, io_, config_.address, *config_.port, kBacklog,
                              "admin port");
}

void AdminServer::start() {
  accept();
  thread_ = std::thread([this] { io_.run(); });
  pthread_setname_np(thread_.native_handle(), "zabfs-admin");
}

void AdminServer::stop() {
  io_.stop();
  if (thread_.joinable()) thread_.join();
}

void AdminServer::accept() {
  auto socket = std::make_shared<tcp::socket>(io_);
  consensus::accept_next(acceptor_, *socket, pause_, [this, socket](error_code error) {
    if (!error && open_ < max_connections_) admit(std::move(*socket));
    accept();
  });
}

void AdminServer::admit(tcp::socket socket) {
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
void AdminServer::greet(const std::shared_ptr<Exchange>& exchange) {
  consensus::TlsStream& stream = *exchange->stream;
  stream.socket.async_wait(tcp::socket::wait_read, [this, exchange](error_code error) {
    constexpr char kHandshake = 0x16;
    char first = 0;
    consensus::TlsStream& ready = *exchange->stream;
    if (error || ::recv(ready.socket.native_handle(), &first, 1, MSG_PEEK) != 1) return;
    bool with_tls = first == kHandshake && tls_;
    if (!with_tls && config_.only_tls) {
      spdlog::warn("admin port: closed a client without TLS (admin.forceHttps)");
      return;
    }
    if (with_tls) ready.start(&*tls_, nullptr);
    http::async_read(
        ready, exchange->buffer, exchange->request, [this, exchange](error_code failed, size_t) {
          if (!exchange->stream->why().empty()) {
            spdlog::warn("admin port: closed a client: TLS: {}", exchange->stream->why());
          }
          if (!failed) answer(exchange);
        });
  });
}

void AdminServer::answer(const std::shared_ptr<Exchange>& exchange) {
  if (exchange->request.method() != http::verb::get) {
    return reply(exchange, 405, "text/plain", "only GET is answered here\n");
  }
  std::string path(exchange->request.target());
  path = path.substr(0, path.find('?'));
  if (path == config_.path || path == config_.path + "/") {
    std::string page;
    for (const std::string& name : command_names()) {
      page += fmt::format("<a href=\"{0}/{1}\">{1}</a>\n<br/>\n", config_.path, name);
    }
    return reply(exchange, 200, "text/html", std::move(page));
  }
  if (!path.starts_with(config_.path + "/")) {
    return reply(exchange, 404, "text/plain", "see " + config_.path + "\n");
  }
  std::string name = path.substr(config_.path.size() + 1);
  service_.post([this, exchange, name] {
    std::string body = boost::json::serialize(run_command(clients_, name)) + "\n";
    asio::post(io_, [this, exchange, body = std::move(body)]() mutable {
      reply(exchange, 200, "application/json", std::move(body));
    });
  });
}

void AdminServer::reply(const std::shared_ptr<Exchange>& exchange, unsigned status,
                        const char* type, std::string body) {
  exchange->response.result(status);
  exchange->response.version(exchange->request.version());
  exchange->response.set(http::field::content_type, type);
  exchange->response.keep_alive(false);
  exchange->response.body() = std::move(body);
  exchange->response.prepare_payload();
  http::async_write(*exchange->stream, exchange->response, [exchange](error_code, size_t) {
    exchange->deadline.cancel();
    exchange->stream->finish_writing();
  });
}

}  // namespace zabfs::fsd::admin
