#include "consensus/election_mesh.h"

#include <fmt/format.h>

#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <utility>
#include <variant>
#include <vector>

#include "consensus/tcp_listen.h"
#include "tree/jute.h"

namespace zabfs::consensus {

namespace asio = boost::asio;

namespace {

constexpr auto kHelloLimit = std::chrono::seconds(2);
constexpr auto kProbeEvery = std::chrono::seconds(5);
// Who closes each connection is not dialled more often than who has none.
constexpr int64_t kAgeMs = std::chrono::milliseconds(kProbeEvery).count();
constexpr int kVoteTimeoutMs = 2'000;
constexpr size_t kMaxHelloAddress = 2'048;
constexpr size_t kHelloHeadBytes = 12;  // behind its version

std::string port_of(const asio::ip::tcp::socket& socket) {
  boost::system::error_code error;
  asio::ip::tcp::endpoint peer = socket.remote_endpoint(error);
  return error ? "" : std::to_string(peer.port());
}

int64_t clock_ms() {
  auto time = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

}  // namespace

struct ElectionMesh::Arrival {
  Arrival(asio::io_context& io, StreamPtr stream) : socket(std::move(stream)), limit(io) {}
  StreamPtr socket;
  asio::steady_timer limit;
  Guests::Ticket ticket = 0;
  std::string bytes;
};

ElectionMesh::ElectionMesh(asio::io_context& io, Strand& strand, ServerId me,
                           std::map<ServerId, Member> members, std::shared_ptr<Dialler> dialler,
                           TlsContext* tls, Dialler::Logger log)
    : io_(io),
      strand_(strand),
      me_(me),
      self_(members[me]),
      members_(std::move(members)),
      known_strangers_(most_strangers()),
      arrivals_(most_strangers()),
      dialler_(std::move(dialler)),
      tls_(tls),
      log_(std::move(log)),
      acceptor_(io),
      pause_(io),
      probe_timer_(io) {}

void ElectionMesh::start(Receiver& receiver) {
  receiver_ = &receiver;
  accept();
  probe();
}

void ElectionMesh::accept() {
  auto socket = std::make_shared<TlsStream>(io_);
  accept_next(acceptor_, socket->socket, pause_,
              [self = shared_from_this(), socket](boost::system::error_code error) {
                if (!error) {
                  socket->start(self->tls_, nullptr);
                  self->read_hello(socket);
                }
                self->accept();
              });
}

// ---- who comes

void ElectionMesh::read_hello(const StreamPtr& socket) {
  auto arrival = std::make_shared<Arrival>(io_, socket);
  arrival->ticket = arrivals_.enter(address_of(socket->socket), [this, socket](size_t count) {
    log_(LogLevel::kWarning,
         fmt::format("election port: closed {}: too many connections do not say who they are, "
                     "{} of them from there",
                     name_of(socket->socket), count));
    socket->close();
  });
  arrival->limit.expires_after(kHelloLimit);
  arrival->limit.async_wait([self = shared_from_this(), arrival](error_code cancelled) {
    if (!cancelled) self->refuse(arrival, "it did not say who it is");
  });
  arrival->bytes.resize(kHelloVersionBytes);
  asio::async_read(*socket, asio::buffer(arrival->bytes),
                   [self = shared_from_this(), arrival](error_code error, size_t) {
                     const std::string& tls = arrival->socket->why();
                     if (error) {
                       return self->refuse(arrival, tls.empty() ? "no whole hello" : "TLS: " + tls);
                     }
                     std::string problem = hello_problem(arrival->bytes);
                     if (!problem.empty()) return self->refuse(arrival, problem);
                     self->read_head(arrival);
                   });
}

void ElectionMesh::read_head(const ArrivalPtr& arrival) {
  arrival->bytes.resize(kHelloHeadBytes);
  asio::async_read(*arrival->socket, asio::buffer(arrival->bytes),
                   [self = shared_from_this(), arrival](error_code error, size_t) {
                     tree::jute::Reader in(arrival->bytes);
                     ServerId from{in.i64()};
                     int32_t length = in.i32();
                     if (error) return self->refuse(arrival, "no whole hello");
                     if (length < 1 || static_cast<size_t>(length) > kMaxHelloAddress) {
                       return self->refuse(arrival, "a hello with an impossible address");
                     }
                     self->read_address(arrival, from, static_cast<size_t>(length));
                   });
}

void ElectionMesh::read_address(const ArrivalPtr& arrival, ServerId from, size_t length) {
  arrival->bytes.resize(length);
  asio::async_read(*arrival->socket, asio::buffer(arrival->bytes),
                   [self = shared_from_this(), arrival, from](error_code error, size_t) {
                     if (error) return self->refuse(arrival, "no whole hello");
                     std::string came_from = address_of(arrival->socket->socket);
                     self->note_claim(from, arrival->socket, arrival->bytes);
                     if (from == self->me_ || !self->welcomes(from, arrival->bytes, came_from)) {
                       return self->refuse(arrival,
                                           fmt::format("server {} is no peer here", from.value));
                     }
                     self->arrivals_.leave(arrival->ticket);
                     arrival->limit.cancel();
                     self->on_hello(arrival->socket, from,
                                    election_port_in(arrival->bytes, self->live_port(from)));
                   });
}

void ElectionMesh::refuse(const ArrivalPtr& arrival, const std::string& why) {
  arrivals_.leave(arrival->ticket);
  arrival->limit.cancel();
  if (!arrival->socket->socket.is_open()) return;  // whoever closed it has said so
  log_(LogLevel::kWarning,
       fmt::format("election port: closed {}: {}", name_of(arrival->socket->socket), why));
  arrival->socket->close();
}

bool ElectionMesh::welcomes(ServerId from, const std::string& address,
                            const std::string& came_from) {
  if (members_.contains(from)) return true;
  std::vector<std::string> addresses = addresses_in(address);
  if (addresses.empty()) return false;
  // With a quorum port, which nobody asks for.
  auto parsed = parse_member(addresses.front() + ":1");
  if (from.value < 0 || std::holds_alternative<MemberError>(parsed)) return false;
  Stranger& stranger = strangers_[from];
  stranger.member = std::get<Member>(std::move(parsed));
  std::swap(stranger.member.election_port, stranger.member.quorum_port);
  if (is_wildcard(stranger.member.host)) stranger.member.host = came_from;
  known_strangers_.leave(stranger.ticket);
  stranger.ticket =
      known_strangers_.enter(came_from, [this, from](size_t) { forget_stranger(from); });
  return strangers_.contains(from);
}

void ElectionMesh::forget_stranger(ServerId id) {
  strangers_.erase(id);
  auto peer = peers_.find(id);
  if (peer == peers_.end()) return;
  if (peer->second.socket) peer->second.socket->close();
  peers_.erase(peer);
}

void ElectionMesh::set_members(const std::map<ServerId, Member>& members) {
  members_ = members;
  std::erase_if(strangers_, [this](const auto& entry) {
    if (!members_.contains(entry.first)) return false;
    known_strangers_.leave(entry.second.ticket);
    return true;
  });
}

std::optional<Dialler::Target> ElectionMesh::find(ServerId id) const {
  auto member = members_.find(id);
  if (member != members_.end()) {
    return Dialler::Target{id, true, member->second.host, member->second.election_port};
  }
  auto stranger = strangers_.find(id);
  if (stranger == strangers_.end()) return std::nullopt;
  const Member& by_its_word = stranger->second.member;
  return Dialler::Target{id, false, by_its_word.host, by_its_word.election_port};
}

// ---- connections

const std::string* ElectionMesh::live_port(ServerId id) const {
  auto peer = peers_.find(id);
  return peer != peers_.end() && peer->second.socket ? &peer->second.claim.port : nullptr;
}

void ElectionMesh::note_claim(ServerId from, const StreamPtr& socket, const std::string& address) {
  auto peer = peers_.find(from);
  bool is_live = peer != peers_.end() && peer->second.socket;
  Claims::Claim claim{address_of(socket->socket), election_port_in(address, live_port(from))};
  auto text = claims_.hello(clock_ms(), me_, from, claim, is_live ? &peer->second.claim : nullptr);
  if (!text) return;
  strand_.post([receiver = receiver_, from, text = std::move(*text)] {
    if (receiver != nullptr) receiver->on_double(from, text);
  });
}

void ElectionMesh::on_hello(const StreamPtr& socket, ServerId from, const std::string& port) {
  if (from < me_) {
    // The connection that stays is the one the larger opens.
    socket->close();
    return dial(from);
  }
  adopt(from, socket, port);
}

bool ElectionMesh::is_connected(ServerId id) const {
  auto peer = peers_.find(id);
  return peer != peers_.end() && peer->second.socket;
}

// While this node looks for a leader, its votes make it dial sooner.
void ElectionMesh::probe() {
  probe_timer_.expires_after(kProbeEvery);
  probe_timer_.async_wait([self = weak_from_this()](error_code cancelled) {
    std::shared_ptr<ElectionMesh> mesh = self.lock();
    if (cancelled || !mesh) return;
    for (const auto& [id, member] : mesh->members_) {
      if (id != mesh->me_ && !mesh->is_connected(id)) mesh->dial(id);
    }
    mesh->probe();
  });
}

void ElectionMesh::note_unreachable(ServerId id, const std::string& why) {
  strand_.post([receiver = receiver_, id, why] {
    if (receiver != nullptr) receiver->on_unreachable(id, Door::kElection, why);
  });
}

void ElectionMesh::adopt(ServerId id, const StreamPtr& socket, const std::string& port) {
  Peer& peer = peers_[id];
  if (peer.socket) peer.socket->close();
  set_options(socket->socket, kVoteTimeoutMs);
  peer.socket = socket;
  peer.claim = {address_of(socket->socket), port};
  peer.since_ms = clock_ms();
  strand_.post([receiver = receiver_, id] {
    if (receiver != nullptr) receiver->on_reached(id, Door::kElection);
  });
  auto member = members_.find(id);
  if (member != members_.end()) {
    dialler_->learn({id, true, member->second.host, member->second.election_port});
  }
  peer.writing = false;
  if (!peer.next && !peer.last.empty()) peer.next = peer.last;
  read_vote(id, socket);
  write(id);
}

void ElectionMesh::dial(ServerId id) {
  std::optional<Dialler::Target> target = find(id);
  if (!target || peers_[id].dialling) return;
  peers_[id].dialling = true;
  dialler_->connect(*target, [self = shared_from_this(), id, host = target->host](
                                 const std::shared_ptr<Dialler::Socket>& connected) {
    auto peer = self->peers_.find(id);
    if (peer == self->peers_.end()) return;  // a stranger that gave way
    peer->second.dialling = false;
    if (!connected) return;
    auto socket = std::make_shared<TlsStream>(std::move(*connected));
    socket->start(self->tls_, &host);
    self->say_hello(id, socket);
  });
}

void ElectionMesh::say_hello(ServerId id, const StreamPtr& socket) {
  // A peer that listens everywhere is found where it comes from.
  error_code ignored;
  std::string host = is_wildcard(self_.host)
                         ? socket->socket.local_endpoint(ignored).address().to_string()
                         : self_.host;
  const char* form = host.find(':') == std::string::npos ? "{}:{}" : "[{}]:{}";
  ElectionHello hello;
  hello.from = me_;
  hello.address = fmt::format(fmt::runtime(form), host, self_.election_port);
  auto bytes = std::make_shared<std::string>(encode_hello(hello));
  asio::async_write(*socket, asio::buffer(*bytes),
                    [self = shared_from_this(), id, socket, bytes](error_code error, size_t) {
                      if (error) {
                        socket->close();
                        self->note_unreachable(id, "its election port: " + error.message());
                      } else if (self->me_ < id) {
                        self->wait_for_return(id, socket);
                      } else {
                        self->adopt(id, socket, port_of(socket->socket));
                      }
                    });
}

// The larger closes this connection and connects back. With TLS, the hello is on its way only once
// both have read.
void ElectionMesh::wait_for_return(ServerId id, const StreamPtr& socket) {
  auto limit = std::make_shared<asio::steady_timer>(io_, kHelloLimit);
  limit->async_wait([socket](error_code cancelled) {
    if (!cancelled) socket->close();
  });
  auto byte = std::make_shared<char>();
  std::string address = name_of(socket->socket);
  asio::async_read(
      *socket, asio::buffer(byte.get(), 1),
      [self = shared_from_this(), id, socket, limit, byte, address](error_code, size_t) {
        limit->cancel();
        socket->close();
        if (self->is_connected(id)) return;
        std::string why =
            "it does not connect back to this server (do both have the same members in their "
            "zoo.cfg? its log may say why)";
        if (!socket->why().empty()) why = "TLS: " + socket->why();
        self->note_unreachable(id, fmt::format("its election port {}: {}", address, why));
      });
}

void ElectionMesh::lost(ServerId id, const StreamPtr& socket, const std::string& why) {
  if (!socket->why().empty()) {
    log_(LogLevel::kWarning,
         fmt::format("election port: closed server {}: TLS: {}", id.value, socket->why()));
  }
  socket->close();
  auto peer = peers_.find(id);
  if (peer == peers_.end() || peer->second.socket != socket) return;
  const std::string& tls = socket->why();
  note_unreachable(id, fmt::format("its election port: {}", tls.empty() ? why : "TLS: " + tls));
  peer->second.socket.reset();
  peer->second.writing = false;
  if (!find(id)) {
    peers_.erase(peer);
  } else if (members_.contains(id) && clock_ms() - peer->second.since_ms >= kAgeMs) {
    dial(id);
  }
}

// ---- votes

void ElectionMesh::send(ServerId to, std::string payload) {
  // A peer that was a member until now is answered by the connection that it had.
  auto known = peers_.find(to);
  bool is_connected = known != peers_.end() && known->second.socket;
  if (!is_connected && !find(to)) return;
  Peer& peer = peers_[to];
  peer.last = payload;
  peer.next = std::move(payload);
  if (peer.socket) {
    write(to);
  } else {
    dial(to);
  }
}

void ElectionMesh::write(ServerId id) {
  Peer& peer = peers_[id];
  if (peer.writing || !peer.next || !peer.socket) return;
  peer.writing = true;
  auto frame = std::make_shared<std::string>();
  tree::jute::Writer(*frame).string(*peer.next);
  peer.next.reset();
  asio::async_write(
      *peer.socket, asio::buffer(*frame),
      [self = shared_from_this(), id, socket = peer.socket, frame](error_code error, size_t) {
        auto now = self->peers_.find(id);
        if (now == self->peers_.end() || now->second.socket != socket) return;
        now->second.writing = false;
        if (error) return self->lost(id, socket, why_over(error));
        self->write(id);
      });
}

void ElectionMesh::read_vote(ServerId id, const StreamPtr& socket) {
  auto head = std::make_shared<std::string>(4, '\0');
  asio::async_read(
      *socket, asio::buffer(*head),
      [self = shared_from_this(), id, socket, head](error_code error, size_t) {
        if (error) return self->lost(id, socket, why_over(error));
        int32_t length = tree::jute::Reader(*head).i32();
        if (length < 1 || static_cast<size_t>(length) > kMaxNotificationBytes) {
          self->log_(LogLevel::kWarning,
                     fmt::format("election port: closed server {}: a frame of {} bytes", id.value,
                                 length));
          return self->lost(id, socket, "it sent a malformed frame");
        }
        auto payload = std::make_shared<std::string>(static_cast<size_t>(length), '\0');
        asio::async_read(*socket, asio::buffer(*payload),
                         [self, id, socket, payload](error_code failed, size_t) {
                           if (failed) return self->lost(id, socket, why_over(failed));
                           self->take_vote(id, *payload);
                           self->read_vote(id, socket);
                         });
      });
}

void ElectionMesh::take_vote(ServerId from, const std::string& payload) {
  std::optional<Notification> notification = decode_notification(payload);
  std::string problem = problem_of(from, notification);
  if (!problem.empty()) {
    auto peer = peers_.find(from);
    bool is_there = peer != peers_.end() && peer->second.socket;
    std::string address = is_there ? name_of(peer->second.socket->socket) + ": " : "";
    return log_(LogLevel::kWarning, fmt::format("election port: {}{}", address, problem));
  }
  strand_.post([receiver = receiver_, from, vote = std::move(*notification)] {
    if (receiver != nullptr) receiver->on_vote(from, vote);
  });
}

}  // namespace zabfs::consensus
