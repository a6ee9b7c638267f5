#include "consensus/tcp_transport.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <mutex>
#include <optional>
#include <utility>

#include "consensus/replica.h"
#include "consensus/tcp_listen.h"
#include "consensus/tls_stream.h"
#include "tree/jute.h"

namespace zabfs::consensus {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr size_t kReadBytes = 256u << 10;
// A learner that falls behind by so much is cut off; it comes back and is synchronised.
constexpr size_t kMaxUnsentBytes = 1u << 30;
constexpr auto kConnectTimeout = std::chrono::seconds(2);
constexpr int kVoteTimeoutMs = 2'000;
constexpr int kBacklog = 128;
constexpr size_t kMaxHelloAddress = 2'048;
constexpr size_t kMaxStrangers = 64;  // that are no members, and remembered
constexpr size_t kMaxHalfOpen = 64;   // election connections that have not said who they are

std::string name_of(const tcp::socket& socket) {
  error_code error;
  tcp::endpoint peer = socket.remote_endpoint(error);
  return error ? "a peer" : fmt::format("{}:{}", peer.address().to_string(), peer.port());
}

std::string bracketed(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

// What the peer's kernel does not acknowledge in this time ends the connection: TCP alone would go
// on repeating it at intervals that grow to minutes, long after the network is well again.
void set_options(tcp::socket& socket, int unacknowledged_ms) {
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  static_cast<void>(::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_USER_TIMEOUT,
                                 &unacknowledged_ms, sizeof unacknowledged_ms));
}

}  // namespace

// ---- the election mesh

using StreamPtr = std::shared_ptr<TlsStream>;

struct TcpTransport::Mesh : std::enable_shared_from_this<Mesh> {
  struct Peer {
    StreamPtr socket;  // the connection that stays; null if there is none
    bool dialling = false;
    bool writing = false;
    std::string last;                 // the last vote for this peer; repeated on a new connection
    std::optional<std::string> next;  // the vote to send
  };

  Mesh(asio::io_context& io_context, Strand& the_strand, ServerId self,
       std::map<ServerId, Member> all, Logger logger)
      : io(io_context),
        strand(the_strand),
        me(self),
        members(std::move(all)),
        log(std::move(logger)),
        acceptor(io_context) {}

  void accept() {
    auto socket = std::make_shared<TlsStream>(io);
    acceptor.async_accept(socket->socket, [self = shared_from_this(), socket](error_code error) {
      if (error == asio::error::operation_aborted) return;
      if (!error && self->half_open < kMaxHalfOpen) {
        socket->start(self->tls, nullptr);
        self->read_hello(socket);
      }
      self->accept();
    });
  }

  void read_hello(const StreamPtr& socket) {
    ++half_open;
    auto head = std::make_shared<std::string>(20, '\0');
    auto timer = std::make_shared<asio::steady_timer>(io, kConnectTimeout);
    timer->async_wait([socket](error_code error) {
      if (!error) socket->close();
    });
    auto refuse = [self = shared_from_this(), socket, timer](const std::string& why) {
      --self->half_open;
      timer->cancel();
      self->log(LogLevel::kWarning,
                fmt::format("election port: closed {}: {}", name_of(socket->socket), why));
      socket->close();
    };
    asio::async_read(
        *socket, asio::buffer(*head),
        [self = shared_from_this(), socket, head, timer, refuse](error_code error, size_t) {
          tree::jute::Reader in(*head);
          int64_t version = in.i64();
          ServerId from{in.i64()};
          int32_t length = in.i32();
          if (error)
            return refuse(socket->why().empty() ? "no whole hello" : "TLS: " + socket->why());
          if (version != -65536 && version != -65535) return refuse("not an election hello");
          if (length < 1 || static_cast<size_t>(length) > kMaxHelloAddress) {
            return refuse("a hello with an impossible address");
          }
          auto address = std::make_shared<std::string>(static_cast<size_t>(length), '\0');
          asio::async_read(*socket, asio::buffer(*address),
                           [self, socket, from, address, timer, refuse](error_code failed, size_t) {
                             if (failed) return refuse("no whole hello");
                             if (from == self->me || !self->knows(from, *address)) {
                               return refuse(fmt::format("server {} is no peer here", from.value));
                             }
                             --self->half_open;
                             timer->cancel();
                             self->on_hello(socket, from);
                           });
        });
  }

