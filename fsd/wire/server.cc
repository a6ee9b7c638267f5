#include "fsd/wire/server.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <cerrno>
#include <type_traits>
#include <utility>
#include <variant>

#include "consensus/tcp_listen.h"
#include "fsd/wire/auth.h"
#include "fsd/wire/words.h"
#include "tree/identities.h"

namespace zabfs::fsd::wire {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using tree::Error;
using tree::OpCode;

namespace {

constexpr size_t kReadBytes = 64u << 10;
constexpr size_t kMaxReadsAtOnce = 128;      // under one hold of the tree's lock
constexpr size_t kMaxHoldBytes = 64u << 10;  // of answers, and one, under one hold
constexpr size_t kMaxHelloBytes = 4u << 10;  // of the first frame
constexpr size_t kRequestBytes = 512;        // of a write on its way, beside its body
constexpr size_t kLoggedScheme = 64;         // bytes of a scheme that nobody knows
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
constexpr auto kFreshTime = std::chrono::seconds(1);  // not disturbed for so long
constexpr size_t kMinFresh = 16;

size_t bytes_of(const tree::Identities& identities) {
  size_t bytes = 0;
  for (const tree::Id& id : identities) bytes += sizeof(id) + id.scheme.size() + id.id.size();
  return bytes;
}

std::string text_of(const asio::ip::address& address) {
  if (address.is_v6() && address.to_v6().is_v4_mapped()) {
    return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string();
  }
  return address.to_string();
}

std::string too_many_identities() {
  return fmt::format("more than {} identities, or {} bytes of them, on one connection",
                     tree::kMaxIdentities, tree::kMaxIdentityBytes);
}

}  // namespace

void ServerStats::note_latency(int64_t ms) {
  latency_ms_sum += ms;
  ++latency_count;
  int64_t low = latency_ms_min, high = latency_ms_max;
  while (ms < low && !latency_ms_min.compare_exchange_weak(low, ms)) {
  }
  while (ms > high && !latency_ms_max.compare_exchange_weak(high, ms)) {
  }
}

void ServerStats::reset() {
  received = sent = latency_count = 0;
  latency_ms_sum = latency_ms_max = 0;
  latency_ms_min = INT64_MAX;
}

WireServer::WireServer(consensus::Service& host, WireConfig config)
    : host_(host),
      config_(std::move(config)),
      work_(asio::make_work_guard(io_)),
      acceptor_(io_),
      secure_acceptor_(io_),
      local_acceptor_(io_),
      sweep_timer_(io_),
      watches_({config_.memory_bytes / 8, config_.memory_bytes / 2}),
      budget_(config_.memory_bytes * 2 / 5, {host.replica().config().max_pending / 2,
                                             host.replica().config().max_pending_bytes / 2, 0}),
      max_connections_(most_connections(config_.max_connections)),
      log_([](consensus::LogLevel, const std::string& line) { spdlog::warn(line); }) {}

WireServer::~WireServer() { stop(); }

// ---- its life

std::string WireServer::listen() {
  std::string problem;
  if (config_.port) {
    problem = consensus::listen_on(acceptor_, io_, config_.address, *config_.port, config_.backlog,
                                   "client port");
  }
  if (problem.empty() && config_.secure_port) {
    tls_.emplace(config_.tls, [](const std::string& line) { spdlog::warn(line); });
    problem = tls_->load();
    if (!problem.empty()) return problem;
    problem = consensus::listen_on(secure_acceptor_, io_, config_.secure_address,
                                   *config_.secure_port, config_.backlog, "secure client port");
  }
  if (problem.empty() && !config_.unix_socket.empty()) problem = listen_locally();
  return problem;
}

// The file is for everybody to connect to: what a user may is the ACLs' to say.
std::string WireServer::listen_locally() {
  const std::string& path = config_.unix_socket;
  error_code error;
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return fmt::format("zabfs.clientSocket: {} is too long for a socket", path);
  }
  local_acceptor_.open(Local(), error);
  // The mode goes with the bind: by then the path may be another file's.
  if (!error) ::fchmod(local_acceptor_.native_handle(), 0666);
  mode_t umask = ::umask(0);
  if (!error) local_acceptor_.bind(Local::endpoint(path), error);
  if (error == asio::error::address_in_use) {
    Local::socket probe(io_);
    error_code refused;
    probe.connect(Local::endpoint(path), refused);
    if (refused == asio::error::connection_refused) {  // left behind by a former life
      ::unlink(path.c_str());
      local_acceptor_.bind(Local::endpoint(path), error);
    }
  }
  ::umask(umask);
  if (!error) local_acceptor_.listen(config_.backlog, error);
  if (error) {
    return fmt::format("can't listen on {} (zabfs.clientSocket): {}", path, error.message());
  }
  return {};
}

