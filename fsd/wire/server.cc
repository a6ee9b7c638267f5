#include "fsd/wire/server.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "consensus/replica.h"
#include "fsd/wire/messages.h"
#include "fsd/wire/words.h"
#include "tree/access.h"

namespace zabfs::fsd::wire {

namespace asio = boost::asio;

namespace {

// A new leader is usually there within this; connections are kept so long.
constexpr int64_t kLeaderlessMs = 1'500;

// Requests that are enough for the ensemble to work on.
Budget::UnderWay busy(const consensus::ReplicaConfig& limits, const WireConfig& config) {
  return {std::min(config.max_outstanding, limits.max_pending / 2), limits.max_pending_bytes / 2,
          0};
}

}  // namespace

WireServer::WireServer(consensus::Service& service, WireConfig config, Registry& registry,
                       audit::AuditLog* audit)
    : service_(service),
      registry_(registry),
      config_(std::move(config)),
      work_(asio::make_work_guard(io_)),
      watches_({config_.memory_bytes / 8, config_.memory_bytes / 2}),
      budget_(config_.memory_bytes * 2 / 5, busy(service.replica().config(), config_),
              [this] { asio::post(io_, [this] { sweeper_.relieve(); }); }),
      connections_({config_.max_per_address, most_connections(config_.max_connections)}),
      acceptors_(
          io_, config_,
          [this](Connection::Socket socket, Visitor visitor) {
            admit(std::move(socket), std::move(visitor));
          },
          [this](const std::string& line) { warn(line); }),
      sweeper_(io_, budget_, connections_),
      answers_(watches_, config_.skip_acl),
      facts_({service_, config_, connections_, watches_, stats_, budget_}),
      sessions_(service_, config_, to_send_),
      writes_(service_, sessions_, answers_, to_send_, audit),
      reader_(service_, config_, answers_,
              {connections_, sessions_, writes_,
               [this](const std::string& word) { return answer_word(*this, word); }}) {
  registry.add_of_cluster(
      [this](Metrics& into) { add_connection_count(connections_.size(), into); });
  registry.add([this](Metrics& into) { add_client_metrics(facts(), stats_, into); });
}

WireServer::~WireServer() { stop(); }

// ---- its life

void WireServer::start() {
  service_.post([this] {
    writes_.start(static_cast<int32_t>(service_.random() & 0x3fffffff) + 1);
    service_.replica().add_listener(this);
    sessions_.standing_changed();
  });
  acceptors_.start();
  sweeper_.start();
  for (int i = 0; i < config_.threads; ++i) {
    threads_.emplace_back([this] { io_.run(); });
    pthread_setname_np(threads_.back().native_handle(), "zabfs-wire");
  }
}

void WireServer::stop() {
  if (threads_.empty()) return;
  service_.post([this] { sessions_.stop(); });
  io_.stop();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  acceptors_.stop();
  for (const ConnectionPtr& connection : connections_.all()) connection->abandon();
}

void WireServer::warn(const std::string& line) {
  service_.log_limited(consensus::LogLevel::kWarning, line);
}

// ---- connections

void WireServer::admit(Connection::Socket socket, Visitor visitor) {
  using Verdict = ConnectionTable::Verdict;
  boost::system::error_code error;
  socket.non_blocking(true, error);
  std::string address = visitor.address;
  ConnectionTable::Admission admission =
      connections_.admit(address, Clock::now(), [&](uint64_t number) {
        Connection::Server server{*this, budget_, stats_, config_.x509_super, acceptors_.tls()};
        return std::make_shared<Connection>(server, std::move(socket), number, std::move(visitor));
      });
  const ConnectionTable::Limits& limits = connections_.limits();
  if (admission.verdict != Verdict::kAdmitted) ++stats_.refused;
  switch (admission.verdict) {
    case Verdict::kAdmitted:
      break;
    case Verdict::kTooManyFromAddress:
      return warn(
          fmt::format("client port: too many connections from {}: refused one (limit {}, "
                      "maxClientCnxns)",
                      address, limits.per_address));
    case Verdict::kTooManyInAll:
      return warn(
          fmt::format("client port: too many connections in all: refused one (limit {}, {})",
                      limits.all, config_.max_connections == 0 ? "of open files" : "maxCnxns"));
  }
  budget_.enter();
  if (const ConnectionPtr& silent = admission.displaced) {
    Connection::Locked locked(*silent);
    silent->cut(locked, "it says nothing, and there are too many such connections");
  }
  admission.connection->start();
}

void WireServer::may_drain(const ConnectionPtr& connection) {
  service_.post([this, connection] { writes_.go_on(connection); });
}

void WireServer::closed(const ConnectionPtr& connection) {
  if (!connections_.erase(*connection)) return;
  connection->release();
  budget_.leave();
  forget_watches(connection->number());
  service_.post([this, connection] {
    writes_.forget(*connection);
    sessions_.forget(connection);
    // A read on the strand may have set a watch after they were removed.
    forget_watches(connection->number());
  });
}

// Others take their turns at the board between.
void WireServer::forget_watches(uint64_t number) {
  constexpr size_t kAtOnce = 256;
  auto some = [&](tree::WatchTables& tables) { return tables.remove_some(number, kAtOnce); };
  while (watches_.with(some)) {
  }
}

void WireServer::close_all(const char* why) {
  std::vector<ConnectionPtr> all = connections_.all();
  if (!all.empty()) spdlog::info("client port: closes {} connections: {}", all.size(), why);
  for (const ConnectionPtr& connection : all) {
    Connection::Locked locked(*connection);
    connection->shut(locked);
  }
}

tree::SessionId WireServer::session_of(tree::Watcher watcher) const {
  ConnectionPtr connection = connections_.find(watcher);
  return connection ? connection->lock()->client().session : tree::SessionId{};
}

ServerFacts WireServer::facts() const {
  ServerFacts facts = facts_.server();
  facts.local_sessions = sessions_.local_count();
  return facts;
}

void WireServer::reset_connection_stats() {
  for (const ConnectionPtr& connection : connections_.all()) connection->lock()->stats() = {};
}

// ---- what the replica tells

void WireServer::publishing(std::span<const tree::Change> changes) {
  if (changes.empty()) return;
  std::vector<tree::WatchEvent> events;
  watches_.with([&](tree::WatchTables& tables) {
    if (tables.count() == 0) return;
    for (const tree::Change& change : changes) tables.fire(change, events);
  });
  const tree::Tree& tree = service_.replica().tree();
  // Of what went with its directories, too.
  auto find_acl = [&](std::string_view path) -> const tree::AclList* {
    if (const tree::ZNode* node = tree.find(path)) return &tree.acl_of(*node);
    auto gone = std::find_if(changes.begin(), changes.end(), [path](const tree::Change& change) {
      return change.type == tree::ChangeType::kDeleted && change.path == path;
    });
    return gone == changes.end() ? nullptr : &tree.acl_list(gone->acl);
  };
  for (const tree::WatchEvent& event : events) {
    ConnectionPtr connection = connections_.find(event.watcher);
    if (!connection) continue;
    Connection::Locked locked(*connection);
    const tree::Identities& who = locked->client().identities;
    bool may_know =
        config_.skip_acl || (tree::acl_allows(tree.acl_list(event.acl), tree::kPermRead, who) &&
                             tree::may_reach(event.path, who, find_acl));
    if (locked->is_closed() || !may_know) continue;
    append_event(locked->out().plain(), event.type, event.path);
    if (locked->has_too_much_unsent()) {
      connection->cut(locked, "it does not read its events");
      continue;
    }
    locked->count();
    to_send_.add(connection);
  }
}

// Changes that came with a snapshot fired no watches: clients come again and set them anew.
void WireServer::tree_replaced() { close_all("this server took over a snapshot"); }

void WireServer::standing_changed() {
  ++standing_;
  sessions_.standing_changed();
  if (!sessions_.serves_here()) close_all("this server leads, and leaderServes is no");
  if (service_.replica().is_serving()) return;
  service_.post_after(kLeaderlessMs, [this, standing = standing_] {
    if (standing == standing_ && !service_.replica().is_serving()) close_all("there is no leader");
  });
}

}  // namespace zabfs::fsd::wire