  // Who is no member may come to be one; until then its hello says where it listens.
  bool knows(ServerId from, const std::string& address) {
    if (members.contains(from)) return true;
    auto parsed = parse_member(address + ":1");  // a quorum port, which nobody asks for
    bool is_new = !strangers.contains(from);
    if (from.value < 0 || std::holds_alternative<MemberError>(parsed)) return false;
    if (is_new && strangers.size() >= kMaxStrangers) return false;
    Member stranger = std::get<Member>(std::move(parsed));
    std::swap(stranger.election_port, stranger.quorum_port);
    strangers[from] = std::move(stranger);
    return true;
  }

  const Member* find(ServerId id) const {
    auto place = members.find(id);
    if (place != members.end()) return &place->second;
    place = strangers.find(id);
    return place == strangers.end() ? nullptr : &place->second;
  }

  void on_hello(const StreamPtr& socket, ServerId from) {
    if (from < me) {
      // The connection that stays is the one the larger opens.
      socket->close();
      return dial(from);
    }
    adopt(from, socket);
  }

  void adopt(ServerId id, const StreamPtr& socket) {
    Peer& peer = peers[id];
    if (peer.socket) peer.socket->close();
    set_options(socket->socket, kVoteTimeoutMs);
    peer.socket = socket;
    peer.writing = false;
    if (!peer.next && !peer.last.empty()) peer.next = peer.last;
    read_vote(id, socket);
    write(id);
  }

  void dial(ServerId id) {
    const Member* member = find(id);
    if (member == nullptr || peers[id].dialling) return;
    peers[id].dialling = true;
    auto socket = std::make_shared<TlsStream>(io);
    auto resolver = std::make_shared<tcp::resolver>(io);
    auto host = std::make_shared<std::string>(member->host);
    auto timer = std::make_shared<asio::steady_timer>(io, kConnectTimeout);
    timer->async_wait([socket, resolver](error_code error) {
      if (error) return;
      error_code ignored;
      resolver->cancel();
      socket->close();
    });
    resolver->async_resolve(member->host, std::to_string(member->election_port),
                            [self = shared_from_this(), id, socket, resolver, timer, host](
                                error_code error, tcp::resolver::results_type found) {
                              if (error) {
                                timer->cancel();
                                self->peers[id].dialling = false;
                                return;
                              }
                              asio::async_connect(socket->socket, found,
                                                  [self, id, socket, timer, host](
                                                      error_code failed, const tcp::endpoint&) {
                                                    timer->cancel();
                                                    self->peers[id].dialling = false;
                                                    if (failed) return;
                                                    socket->start(self->tls, host.get());
                                                    self->say_hello(id, socket);
                                                  });
                            });
  }

  void say_hello(ServerId id, const StreamPtr& socket) {
    ElectionHello hello;
    hello.from = me;
    hello.address = own_address;
    auto bytes = std::make_shared<std::string>(encode_hello(hello));
    asio::async_write(*socket, asio::buffer(*bytes),
                      [self = shared_from_this(), id, socket, bytes](error_code error, size_t) {
                        error_code ignored;
                        if (error || self->me < id) {
                          socket->close();  // the larger connects back
                        } else {
                          self->adopt(id, socket);
                        }
                      });
  }

  void send(ServerId to, std::string payload) {
    Peer& peer = peers[to];
    peer.last = payload;
    peer.next = std::move(payload);
    if (peer.socket) {
      write(to);
    } else {
      dial(to);
    }
  }

