#include "consensus/tcp_transport.h"

#include <fmt/format.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <optional>
#include <utility>

#include "consensus/dialler.h"
#include "consensus/election_mesh.h"
#include "consensus/mutex.h"
#include "consensus/tcp_listen.h"

namespace zabfs::consensus {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr size_t kReadBytes = 256u << 10;
constexpr size_t kGuestReadBytes = 4u << 10;  // from who is no member
// A learner that falls behind by so much is cut off; it comes back and is synchronised.
constexpr size_t kMaxUnsentBytes = 256u << 20;
constexpr int kBacklog = 128;
constexpr auto kIntroductionLimit = std::chrono::seconds(5);
constexpr size_t kMaxIntroductionBytes = 256u << 10;

}  // namespace

struct TcpTransport::Link {
  explicit Link(asio::io_context& io) : socket(io), limit(io) {}
  LinkId id = 0;
  tcp::socket socket;
  // On the io thread:
  std::string buffer;
  LinkReader reader;
  bool came = false;  // it was not dialled from here
  ServerId leader;    // of one that was, as what follows
  std::string address;
  bool is_answered = false;    // by who was dialled
  Guests::Ticket ticket = 0;   // of one that came, and is no member's
  bool is_introduced = false;  // it has said what it wants
  size_t bytes_before = 0;     // that
  asio::steady_timer limit;    // for that
  bool parked = false;         // nothing waits for bytes, since the link is held
  // On both:
  std::atomic<bool> held{false};  // set on the strand
  Mutex tls_mutex;
  std::unique_ptr<TlsSession> tls PT_GUARDED_BY(tls_mutex);  // null: none, from the beginning
  // On the strand:
  std::string out;
  std::string sealed;    // with TLS: what `out` has become
  uint64_t written = 0;  // bytes that the kernel took
  bool waiting_for_room = false;
  bool closed = false;
};

TcpTransport::TcpTransport(asio::io_context& io, Strand& strand, ServerId me,
                           const Ensemble& ensemble, bool is_alone, int sync_ms, int connect_ms,
                           TlsContext* tls, Logger log, Logger guest_log)
    : io_(io),
      strand_(strand),
      me_(me),
      members_(ensemble.members()),
      self_(members_[me]),
      is_alone_(is_alone),
      sync_ms_(sync_ms),
      tls_(tls),
      log_(log),
      guest_log_(std::move(guest_log)),
      guests_(most_strangers()),
      dialler_(std::make_shared<Dialler>(io, me, log, std::chrono::milliseconds(connect_ms))),
      quorum_acceptor_(io),
      pause_(io),
      mesh_(std::make_shared<ElectionMesh>(io, strand, me, members_, dialler_, tls, guest_log_)) {
  dialler_->tell_troubles_to([this](const Dialler::Target& target, const std::string& why) {
    bool is_there = target.door == Door::kElection && mesh_->is_connected(target.id);
    if (!is_there) note_unreachable(target.id, target.door, why);
  });
}

TcpTransport::~TcpTransport() { dialler_->stop(); }

Status TcpTransport::listen(bool all_addresses) {
  if (is_alone_) return {};
  std::string host = all_addresses ? std::string() : self_.host;
  Status status =
      listen_on(quorum_acceptor_, io_, host, self_.quorum_port, kBacklog, "quorum port");
  if (!status.ok()) return status;
  // A slow name is looked up once.
  if (!all_addresses) host = quorum_acceptor_.local_endpoint().address().to_string();
  return listen_on(mesh_->acceptor(), io_, host, self_.election_port, kBacklog, "election port");
}

void TcpTransport::start(Receiver& receiver) {
  receiver_ = &receiver;
  if (!quorum_acceptor_.is_open()) return;
  accept_learner();
  mesh_->start(receiver);
}

void TcpTransport::note_reached(ServerId id, Door door) {
  strand_.post([this, id, door] { receiver_->on_reached(id, door); });
}

void TcpTransport::note_unreachable(ServerId id, Door door, const std::string& why) {
  strand_.post([this, id, door, why] { receiver_->on_unreachable(id, door, why); });
}

void TcpTransport::accept_learner() {
  auto link = std::make_shared<Link>(io_);
  accept_next(quorum_acceptor_, link->socket, pause_, [this, link](error_code error) {
    if (!error) admit(link);
    accept_learner();
  });
}