std::string WireServer::doors() const {
  std::string text;
  error_code ignored;
  if (acceptor_.is_open())
    text += fmt::format(" port {}", acceptor_.local_endpoint(ignored).port());
  if (secure_acceptor_.is_open()) {
    text += fmt::format(" TLS port {}", secure_acceptor_.local_endpoint(ignored).port());
  }
  if (local_acceptor_.is_open()) text += " " + config_.unix_socket;
  return text;
}

void WireServer::start() {
  host_.post([this] {
    next_cxid_ = static_cast<int32_t>(host_.random() & 0x3fffffff) + 1;
    host_.replica().add_listener(this);
    if (!host_.replica().is_serving()) leaderless_since_ms_ = host_.now_ms();
  });
  if (acceptor_.is_open()) accept(acceptor_);
  if (secure_acceptor_.is_open()) accept(secure_acceptor_);
  if (local_acceptor_.is_open()) accept(local_acceptor_);
  sweep();
  for (int i = 0; i < config_.threads; ++i) {
    threads_.emplace_back([this] { io_.run(); });
    pthread_setname_np(threads_.back().native_handle(), "zabfs-wire");
  }
}

void WireServer::stop() {
  if (threads_.empty()) return;
  host_.post([this] { stopped_ = true; });
  io_.stop();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  if (local_acceptor_.is_open()) ::unlink(config_.unix_socket.c_str());
  std::lock_guard all(connections_mutex_);
  for (auto& [number, connection] : connections_) {
    std::lock_guard lock(connection->mutex);
    connection->dead = true;
    error_code ignored;
    connection->socket.close(ignored);
  }
}

template <class Acceptor>
void WireServer::accept(Acceptor& acceptor) {
  using Socket = typename Acceptor::protocol_type::socket;
  acceptor.async_accept(asio::make_strand(io_), [this, &acceptor](error_code error, Socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error) {
      Visitor visitor;
      if constexpr (std::is_same_v<Socket, tcp::socket>) {
        error_code ignored;
        socket.set_option(tcp::no_delay(true), ignored);
        visitor = visitor_of(socket, &acceptor == &secure_acceptor_);
      } else {
        visitor = visitor_of(socket);
      }
      if (!visitor.address.empty())
        admit(Connection::Socket(std::move(socket)), std::move(visitor));
      return accept(acceptor);
    }
    // Out of file descriptors, most likely: there may be some later.
    warn(fmt::format("client port: can't accept a connection: {}", error.message()));
    auto pause = std::make_shared<asio::steady_timer>(io_, kAcceptPause);
    pause->async_wait([this, pause, &acceptor](error_code) { accept(acceptor); });
  });
}

WireServer::Visitor WireServer::visitor_of(const tcp::socket& socket, bool secure) const {
  error_code error;
  tcp::endpoint peer = socket.remote_endpoint(error);
  if (error) return {};
  std::string address = text_of(peer.address());
  return {address, peer.port(), secure, {{"ip", address}}};
}

WireServer::Visitor WireServer::visitor_of(const Local::socket& socket) {
  std::variant<tree::Identities, std::string> peer =
      identities_of_peer(const_cast<Local::socket&>(socket).native_handle());
  if (auto* why = std::get_if<std::string>(&peer)) {
    warn(fmt::format("client port: refused a connection to the Unix-domain socket: {}", *why));
    return {};
  }
  auto& identities = std::get<tree::Identities>(peer);
  return {"uid " + identities[0].id, 0, false, std::move(identities)};
}