  void write(ServerId id) {
    Peer& peer = peers[id];
    if (peer.writing || !peer.next || !peer.socket) return;
    peer.writing = true;
    auto frame = std::make_shared<std::string>();
    tree::jute::Writer(*frame).string(*peer.next);
    peer.next.reset();
    asio::async_write(
        *peer.socket, asio::buffer(*frame),
        [self = shared_from_this(), id, socket = peer.socket, frame](error_code error, size_t) {
          Peer& now = self->peers[id];
          if (now.socket != socket) return;
          now.writing = false;
          if (error) return self->lost(id, socket);
          self->write(id);
        });
  }

  void read_vote(ServerId id, const StreamPtr& socket) {
    auto head = std::make_shared<std::string>(4, '\0');
    asio::async_read(
        *socket, asio::buffer(*head),
        [self = shared_from_this(), id, socket, head](error_code error, size_t) {
          if (error) return self->lost(id, socket);
          int32_t length = tree::jute::Reader(*head).i32();
          if (length < 1 || static_cast<size_t>(length) > kMaxNotificationBytes) {
            self->log(LogLevel::kWarning,
                      fmt::format("election port: closed server {}: a frame of {} bytes", id.value,
                                  length));
            return self->lost(id, socket);
          }
          auto payload = std::make_shared<std::string>(static_cast<size_t>(length), '\0');
          asio::async_read(*socket, asio::buffer(*payload),
                           [self, id, socket, payload](error_code failed, size_t) {
                             if (failed) return self->lost(id, socket);
                             self->take_vote(id, *payload);
                             self->read_vote(id, socket);
                           });
        });
  }

  void take_vote(ServerId from, const std::string& payload) {
    std::optional<Notification> notification = decode_notification(payload);
    if (!notification) {
      log(LogLevel::kWarning,
          fmt::format("election port: server {} sent a malformed notification", from.value));
      return;
    }
    strand.post([replica = replica, from, vote = std::move(*notification)] {
      if (replica != nullptr) replica->on_vote(from, vote);
    });
  }

  void lost(ServerId id, const StreamPtr& socket) {
    if (!socket->why().empty()) {
      log(LogLevel::kWarning,
          fmt::format("election port: closed server {}: TLS: {}", id.value, socket->why()));
    }
    socket->close();
    Peer& peer = peers[id];
    if (peer.socket != socket) return;
    peer.socket.reset();
    peer.writing = false;
  }

  asio::io_context& io;
  Strand& strand;
  ServerId me;
  std::map<ServerId, Member> members;
  std::map<ServerId, Member> strangers;  // by their own word
  std::string own_address;
  Logger log;
  TlsContext* tls = nullptr;
  tcp::acceptor acceptor;
  Replica* replica = nullptr;
  std::map<ServerId, Peer> peers;
  size_t half_open = 0;
};

// ---- learner links

struct TcpTransport::Link {
  explicit Link(asio::io_context& io) : socket(io), buffer(kReadBytes, '\0') {}
  LinkId id = 0;
  tcp::socket socket;
  // On the io thread:
  std::string buffer;
  LinkReader reader;
  // On both:
  std::mutex tls_mutex;  // guards tls
  std::unique_ptr<TlsSession> tls;
  // On the strand:
  std::string out;
  std::string sealed;  // with TLS: what `out` has become
  bool waiting_for_room = false;
  bool closed = false;
};

TcpTransport::TcpTransport(asio::io_context& io, Strand& strand, ServerId me,
                           const Ensemble& ensemble, bool is_alone, int sync_ms, TlsContext* tls,
                           Logger log)
    : io_(io),
      strand_(strand),
      me_(me),
      members_(ensemble.members()),
      self_(members_[me]),
      is_alone_(is_alone),
      sync_ms_(sync_ms),
      tls_(tls),
      log_(log),
      quorum_acceptor_(io) {
  mesh_ = std::make_shared<Mesh>(io, strand, me, members_, log);
  mesh_->tls = tls;
  mesh_->own_address = fmt::format("{}:{}", bracketed(self_.host), self_.election_port);
}