// Who came, and is to say within a while what it wants.
void TcpTransport::admit(const std::shared_ptr<Link>& link) {
  link->came = true;
  start_link(link, nullptr);
  link->ticket = guests_.enter(address_of(link->socket), [this, link](size_t count) {
    guest_log_(LogLevel::kWarning,
               fmt::format("quorum port: closed {}: too many connections are from no member, "
                           "{} of them from there",
                           name_of(link->socket), count));
    lose(link);
  });
  link->limit.expires_after(kIntroductionLimit);
  link->limit.async_wait([this, link](error_code cancelled) {
    if (cancelled) return;
    guest_log_(LogLevel::kWarning, fmt::format("quorum port: closed {}: it did not say who it is",
                                               name_of(link->socket)));
    lose(link);
  });
}

// What is wrong with a packet of a link that came, or an empty string.
std::string TcpTransport::introduce(Link& link, const Packet& packet) {
  if (packet.type == PacketType::kSnap) return "a learner sent a snapshot";
  bool is_info =
      packet.type == PacketType::kFollowerInfo || packet.type == PacketType::kObserverInfo;
  if (!is_info && packet.type != PacketType::kFetchTxns) {
    return link.is_introduced ? "" : std::string("it began with ") + packet_name(packet.type);
  }
  link.is_introduced = true;
  link.limit.cancel();
  if (!is_info) return {};
  std::optional<LearnerInfo> info = decode_learner_info(packet.bytes());
  // A member's links are few: a leader keeps one of each, others end them.
  if (info && mesh_->is_member(member_of(info->id))) guests_.leave(std::exchange(link.ticket, 0));
  return {};
}

void TcpTransport::dial(ServerId leader, LinkId id) {
  auto member = members_.find(leader);
  auto fail = [this, id] { strand_.post([this, id] { receiver_->on_link_down(id); }); };
  if (member == members_.end()) return fail();
  Dialler::Target target{leader, true, member->second.host, member->second.quorum_port,
                         Door::kQuorum};
  asio::post(io_, [this, target, id, fail] {
    dialler_->connect(target,
                      [this, target, id, fail](const std::shared_ptr<Dialler::Socket>& socket) {
                        if (!socket) return fail();
                        auto link = std::make_shared<Link>(io_);
                        link->id = id;
                        link->socket = std::move(*socket);
                        start_link(link, &target);
                      });
  });
}

// `dialled` is a leader, null for a learner that came.
void TcpTransport::start_link(std::shared_ptr<Link> link, const Dialler::Target* dialled) {
  bool accepted = dialled == nullptr;
  if (dialled != nullptr) {
    link->leader = dialled->id;
    link->address = name_of(link->socket);
  }
  if (tls_ != nullptr) {
    link->tls = std::make_unique<TlsSession>(*tls_, accepted ? nullptr : &dialled->host);
  }
  error_code ignored;
  set_options(link->socket, sync_ms_);
  link->socket.non_blocking(true, ignored);
  strand_.post([this, link, accepted] {
    if (accepted) link->id = receiver_->new_link_id();
    links_[link->id] = link;
    asio::post(io_, [this, link] { read(link); });
    if (accepted) {
      receiver_->on_link_accepted(link->id);
    } else {
      receiver_->on_link_up(link->id);
    }
    flush_link(link);
  });
}

void TcpTransport::read(std::shared_ptr<Link> link) {
  bool is_guest = link->came && (!link->is_introduced || link->ticket != 0);
  size_t most = is_guest ? kGuestReadBytes : kReadBytes;
  if (link->buffer.size() < most) link->buffer.resize(most);
  link->socket.async_read_some(asio::buffer(link->buffer), [this, link](error_code error,
                                                                        size_t size) {
    std::vector<std::function<void()>> events;
    std::string problem;
    if (!error) {
      LinkReader::Handlers handlers;
      handlers.packet = [&](Packet packet) {
        if (link->came && problem.empty()) problem = introduce(*link, packet);
        if (!problem.empty()) return;
        if (!link->came && !std::exchange(link->is_answered, true)) {
          note_reached(link->leader, Door::kQuorum);
        }
        events.push_back([this, id = link->id, packet = std::move(packet)] {
          receiver_->on_packet(id, packet);
        });
      };
      handlers.snapshot = [&](std::unique_ptr<tree::Tree> tree) {
        auto shared = std::make_shared<std::unique_ptr<tree::Tree>>(std::move(tree));
        events.push_back(
            [this, id = link->id, shared] { receiver_->on_snapshot(id, std::move(*shared)); });
      };
      handlers.part = [&] { events.push_back([this, id = link->id] { receiver_->on_part(id); }); };
      std::string_view bytes(link->buffer.data(), size);
      std::string plain;
      if (link->tls) {
        MutexLock lock(link->tls_mutex);
        if (!link->tls->receive(bytes, plain)) problem = "TLS: " + link->tls->why();
        bytes = plain;
        events.push_back([this, link] { flush_link(link); });  // its part of the handshake
      }
      if (problem.empty()) {
        Status malformed = link->reader.feed(bytes, handlers);
        if (problem.empty()) problem = malformed.why();
      }
      if (link->came && !link->is_introduced) link->bytes_before += size;
      if (link->bytes_before > kMaxIntroductionBytes) problem = "it did not say who it is";
      if (!problem.empty()) {
        guest_log_(LogLevel::kWarning,
                   fmt::format("quorum port: closed {}: {}", name_of(link->socket), problem));
      }
    }
    bool down = error || !problem.empty();
    strand_.post([events = std::move(events)] {
      for (const auto& event : events) event();
    });
    if (down) return lose(link, problem.empty() ? why_over(error) : problem);
    link->parked = link->held;
    if (!link->parked) read(link);
  });
}