void WireServer::admit(Connection::Socket socket, Visitor visitor) {
  error_code error;
  socket.non_blocking(true, error);
  const std::string& address = visitor.address;
  ConnectionPtr connection, silent;
  {
    std::unique_lock lock(connections_mutex_);
    size_t& here = per_address_[address];
    bool too_many = config_.max_per_address != 0 && here >= config_.max_per_address;
    bool full = connections_.size() >= max_connections_;
    // Who has not said a word gives way to who comes.
    bool crowded = full || fresh_.size() >= std::max(kMinFresh, max_connections_ / 4);
    if (crowded && !fresh_.empty()) {
      auto oldest = fresh_.begin();
      bool is_late = Clock::now() - oldest->second->since_steady > kFreshTime;
      if (!full || is_late) silent = fresh_.extract(oldest).mapped();
    }
    full = full && !silent;
    if (too_many || full) {
      if (here == 0) per_address_.erase(address);
      lock.unlock();
      return warn(fmt::format("client port: too many connections {}{}: refused one (limit {}, {})",
                              too_many ? "from " : "in all", too_many ? address : "",
                              too_many ? config_.max_per_address : max_connections_,
                              too_many                       ? "maxClientCnxns"
                              : config_.max_connections == 0 ? "of open files"
                                                             : "maxCnxns"));
    }
    ++here;
    uint64_t number = next_connection_++;
    connection = std::make_shared<Connection>(std::move(socket), number, address, visitor.port);
    connections_.emplace(number, connection);
    fresh_.emplace(number, connection);
  }
  budget_.enter();
  if (silent) {
    std::lock_guard lock(silent->mutex);
    cut(*silent, "it says nothing, and there are too many such connections");
  }
  connection->identities = std::move(visitor.identities);
  if (visitor.with_tls) connection->tls = std::make_unique<consensus::TlsSession>(*tls_);
  asio::post(connection->socket.get_executor(), [this, connection] { read(connection); });
}

// ---- bytes in

