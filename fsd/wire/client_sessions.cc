#include "fsd/wire/client_sessions.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "consensus/replica.h"
#include "fsd/wire/auth.h"
#include "tree/snapshot.h"

namespace zabfs::fsd::wire {

using tree::Error;
using tree::OpCode;
using tree::Outcome;
using tree::SessionId;

namespace {

constexpr int64_t kReadOnlyAfterMs = 2'000;  // at least a tick

uint64_t hex(SessionId session) { return static_cast<uint64_t>(session.value); }

tree::Request request_for_session(SessionId session, int32_t timeout_ms, bool with_secret) {
  tree::Request create;
  if (with_secret) create.cxid = tree::kCreatedWithSecret;
  create.session = session;
  create.type = OpCode::kCreateSession;
  create.body = tree::create_session_body(timeout_ms);
  return create;
}

}  // namespace

// ---- opened or found

void ClientSessions::connect(const ConnectionPtr& connection, const ConnectRequest& request) {
  consensus::Replica& replica = service_.replica();
  bool read_only = may_open_read_only(request);
  if (is_stopped_ || (!replica.is_serving() && !read_only)) {
    return connection->refuse("no leader is known here");
  }
  if (!serves_here()) return connection->refuse("this server leads, and leaderServes is no");
  if (request.last_zxid > replica.tree().last_zxid()) {
    return connection->refuse(fmt::format("it has seen zxid 0x{:x}, and this server only 0x{:x}",
                                          request.last_zxid.value,
                                          replica.tree().last_zxid().value));
  }
  const consensus::ReplicaConfig& limits = replica.config();
  int32_t timeout_ms = std::clamp(request.timeout_ms, limits.min_session_ms, limits.max_session_ms);
  if (read_only) return connect_read_only(connection, request, timeout_ms);
  if (request.session == SessionId{}) return make_session(connection, request, timeout_ms);
  if (!proves(request)) return turn_away(connection, request);
  auto old = connections_.find(request.session);
  if (old != connections_.end()) {
    ConnectionPtr before = old->second;
    connections_.erase(old);
    Connection::Locked locked(*before);
    before->shut(locked);
  }
  if (local_.reopen(request.session, timeout_ms, service_.now_ms())) {
    return open(connection, request, request.session, timeout_ms);
  }
  attach(connection, request, timeout_ms);
}

void ClientSessions::connect_read_only(const ConnectionPtr& connection,
                                       const ConnectRequest& request, int32_t timeout_ms) {
  consensus::Replica& replica = service_.replica();
  bool known = proves(request) && replica.tree().sessions().contains(request.session);
  connection->lock()->client().is_read_only = true;
  open(connection, request, known ? request.session : replica.new_session_id(), timeout_ms);
}

void ClientSessions::make_session(const ConnectionPtr& connection, const ConnectRequest& request,
                                  int32_t timeout_ms) {
  consensus::Replica& replica = service_.replica();
  SessionId session = replica.new_session_id();
  if (config_.local_sessions) {
    local_.open(session, timeout_ms, service_.now_ms());
    return open(connection, request, session, timeout_ms);
  }
  tree::Request create = request_for_session(session, timeout_ms, !replica.has_public_passwords());
  create.identities = connection->lock()->client().identities;
  replica.submit(std::move(create), [=, this](const Outcome& outcome) {
    if (outcome.error != Error::kOk) return connection->refuse("its session can't be opened now");
    open(connection, request, session, timeout_ms);
  });
}

void ClientSessions::attach(const ConnectionPtr& connection, const ConnectRequest& request,
                            int32_t timeout_ms) {
  tree::Identities identities = connection->lock()->client().identities;
  bool with_secret = proves_with_secret(request) && !service_.replica().has_public_passwords();
  service_.replica().attach(
      request.session, timeout_ms,
      [=, this](const Outcome& outcome) {
        if (outcome.error == Error::kSessionExpired) return turn_away(connection, request);
        if (outcome.error != Error::kOk) {
          return connection->refuse("the leader went while it was asked for its session");
        }
        open(connection, request, request.session, timeout_ms, outcome.zxid);
      },
      std::move(identities), with_secret);
}

void ClientSessions::open(const ConnectionPtr& connection, const ConnectRequest& request,
                          SessionId session, int32_t timeout_ms, tree::Zxid attachment) {
  {
    Connection::Locked locked(*connection);
    if (locked->is_closed()) return;
    locked->open(session, timeout_ms);
    std::optional<bool> read_only;
    if (request.read_only) read_only = locked->client().is_read_only;
    append_connect_response(locked->out().plain(), timeout_ms, session, password_of(session),
                            read_only);
  }
  if (spdlog::should_log(spdlog::level::debug)) {
    service_.log(consensus::LogLevel::kDebug,
                 fmt::format("client port: {} has session 0x{:x}, timeout {} ms",
                             connection->name(), hex(session), timeout_ms));
  }
  connection->attachment = attachment;
  connections_[session] = connection;
  to_send_.add(connection);
}

void ClientSessions::turn_away(const ConnectionPtr& connection, const ConnectRequest& request) {
  service_.log_limited(consensus::LogLevel::kInfo,
                       fmt::format("client port: {} comes with session 0x{:x}, which is over",
                                   connection->name(), hex(request.session)));
  std::optional<bool> read_only;
  if (request.read_only) read_only = false;
  append_connect_response(connection->lock()->out().plain(), 0, SessionId{}, "", read_only);
  connection->finish();
}

// Whether it is the client of the session that it names.
bool ClientSessions::proves(const ConnectRequest& request) const {
  if (tree::is_mounts(request.session)) return false;
  if (proves_with_secret(request)) return true;
  const consensus::Replica& replica = service_.replica();
  const auto& sessions = replica.tree().sessions();
  auto session = sessions.find(request.session);
  // Made or taken up while a server of ZooKeeper's was a member.
  bool may_be_public = session != sessions.end() && !session->second.is_with_secret;
  return (may_be_public || replica.has_public_passwords()) &&
         is_same_password(request.password, public_password(request.session));
}

bool ClientSessions::proves_with_secret(const ConnectRequest& request) const {
  const std::string& secret = service_.replica().secret();
  return !secret.empty() &&
         is_same_password(request.password, secret_password(request.session, secret));
}

// One that every member accepts.
std::string ClientSessions::password_of(SessionId session) const {
  const consensus::Replica& replica = service_.replica();
  return replica.has_public_passwords() ? public_password(session)
                                        : secret_password(session, replica.secret());
}

// Java: ReadOnlyZooKeeperServer, which takes the place of one that has had no leader for a while.
bool ClientSessions::may_open_read_only(const ConnectRequest& request) const {
  if (!config_.read_only_mode || !request.read_only.value_or(false)) return false;
  int64_t wait_ms = std::max<int64_t>(kReadOnlyAfterMs, service_.replica().config().zab.tick_ms);
  return leaderless_since_ms_ != 0 && service_.now_ms() - leaderless_since_ms_ >= wait_ms;
}

// ---- while they last

bool ClientSessions::is_of_another(SessionId session, const ConnectionPtr& connection) const {
  auto owner = connections_.find(session);
  return owner != connections_.end() && owner->second != connection;
}

std::optional<Outcome> ClientSessions::serve_locally(const tree::Request& request) {
  using Course = LocalSessions::Course;
  Outcome outcome;
  outcome.type = request.type;
  outcome.zxid = service_.replica().tree().last_zxid();
  switch (local_.course(request)) {
    case Course::kToLeader:
      return std::nullopt;
    case Course::kUpgrade:
      upgrade(request.session);
      return std::nullopt;
    case Course::kClose:
      local_.take(request.session);
      return outcome;
    case Course::kRefuse:
      outcome.type = OpCode::kError;
      outcome.error = Error::kEphemeralOnLocalSession;
      return outcome;
  }
  return std::nullopt;
}

// From here on all servers know it.
void ClientSessions::upgrade(SessionId session) {
  consensus::Replica& replica = service_.replica();
  replica.submit(
      request_for_session(session, local_.take(session), !replica.has_public_passwords()),
      [](const Outcome&) {});
}

void ClientSessions::name_touched() {
  for (const auto& [session, connection] : connections_) {
    if (!connection->take_heard() && !connection->lock()->may_be_unheard()) continue;
    if (local_.touch(session, service_.now_ms())) continue;
    int32_t timeout_ms = connection->lock()->client().timeout_ms;
    service_.replica().touch_session(session, timeout_ms);
  }
  end_local_sessions();
}

// ---- their end

void ClientSessions::end_local_sessions() {
  for (SessionId session : local_.take_expired(service_.now_ms())) {
    service_.log_limited(consensus::LogLevel::kInfo,
                         fmt::format("client port: local session 0x{:x} expired", hex(session)));
    session_closed(session);
  }
}

void ClientSessions::session_closed(SessionId session) {
  auto found = connections_.find(session);
  if (found == connections_.end()) return;
  ConnectionPtr connection = found->second;
  connections_.erase(found);
  connection->finish();
}

void ClientSessions::forget(const ConnectionPtr& connection) {
  auto found = connections_.find(connection->lock()->client().session);
  if (found != connections_.end() && found->second == connection) connections_.erase(found);
}

bool ClientSessions::serves_here() const {
  const consensus::Replica& replica = service_.replica();
  return config_.leader_serves || replica.config().is_standalone() || !replica.is_serving() ||
         replica.zab().role() != consensus::Role::kLeading;
}

void ClientSessions::standing_changed() {
  if (!service_.replica().is_serving()) {
    if (leaderless_since_ms_ == 0) leaderless_since_ms_ = service_.now_ms();
  } else if (std::exchange(leaderless_since_ms_, 0) != 0) {
    close_read_only();
  }
}

// Their clients are to connect anew, and can write then.
void ClientSessions::close_read_only() {
  for (const auto& [session, connection] : connections_) {
    Connection::Locked locked(*connection);
    if (locked->client().is_read_only) connection->shut(locked);
  }
}

}  // namespace zabfs::fsd::wire