TcpTransport::~TcpTransport() = default;

std::string TcpTransport::listen(bool all_addresses) {
  if (is_alone_) return {};
  std::string host = all_addresses ? std::string() : self_.host;
  std::string error =
      listen_on(quorum_acceptor_, io_, host, self_.quorum_port, kBacklog, "quorum port");
  if (!error.empty()) return error;
  return listen_on(mesh_->acceptor, io_, host, self_.election_port, kBacklog, "election port");
}

void TcpTransport::start(Replica& replica) {
  replica_ = &replica;
  mesh_->replica = &replica;
  if (!quorum_acceptor_.is_open()) return;
  accept_learner();
  mesh_->accept();
}

void TcpTransport::accept_learner() {
  auto link = std::make_shared<Link>(io_);
  quorum_acceptor_.async_accept(link->socket, [this, link](error_code error) {
    if (error == asio::error::operation_aborted) return;
    if (!error) start_link(link, nullptr);
    accept_learner();
  });
}

void TcpTransport::dial(ServerId leader, LinkId id) {
  auto member = members_.find(leader);
  auto fail = [this, id] { strand_.post([this, id] { replica_->on_link_down(id); }); };
  if (member == members_.end()) return fail();
  auto link = std::make_shared<Link>(io_);
  link->id = id;
  auto resolver = std::make_shared<tcp::resolver>(io_);
  auto timer = std::make_shared<asio::steady_timer>(io_, kConnectTimeout);
  resolver->async_resolve(member->second.host, std::to_string(member->second.quorum_port),
                          [this, link, resolver, timer, fail, host = member->second.host](
                              error_code error, tcp::resolver::results_type found) {
                            if (error) return fail();
                            timer->async_wait([link](error_code cancelled) {
                              error_code ignored;
                              if (!cancelled) link->socket.close(ignored);
                            });
                            asio::async_connect(link->socket, found,
                                                [this, link, timer, fail, host](
                                                    error_code failed, const tcp::endpoint&) {
                                                  timer->cancel();
                                                  if (failed) return fail();
                                                  start_link(link, &host);
                                                });
                          });
}

// `dialled` is the host of a leader, null for a learner that came.
void TcpTransport::start_link(std::shared_ptr<Link> link, const std::string* dialled) {
  bool accepted = dialled == nullptr;
  if (tls_ != nullptr) link->tls = std::make_unique<TlsSession>(*tls_, dialled);
  error_code ignored;
  set_options(link->socket, sync_ms_);
  link->socket.non_blocking(true, ignored);
  strand_.post([this, link, accepted] {
    if (accepted) link->id = replica_->new_link_id();
    links_[link->id] = link;
    asio::post(io_, [this, link] { read(link); });
    if (accepted) {
      replica_->on_link_accepted(link->id);
    } else {
      replica_->on_link_up(link->id);
    }
    flush_link(link);
  });
}

void TcpTransport::read(std::shared_ptr<Link> link) {
  link->socket.async_read_some(
      asio::buffer(link->buffer), [this, link](error_code error, size_t size) {
        std::vector<std::function<void()>> events;
        std::string problem;
        if (!error) {
          LinkReader::Handlers handlers;
          handlers.packet = [&](Packet packet) {
            events.push_back([this, id = link->id, packet = std::move(packet)] {
              replica_->on_packet(id, packet);
            });
          };
          handlers.snapshot = [&](std::unique_ptr<tree::Tree> tree) {
            auto shared = std::make_shared<std::unique_ptr<tree::Tree>>(std::move(tree));
            events.push_back(
                [this, id = link->id, shared] { replica_->on_snapshot(id, std::move(*shared)); });
          };
          std::string_view bytes(link->buffer.data(), size);
          std::string plain;
          if (link->tls) {
            std::lock_guard lock(link->tls_mutex);
            if (!link->tls->receive(bytes, plain)) problem = "TLS: " + link->tls->why();
            bytes = plain;
            events.push_back([this, link] { flush_link(link); });  // its part of the handshake
          }
          if (problem.empty()) problem = link->reader.feed(bytes, handlers);
          if (!problem.empty()) {
            log_(LogLevel::kWarning,
                 fmt::format("quorum port: closed {}: {}", name_of(link->socket), problem));
          }
        }
        bool down = error || !problem.empty();
        if (down) {
          events.push_back([this, link] {
            if (link->closed) return;
            close(link->id, "");
            replica_->on_link_down(link->id);
          });
        }
        strand_.post([events = std::move(events)] {
          for (const auto& event : events) event();
        });
        if (!down) read(link);
      });
}