void WireServer::read(const ConnectionPtr& connection) {
  connection->socket.async_wait(
      Connection::Socket::wait_read, [this, connection](error_code error) {
        if (error) return gone(connection);
        // One buffer a thread: thousands of idle connections hold none.
        thread_local std::string buffer(kReadBytes, '\0');
        ssize_t n = ::recv(connection->socket.native_handle(), buffer.data(), buffer.size(), 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return read(connection);
        if (n <= 0) return gone(connection);
        std::string_view bytes(buffer.data(), static_cast<size_t>(n));
        if (!connection->tls) {
          connection->in.append(bytes);
        } else if (!unseal(connection, bytes)) {
          return;
        }
        go_on(connection);
      });
}

// False: the connection is over.
bool WireServer::unseal(const ConnectionPtr& connection, std::string_view bytes) {
  Connection& c = *connection;
  std::string problem;
  {
    std::lock_guard lock(c.mutex);
    bool was_established = c.tls->is_established();
    if (!c.tls->receive(bytes, c.in)) problem = c.tls->why();
    if (problem.empty() && !was_established && c.tls->is_established()) {
      if (std::optional<std::string> subject = c.tls->peer_subject()) {
        tree::Identities proven;
        if (*subject == config_.x509_super) proven.push_back({"super", *subject});
        proven.push_back({"x509", std::move(*subject)});
        if (!tree::add_identities(c.identities, proven)) problem = too_many_identities();
      }
    }
  }
  send(connection);  // the handshake's answers, and alerts
  if (problem.empty()) return true;
  refuse(connection, "TLS: " + problem);
  return false;
}

// Takes what has arrived, and reads on unless there is reason to wait. What takes long goes in
// turns with other connections.
void WireServer::go_on(const ConnectionPtr& connection) {
  Connection& c = *connection;
  bool are_left = take_frames(connection);
  if (c.in_begin > 0) c.in.erase(0, std::exchange(c.in_begin, 0));
  if (c.in.empty() && c.in.capacity() > kept_bytes()) c.in.shrink_to_fit();
  send(connection);
  {
    std::lock_guard lock(c.mutex);
    if (c.dead || c.phase == Phase::kOver) return;
    c.in_bytes = c.in.capacity();
    count(c);
    if (c.phase == Phase::kConnecting || !c.can_take_more(budget_)) {
      c.paused = true;  // `send` goes on from here when there is room
      return;
    }
  }
  if (!are_left) return read(connection);
  asio::post(c.socket.get_executor(), [this, connection] { go_on(connection); });
}

void WireServer::gone(const ConnectionPtr& connection) {
  {
    std::lock_guard all(connections_mutex_);
    if (connections_.erase(connection->number) == 0) return;
    auto here = per_address_.find(connection->address);
    if (--here->second == 0) per_address_.erase(here);
    fresh_.erase(connection->number);
  }
  {
    Connection& c = *connection;
    std::lock_guard lock(c.mutex);
    c.dead = true;
    budget_.end_requests(c.waiting.size(), c.waiting_bytes);
    budget_.hold(c.counted_bytes.exchange(0), 0);
    budget_.leave();
    c.waiting = {};
    for (std::string* bytes : {&c.in, &c.out, &c.sealed}) *bytes = std::string();
    c.out_begin = c.sealed_begin = 0;
    error_code ignored;
    c.socket.close(ignored);
  }
  forget_watches(connection->number);
  host_.post([this, connection] {
    behind_sync_.erase(connection->number);
    auto place = sessions_.find(connection->session);
    if (place != sessions_.end() && place->second == connection) sessions_.erase(place);
    // A read on the strand may have set a watch after they were removed.
    forget_watches(connection->number);
  });
}

void WireServer::refuse(const ConnectionPtr& connection, const std::string& why) {
  warn(fmt::format("client port: closed {}:{}: {}", connection->address, connection->port, why));
  std::lock_guard lock(connection->mutex);
  shut(*connection);
}

std::optional<std::string_view> WireServer::next_frame(const ConnectionPtr& connection,
                                                       size_t most_bytes) {
  std::string_view left = std::string_view(connection->in).substr(connection->in_begin);
  if (left.size() < 4) return std::nullopt;
  int32_t length = tree::jute::Reader(left).i32();
  if (length < 0 || static_cast<size_t>(length) > most_bytes) {
    refuse(connection,
           fmt::format("a frame of {} bytes; the limit is {}{}", length, most_bytes,
                       most_bytes == config_.max_frame_bytes ? " (jute.maxbuffer)" : " here"));
    return std::nullopt;
  }
  auto size = static_cast<size_t>(length);
  if (left.size() < 4 + size) return std::nullopt;
  connection->in_begin += 4 + size;
  return left.substr(4, size);
}

void WireServer::take_hello(const ConnectionPtr& connection) {
  if (connection->in.size() < 4) return;
  std::string word = connection->in.substr(0, 4);
  if (is_word(word)) return take_word(connection, word);
  std::optional<std::string_view> frame =
      next_frame(connection, std::min(kMaxHelloBytes, config_.max_frame_bytes));
  if (!frame) return;
  no_longer_fresh(connection->number);
  std::optional<ConnectRequest> request = decode_connect_request(*frame);
  if (!request) return refuse(connection, "not a connect request");
  {
    std::lock_guard lock(connection->mutex);
    connection->phase = Phase::kConnecting;  // nothing more is read until the session is there
  }
  host_.post([this, connection, request = *request] { connect(connection, request); });
}

void WireServer::take_word(const ConnectionPtr& connection, const std::string& word) {
  no_longer_fresh(connection->number);
  {
    std::lock_guard lock(connection->mutex);
    connection->phase = Phase::kConnecting;
  }
  host_.post([this, connection, word] {
    std::string text = answer_word(*this, word);
    {
      std::lock_guard lock(connection->mutex);
      connection->out += text;
      count(*connection);
    }
    finish(connection);
  });
}

// True: there may be whole frames left, which must wait.
bool WireServer::take_frames(const ConnectionPtr& connection) {
  Phase phase;
  {
    std::lock_guard lock(connection->mutex);
    phase = connection->phase;
  }
  if (phase == Phase::kHello) take_hello(connection);
  if (phase != Phase::kOpen) return false;
  std::vector<Read> reads;
  std::vector<Submission> batch;
  bool are_left = false;
  while (!are_left) {
    std::optional<std::string_view> frame = next_frame(connection, config_.max_frame_bytes);
    if (!frame) break;
    connection->heard.store(true, std::memory_order_relaxed);
    are_left = !take_request(connection, *frame, reads, batch);
    if (!reads.empty() && is_long(reads.back().type)) are_left = true;  // others take their turns
    if (reads.size() >= kMaxReadsAtOnce) are_left = !answer_reads(connection, reads);
    std::lock_guard lock(connection->mutex);
    connection->moved = true;
    if (connection->dead || connection->phase != Phase::kOpen) break;
    are_left = are_left || !connection->can_take_more(budget_);
  }
  are_left = !answer_reads(connection, reads) || are_left;
  if (batch.empty()) return are_left;
  host_.post([this, batch = std::move(batch)]() mutable {
    for (Submission& submission : batch) submit(std::move(submission));
  });
  return are_left;
}

// A read with nothing waiting before it goes to `reads`; what goes to the leader to `batch`. False:
// no room is left for answers, and it was not taken, nor were some before it.
bool WireServer::take_request(const ConnectionPtr& connection, std::string_view frame,
                              std::vector<Read>& reads, std::vector<Submission>& batch) {
  tree::jute::Reader in(frame);
  int32_t xid = in.i32();
  auto type = static_cast<OpCode>(in.i32());
  if (!in.ok()) {
    refuse(connection, "a frame without a request header");
    return true;
  }
  std::string_view body = in.rest();
  Connection& c = *connection;
  size_t begin = c.in_begin - frame.size() - sizeof(int32_t);
  bool reads_now = is_read(type);
  size_t answer_bytes = 0;
  std::unique_lock lock(c.mutex);
  if (reads_now && !c.waiting.empty()) {
    lock.unlock();  // the tree's lock is taken before a connection's
    answer_bytes = host_.replica().read(
        [type, body](const tree::Tree& tree) { return expected_answer_bytes(tree, type, body); });
    lock.lock();
  }
  if (c.stalled) {  // else it could be a write, and done before the reads that wait
    c.in_begin = begin;
    return false;
  }
  if (!reads.empty() && !(reads_now && c.waiting.empty())) {
    lock.unlock();  // what was read before this request is answered before it
    if (!answer_reads(connection, reads)) return false;
    lock.lock();
  }
  ++stats_.received;
  ++c.stats.received;
  c.stats.last_op = type;
  c.stats.last_cxid = xid;
  bool proves = type == OpCode::kAuth || type == OpCode::kSasl;
  if (!proves && !may_ask(c, xid)) return true;
  if (reads_now && c.waiting.empty()) {
    reads.push_back({xid, type, body, begin});
    return true;
  }
  if (type == OpCode::kAuth) {
    authenticate(c, xid, body);
    return true;
  }
  if (type == OpCode::kSasl) {
    step_sasl(c, xid, body);
    return true;
  }
  if (!reads_now && !is_write(type)) {
    append_reply(c.out, xid, tree::Zxid{-1}, Error::kUnimplemented);
    c.phase = Phase::kOver;
    warn(fmt::format("client port: closed {}:{}: unknown request type {}", c.address, c.port,
                     static_cast<int32_t>(type)));
    return true;
  }
  if (c.read_only) {
    lock.unlock();
    refuse_write(connection, xid, type);
    return true;
  }
  uint64_t number = c.first_waiting + c.waiting.size();
  WaitingRequest& waiting = c.waiting.emplace_back();
  waiting.xid = xid;
  waiting.type = type;
  waiting.since = Clock::now();
  waiting.held_bytes = sizeof(WaitingRequest) + body.size() + answer_bytes;
  if (!reads_now) waiting.held_bytes += kRequestBytes + bytes_of(c.identities);
  c.waiting_bytes += waiting.held_bytes;
  budget_.begin_request(waiting.held_bytes);
  if (reads_now) {
    waiting.bytes = body;
    return true;
  }
  tree::Request request;
  request.session = c.session;
  request.type = type;
  request.body = body;
  request.identities = c.identities;
  batch.push_back({connection, number, xid, std::move(request)});
  return true;
}

ReadContext WireServer::context_of(const Connection& connection, const tree::Tree& tree) {
  return {tree,
          watches_,
          connection.number,
          connection.session,
          connection.identities,
          config_.skip_acl};
}

// False: there is no room for the answers of the last of them, which are to be taken again.
bool WireServer::answer_reads(const ConnectionPtr& connection, std::vector<Read>& reads) {
  Connection& c = *connection;
  size_t next = 0;
  bool is_full = false;
  while (next < reads.size() && !is_full) {
    host_.replica().read([&](const tree::Tree& tree) {
      std::lock_guard lock(c.mutex);
      size_t first = next, end = c.out.size() + kMaxHoldBytes;
      bool is_enough = false;
      while (next < reads.size() && !is_full && !is_enough) {
        is_full = c.dead || c.unsent() >= kPauseOutBytes;
        if (is_full) break;
        const Read& read = reads[next++];
        is_full = !answer_read(c, tree, read.xid, read.type, read.body);
        is_enough = is_long(read.type) || c.out.size() > end;
      }
      stats_.sent += next - first;
      c.stats.sent += next - first;
      c.stats.last_answer = Clock::now();
      c.stats.last_zxid = tree.last_zxid();
    });
  }
  bool are_left = next < reads.size();
  if (are_left) {
    c.in_begin = reads[next].begin;
    stats_.received -= reads.size() - next;
    std::lock_guard lock(c.mutex);
    c.stats.received -= reads.size() - next;
  }
  reads.clear();
  return !are_left;
}

// False: the connection is over.
bool WireServer::answer_read(Connection& c, const tree::Tree& tree, int32_t xid, OpCode type,
                             std::string_view body) {
  Error error = append_answer(context_of(c, tree), xid, type, body, c.out);
  if (!is_lost_without_watches(type, error)) return true;
  cut(c, "there is no room for its watches (zabfs.clientMemory)");
  return false;
}

// Java answers at once, and before what waits (FORMATS.md 1.4).
void WireServer::authenticate(Connection& c, int32_t xid, std::string_view body) {
  tree::jute::Reader in(body);
  in.i32();
  std::string_view scheme = in.string();
  std::optional<std::string_view> credentials = in.buffer();
  if (!in.ok()) {
    warn(fmt::format("client port: closed {}:{}: a malformed addAuth", c.address, c.port));
    c.phase = Phase::kOver;
    return;
  }
  std::optional<tree::Identities> proven;
  if (credentials || scheme == "ip") {
    proven = wire::authenticate(scheme, credentials.value_or(std::string_view()), c.address,
                                config_.super_digest);
  }
  if (!proven) {
    return fail_authentication(
        c, xid, fmt::format("scheme \"{}\" proved nothing", scheme.substr(0, kLoggedScheme)));
  }
  if (!tree::add_identities(c.identities, *proven)) {
    return fail_authentication(c, xid, too_many_identities());
  }
  append_reply(c.out, xid, tree::Zxid{0}, Error::kOk);
}

// Clients take AUTHFAILED for the end of this connection, and no other code of an addAuth is told
// to those who use them.
void WireServer::fail_authentication(Connection& c, int32_t xid, const std::string& why) {
  append_reply(c.out, xid, tree::Zxid{0}, Error::kAuthFailed);
  warn(fmt::format("client port: {}:{} failed to authenticate: {}", c.address, c.port, why));
  c.phase = Phase::kOver;
}

// One round: a challenge for the client's empty token, a proof for its answer.
void WireServer::step_sasl(Connection& c, int32_t xid, std::string_view body) {
  tree::jute::Reader in(body);
  std::string_view token = in.string();
  std::optional<std::string> answer;
  if (!in.ok() || config_.sasl_users.empty()) {
    answer = std::nullopt;
  } else if (!c.sasl) {
    c.sasl.emplace(config_.sasl_users,
                   fmt::format("{:016x}{:016x}", host_.random(), host_.random()));
    answer = c.sasl->challenge();
  } else {
    answer = c.sasl->respond(token);
    std::string user = c.sasl->user();
    c.sasl.reset();
    if (answer && !tree::add_identities(c.identities, {{"sasl", std::move(user)}})) {
      return fail_authentication(c, xid, too_many_identities());
    }
  }
  if (!answer) return fail_authentication(c, xid, "SASL proved nothing");
  Frame frame(c.out);
  tree::jute::Writer out(c.out);
  write_reply_header(out, xid, tree::Zxid{0}, Error::kOk);
  out.buffer(*answer);
}

// Java: AuthenticationHelper, which every request but these two passes.
bool WireServer::may_ask(Connection& c, int32_t xid) {
  if (config_.enforced_auth.empty()) return true;
  bool proven = std::any_of(c.identities.begin(), c.identities.end(), [this](const tree::Id& id) {
    const auto& schemes = config_.enforced_auth;
    return std::find(schemes.begin(), schemes.end(), id.scheme) != schemes.end();
  });
  if (proven) return true;
  warn(fmt::format("client port: closed {}:{}: it has not authenticated by {}", c.address, c.port,
                   fmt::join(config_.enforced_auth, " or ")));
  append_reply(c.out, xid, tree::Zxid{0}, Error::kSessionClosedRequireSaslAuth);
  c.phase = Phase::kOver;
  return false;
}

void WireServer::refuse_write(const ConnectionPtr& connection, int32_t xid, OpCode type) {
  tree::Zxid zxid = host_.replica().read([](const tree::Tree& tree) { return tree.last_zxid(); });
  std::lock_guard lock(connection->mutex);
  bool closes = type == OpCode::kCloseSession;
  append_reply(connection->out, xid, zxid, closes ? Error::kOk : Error::kNotReadOnly);
  if (closes) connection->phase = Phase::kOver;
}

// ---- bytes out

void WireServer::shut(Connection& connection) {
  if (std::exchange(connection.dead, true)) return;
  budget_.hold(connection.counted_bytes.exchange(0), 0);
  ::shutdown(connection.socket.native_handle(), SHUT_RDWR);
  asio::post(connection.socket.get_executor(),
             [this, self = connection.shared_from_this()] { gone(self); });
}

void WireServer::finish(const ConnectionPtr& connection) {
  {
    std::lock_guard lock(connection->mutex);
    connection->phase = Phase::kOver;
  }
  send(connection);
}

void WireServer::send(const ConnectionPtr& connection) {
  Connection& c = *connection;
  std::lock_guard lock(c.mutex);
  if (c.dead || c.waits_for_room) return;
  if (c.tls) {
    c.tls->say(std::string_view(c.out).substr(c.out_begin));
    c.out.clear();
    c.out_begin = 0;
    c.tls->take_outgoing(c.sealed);
  }
  std::string& out = c.tls ? c.sealed : c.out;
  size_t& begin = c.tls ? c.sealed_begin : c.out_begin;
  while (begin < out.size()) {
    ssize_t n = ::send(c.socket.native_handle(), out.data() + begin, out.size() - begin,
                       MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return shut(c);
    if (n < 0) break;
    begin += static_cast<size_t>(n);
    c.moved = true;
  }
  if (begin < out.size()) {
    // Moved to the front once in a while only: it may be long, and go in small pieces.
    if (begin >= out.size() / 2) out.erase(0, std::exchange(begin, 0));
    c.waits_for_room = true;
    asio::post(c.socket.get_executor(), [this, connection] {
      connection->socket.async_wait(Connection::Socket::wait_write, [this, connection](error_code) {
        {
          std::lock_guard again(connection->mutex);
          connection->waits_for_room = false;
        }
        send(connection);
      });
    });
  } else {
    out.clear();
    begin = 0;
    if (out.capacity() > kept_bytes()) out.shrink_to_fit();
    if (c.phase == Phase::kOver) return shut(c);
  }
  if (c.tls && c.out.capacity() > kept_bytes()) c.out.shrink_to_fit();
  count(c);
  if (c.stalled && c.unsent() < kPauseOutBytes) {
    asio::post(c.socket.get_executor(), [this, connection] { go_on_draining(connection); });
  }
  if (c.paused && c.phase == Phase::kOpen && c.can_take_more(budget_)) {
    c.paused = false;
    asio::post(c.socket.get_executor(), [this, connection] { go_on(connection); });
  }
}

}  // namespace zabfs::fsd::wire