void TcpTransport::hold(LinkId id, bool held) {
  auto found = links_.find(id);
  if (found == links_.end() || found->second->held.exchange(held) == held || held) return;
  asio::post(io_, [this, link = found->second] {
    if (std::exchange(link->parked, false)) read(link);
  });
}

// On the io thread: the link is no more.
void TcpTransport::lose(const std::shared_ptr<Link>& link, const std::string& why) {
  // What this node closed itself is no trouble.
  if (!link->came && link->socket.is_open() && !why.empty()) {
    note_unreachable(link->leader, Door::kQuorum,
                     fmt::format("its quorum port {}: {}{}", link->address, why,
                                 link->is_answered ? "" : " (its log may say why)"));
  }
  guests_.leave(std::exchange(link->ticket, 0));
  link->limit.cancel();
  drop(link);
}

// From any thread.
void TcpTransport::drop(const std::shared_ptr<Link>& link) {
  strand_.post([this, link] {
    if (link->closed) return;
    close(link->id, "");
    receiver_->on_link_down(link->id);
  });
}

void TcpTransport::send(LinkId id, const std::string& bytes) {
  auto found = links_.find(id);
  if (found == links_.end()) return;
  found->second->out += bytes;
  dirty_.insert(id);
}

size_t TcpTransport::unsent(LinkId id) {
  auto found = links_.find(id);
  return found == links_.end() ? 0 : found->second->out.size() + found->second->sealed.size();
}

LinkFlow TcpTransport::flow(LinkId id) {
  auto found = links_.find(id);
  if (found == links_.end()) return {};
  Link& link = *found->second;
  int unacknowledged = 0;
  bool known = ::ioctl(link.socket.native_handle(), SIOCOUTQ, &unacknowledged) == 0;
  uint64_t waiting =
      known ? std::min<uint64_t>(link.written, static_cast<uint64_t>(unacknowledged)) : 0;
  return {link.written + unsent(id), link.written - waiting};
}

void TcpTransport::flush() {
  for (LinkId id : std::exchange(dirty_, {})) {
    auto found = links_.find(id);
    if (found != links_.end()) flush_link(found->second);
  }
}

void TcpTransport::flush_link(const std::shared_ptr<Link>& link) {
  if (link->closed) return;
  // Packets for a leader are bounded by the requests under way.
  if (link->came && unsent(link->id) > kMaxUnsentBytes) {
    guest_log_(LogLevel::kWarning,
               fmt::format("quorum port: closed {}: it reads too slowly", name_of(link->socket)));
    return drop(link);
  }
  if (link->waiting_for_room) return;
  if (link->tls) {
    MutexLock lock(link->tls_mutex);
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
  link->written += done;
  out.erase(0, done);
  if (out.empty()) {
    if (out.capacity() > (1u << 20)) out.shrink_to_fit();
    return;
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
  auto found = links_.find(id);
  if (found == links_.end()) return;
  std::shared_ptr<Link> link = found->second;
  links_.erase(found);
  link->closed = true;
  asio::post(io_, [this, link, reason] {
    if (!reason.empty()) {
      guest_log_(link->ticket != 0 ? LogLevel::kWarning : LogLevel::kInfo,
                 fmt::format("quorum port: closed {}: {}", name_of(link->socket), reason));
    }
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
  asio::post(io_, [mesh = mesh_, members] { mesh->set_members(members); });
}

void TcpTransport::send_vote(ServerId to, const Notification& notification) {
  asio::post(io_, [mesh = mesh_, to, payload = encode_notification(notification)]() mutable {
    mesh->send(to, std::move(payload));
  });
}

}  // namespace zabfs::consensus