void TcpTransport::send(LinkId id, const std::string& bytes) {
  auto place = links_.find(id);
  if (place == links_.end()) return;
  place->second->out += bytes;
  dirty_.insert(id);
}

size_t TcpTransport::unsent(LinkId id) {
  auto place = links_.find(id);
  return place == links_.end() ? 0 : place->second->out.size() + place->second->sealed.size();
}

void TcpTransport::flush() {
  for (LinkId id : std::exchange(dirty_, {})) {
    auto place = links_.find(id);
    if (place != links_.end()) flush_link(place->second);
  }
}

void TcpTransport::flush_link(const std::shared_ptr<Link>& link) {
  if (link->closed || link->waiting_for_room) return;
  if (link->tls) {
    std::lock_guard lock(link->tls_mutex);
    link->tls->say(link->out);
    link->out.clear();
    link->tls->take_outgoing(link->sealed);
  }
  std::string& out = link->tls ? link->sealed : link->out;
  size_t done = 0;
  while (done < out.size()) {
    ssize_t n = ::send(link->socket.native_handle(), out.data() + done, out.size() - done,
                       MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) break;  // no room; or an error, which the reading side sees
    done += static_cast<size_t>(n);
  }
  out.erase(0, done);
  if (out.empty()) {
    if (out.capacity() > (1u << 20)) out.shrink_to_fit();
    return;
  }
  if (out.size() > kMaxUnsentBytes) {
    log_(LogLevel::kWarning,
         fmt::format("quorum port: closed {}: it reads too slowly", name_of(link->socket)));
    LinkId id = link->id;
    close(id, "");
    return strand_.post([this, id] { replica_->on_link_down(id); });
  }
  link->waiting_for_room = true;
  asio::post(io_, [this, link] {
    link->socket.async_wait(tcp::socket::wait_write, [this, link](error_code) {
      strand_.post([this, link] {
        link->waiting_for_room = false;
        flush_link(link);
      });
    });
  });
}

void TcpTransport::close(LinkId id, const std::string& reason) {
  auto place = links_.find(id);
  if (place == links_.end()) return;
  std::shared_ptr<Link> link = place->second;
  links_.erase(place);
  link->closed = true;
  if (!reason.empty()) {
    log_(LogLevel::kInfo, fmt::format("quorum port: closed {}: {}", name_of(link->socket), reason));
  }
  asio::post(io_, [link] {
    error_code ignored;
    link->socket.close(ignored);
  });
}

void TcpTransport::set_members(const std::map<ServerId, Member>& members) {
  auto own = members.find(me_);
  if (own != members.end() && (own->second.quorum_port != self_.quorum_port ||
                               own->second.election_port != self_.election_port)) {
    log_(LogLevel::kWarning,
         fmt::format("server {} has other ports in the new configuration; it listens on them after "
                     "a restart with a zoo.cfg that says so",
                     me_.value));
  }
  members_ = members;
  asio::post(io_, [mesh = mesh_, members] { mesh->members = members; });
}

void TcpTransport::send_vote(ServerId to, const Notification& notification) {
  asio::post(io_, [mesh = mesh_, to, payload = encode_notification(notification)]() mutable {
    mesh->send(to, std::move(payload));
  });
}

}  // namespace zabfs::consensus
