// A port that answers HTTP: the admin port, and the port of metrics.
//
// One thread of its own. At most so many connections at once as strangers may have (tcp_listen.h);
// each for one request, of at most 8 KiB, and closed after 10 s. An answer may be long: it is made
// and sent piece by piece, and closed after 10 s without a piece. A request's body is read only if
// the handler asks for it, piece by piece, and closed after 10 s without a piece.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "consensus/service.h"
#include "consensus/tls.h"
#include "tree/status.h"

namespace zabfs::fsd::admin {

class HttpListener {
 public:
  struct Options {
    std::string name;     // for the log: "admin port"
    std::string address;  // empty: all
    uint16_t port = 0;
    bool accepts_tls = false, only_tls = false;
    consensus::TlsConfig tls = {};
  };
  struct Request {
    std::string path, query;    // before and behind the `?`
    bool is_post = false;       // else it is a GET
    std::string authorization;  // the field of that name
    std::string address;        // the client's
  };
  // Appends the next bytes of a body; false: that was its end. On the listener's thread, which
  // waits for it meanwhile.
  using NextPiece = std::function<StatusOr<bool>(std::string& out)>;
  struct Answer;
  // On any thread, once; further calls do nothing.
  using Reply = std::function<void(Answer)>;
  // A body that is wanted: `take` gets its pieces, and says what is wrong with them, on the
  // listener's thread, which waits for it meanwhile. Then `taken` gets that, or kOk at the body's
  // end, and answers when it likes. Where the connection breaks, neither is called again.
  struct Upload {
    uint64_t max_bytes = 0;
    std::function<Status(std::string_view)> take;
    std::function<void(const Status&, Reply)> taken;
  };
  struct Answer {
    unsigned status = 200;
    const char* type = "text/plain";
    std::string body;
    std::vector<std::pair<std::string, std::string>> fields = {};  // of the header
    NextPiece next = nullptr;                                      // in place of the body
    std::optional<Upload> upload = {};                             // in place of an answer
    std::shared_ptr<const void> kept = {};  // let go of on the listener's thread, behind the answer
  };
  // Called on the listener's thread.
  using Handler = std::function<void(const Request& request, Reply reply)>;

  // The log of `service` gets what strangers can cause.
  HttpListener(consensus::Service& service, Options options, Handler handler);
  ~HttpListener();

  // Binds.
  Status listen();
  void start();
  // Ends the thread. Replies that come later do nothing, as long as the listener is there.
  void stop();
  // Its thread's, for timers of the handler.
  boost::asio::io_context& io() { return io_; }

 private:
  using tcp = boost::asio::ip::tcp;
  struct Exchange;

  void accept();
  void admit(tcp::socket socket);
  void greet(const std::shared_ptr<Exchange>& exchange);
  void answer(const std::shared_ptr<Exchange>& exchange);
  Reply reply_to(const std::shared_ptr<Exchange>& exchange);
  void receive(const std::shared_ptr<Exchange>& exchange, Upload upload);
  void receive_piece(const std::shared_ptr<Exchange>& exchange);
  void received(const std::shared_ptr<Exchange>& exchange, const Status& status);
  void send(const std::shared_ptr<Exchange>& exchange, Answer answer);
  void send_pieces(const std::shared_ptr<Exchange>& exchange);
  void send_piece(const std::shared_ptr<Exchange>& exchange);
  void end(const std::shared_ptr<Exchange>& exchange);
  void skip(const std::shared_ptr<Exchange>& exchange);
  static void set_deadline(const std::shared_ptr<Exchange>& exchange);

  void warn(const std::string& what);

  consensus::Service& service_;
  const Options options_;
  const Handler handler_;
  const size_t max_connections_;
  boost::asio::io_context io_{1};
  tcp::acceptor acceptor_;
  boost::asio::steady_timer pause_;
  std::optional<consensus::TlsContext> tls_;
  size_t open_ = 0;
  std::thread thread_;
};

}  // namespace zabfs::fsd::admin
