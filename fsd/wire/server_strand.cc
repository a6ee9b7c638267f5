// The wire server's half that runs on the replica's strand: sessions, answers to writes, events.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "fsd/wire/auth.h"
#include "fsd/wire/server.h"
#include "tree/access.h"
#include "tree/snapshot.h"

namespace zabfs::fsd::wire {

using tree::Error;
using tree::OpCode;
using tree::Outcome;
using tree::SessionId;

namespace {

// A new leader is usually there within this; connections are kept so long.
constexpr int64_t kLeaderlessMs = 1'500;
constexpr int64_t kReadOnlyAfterMs = 2'000;  // at least a tick

uint64_t hex(SessionId session) { return static_cast<uint64_t>(session.value); }

// What Java finds malformed before it gives the request a zxid.
bool is_malformed(const tree::Request& request) {
  tree::jute::Reader in(request.body);
  if (request.type == OpCode::kSync) {
    in.buffer();
  } else if (request.type == OpCode::kReconfig) {
    for (int i = 0; i < 3; ++i) in.buffer();
    in.i64();
  }
  return !in.ok();
}

int64_t milliseconds_since(Clock::time_point then) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - then).count();
}

}  // namespace

// ---- sessions

void WireServer::connect(const ConnectionPtr& connection, const ConnectRequest& request) {
  consensus::Replica& replica = host_.replica();
  bool read_only = may_open_read_only(request);
  if (stopped_ || (!replica.is_serving() && !read_only)) {
    return refuse(connection, "no leader is known here");
  }
  if (request.last_zxid > replica.tree().last_zxid()) {
    return refuse(connection,
                  fmt::format("it has seen zxid 0x{:x}, and this server only 0x{:x}",
                              request.last_zxid.value, replica.tree().last_zxid().value));
  }
  const consensus::ReplicaConfig& limits = replica.config();
  int32_t timeout_ms = std::clamp(request.timeout_ms, limits.min_session_ms, limits.max_session_ms);
  bool password_fits = proves(request);
  if (read_only) {
    bool known = password_fits && replica.tree().sessions().contains(request.session);
    {
      std::lock_guard lock(connection->mutex);
      connection->read_only = true;
    }
    return open(connection, request, known ? request.session : replica.new_session_id(),
                timeout_ms);
  }
  tree::Identities identities = identities_of(*connection);
  if (request.session == SessionId{}) {
    SessionId session = replica.new_session_id();
    if (config_.local_sessions) {
      local_sessions_[session] = {timeout_ms, host_.now_ms()};
      return open(connection, request, session, timeout_ms);
    }
    tree::Request create;
    create.session = session;
    create.type = OpCode::kCreateSession;
    create.body = tree::create_session_body(timeout_ms);
    create.identities = std::move(identities);
    return replica.submit(std::move(create), [=, this](const Outcome& outcome) {
      if (outcome.error != Error::kOk) return refuse(connection, "its session can't be opened now");
      open(connection, request, session, timeout_ms);
    });
  }
  if (!password_fits) return turn_away(connection, request);
  auto old = sessions_.find(request.session);
  if (old != sessions_.end()) {
    ConnectionPtr before = old->second;
    sessions_.erase(old);
    std::lock_guard lock(before->mutex);
    shut(*before);
  }
  if (auto local = local_sessions_.find(request.session); local != local_sessions_.end()) {
    local->second = {timeout_ms, host_.now_ms()};
    return open(connection, request, request.session, timeout_ms);
  }
  replica.attach(
      request.session, timeout_ms,
      [=, this](const Outcome& outcome) {
        if (outcome.error == Error::kSessionExpired) return turn_away(connection, request);
        if (outcome.error != Error::kOk) {
          return refuse(connection, "the leader went while it was asked for its session");
        }
        open(connection, request, request.session, timeout_ms, outcome.zxid);
      },
      std::move(identities));
}

void WireServer::open(const ConnectionPtr& connection, const ConnectRequest& request,
                      SessionId session, int32_t timeout_ms, tree::Zxid attachment) {
  {
    std::lock_guard lock(connection->mutex);
    if (connection->dead) return;
    connection->session = session;
    connection->attachment = attachment;
    connection->timeout_ms = timeout_ms;
    connection->phase = Phase::kOpen;
    std::optional<bool> read_only;
    if (request.read_only) read_only = connection->read_only;
    append_connect_response(connection->out, timeout_ms, session, password_of(session), read_only);
  }
  sessions_[session] = connection;
  mark_dirty(connection);
}

tree::Identities WireServer::identities_of(Connection& connection) {
  std::lock_guard lock(connection.mutex);
  return connection.identities;
}

// Whether it is the client of the session that it names.
bool WireServer::proves(const ConnectRequest& request) const {
  const consensus::Replica& replica = host_.replica();
  if (tree::is_mounts(request.session)) return false;
  const std::string& secret = replica.secret();
  if (!secret.empty() &&
      is_same_password(request.password, secret_password(request.session, secret))) {
    return true;
  }
  return replica.has_public_passwords() &&
         is_same_password(request.password, public_password(request.session));
}

// One that every member accepts.
std::string WireServer::password_of(SessionId session) const {
  const consensus::Replica& replica = host_.replica();
  return replica.has_public_passwords() ? public_password(session)
                                        : secret_password(session, replica.secret());
}

// Java: ReadOnlyZooKeeperServer, which takes the place of one that has had no leader for a while.
bool WireServer::may_open_read_only(const ConnectRequest& request) const {
  if (!config_.read_only_mode || !request.read_only.value_or(false)) return false;
  int64_t wait_ms = std::max<int64_t>(kReadOnlyAfterMs, host_.replica().config().zab.tick_ms);
  return leaderless_since_ms_ != 0 && host_.now_ms() - leaderless_since_ms_ >= wait_ms;
}

void WireServer::turn_away(const ConnectionPtr& connection, const ConnectRequest& request) {
  spdlog::info("client port: {}:{} comes with session 0x{:x}, which is over", connection->address,
               connection->port, hex(request.session));
  {
    std::lock_guard lock(connection->mutex);
    std::optional<bool> read_only;
    if (request.read_only) read_only = false;
    append_connect_response(connection->out, 0, SessionId{}, "", read_only);
  }
  finish(connection);
}

void WireServer::session_closed(SessionId session) {
  auto place = sessions_.find(session);
  if (place == sessions_.end()) return;
  ConnectionPtr connection = place->second;
  sessions_.erase(place);
  finish(connection);
}

void WireServer::name_touched() {
  for (const auto& [session, connection] : sessions_) {
    bool heard = connection->heard.exchange(false, std::memory_order_relaxed);
    if (!heard) {
      // Its pings may lie behind requests that this server is too slow for, or that wait until it
      // has taken the answers before them.
      std::lock_guard lock(connection->mutex);
      bool takes = connection->moved || connection->sweeps_stuck == 0;
      heard = connection->paused && (takes || !connection->waiting.empty());
    }
    if (!heard) continue;
    auto local = local_sessions_.find(session);
    if (local != local_sessions_.end()) {
      local->second.heard_ms = host_.now_ms();
    } else {
      host_.replica().touch_session(session, connection->timeout_ms);
    }
  }
  end_local_sessions();
}

void WireServer::end_local_sessions() {
  int64_t now_ms = host_.now_ms();
  std::vector<SessionId> over;
  for (const auto& [session, local] : local_sessions_) {
    if (now_ms - local.heard_ms > local.timeout_ms) over.push_back(session);
  }
  for (SessionId session : over) {
    spdlog::info("client port: local session 0x{:x} expired", hex(session));
    local_sessions_.erase(session);
    session_closed(session);
  }
}

// From here on all servers know it; what holds an ephemeral must outlive this one.
void WireServer::upgrade(SessionId session) {
  int32_t timeout_ms = local_sessions_[session].timeout_ms;
  local_sessions_.erase(session);
  tree::Request create;
  create.session = session;
  create.type = OpCode::kCreateSession;
  create.body = tree::create_session_body(timeout_ms);
  host_.replica().submit(std::move(create), [](const Outcome&) {});
}

// What a local session asks for and the leader need not, or must not, hear of. True: answered.
bool WireServer::finish_locally(Submission& submission) {
  SessionId session = submission.request.session;
  if (!local_sessions_.contains(session)) return false;
  Outcome outcome;
  outcome.type = submission.request.type;
  outcome.zxid = host_.replica().tree().last_zxid();
  if (submission.request.type == OpCode::kCloseSession) {
    local_sessions_.erase(session);
  } else if (!tree::creates_ephemeral(submission.request)) {
    return false;
  } else if (config_.local_upgrading) {
    upgrade(session);
    return false;
  } else {
    outcome.type = OpCode::kError;
    outcome.error = Error::kEphemeralOnLocalSession;
  }
  answered(submission, outcome);
  return true;
}

// ---- writes

void WireServer::submit(Submission submission) {
  // Its client has come back meanwhile, and must not find this done behind what it does now.
  auto owner = sessions_.find(submission.request.session);
  if (owner != sessions_.end() && owner->second != submission.connection) return;
  uint64_t number = submission.connection->number;
  if (auto place = behind_sync_.find(number); place != behind_sync_.end()) {
    place->second.push_back(std::move(submission));
    return;
  }
  if (is_malformed(submission.request)) {
    Outcome outcome;
    outcome.error = Error::kMarshallingError;
    outcome.zxid = host_.replica().tree().last_zxid();
    return answered(submission, outcome);
  }
  if (submission.request.type == OpCode::kSync) {
    behind_sync_[number];
    SessionId session = submission.request.session;
    return host_.replica().sync(
        session, [this, submission](const Outcome& outcome) { synced(submission, outcome); });
  }
  if (finish_locally(submission)) return;
  tree::Request request = std::move(submission.request);
  submission.request.type = request.type;
  request.attachment = submission.connection->attachment;
  request.cxid = next_cxid_;
  next_cxid_ = next_cxid_ == INT32_MAX ? 1 : next_cxid_ + 1;
  host_.replica().submit(
      std::move(request),
      [this, submission = std::move(submission)](const Outcome& outcome) {
        answered(submission, outcome);
      },
      true);
}

void WireServer::synced(const Submission& sync, const Outcome& outcome) {
  answered(sync, outcome);
  auto place = behind_sync_.find(sync.connection->number);
  if (place == behind_sync_.end()) return;
  std::deque<Submission> behind = std::move(place->second);
  behind_sync_.erase(place);
  for (Submission& submission : behind) submit(std::move(submission));
}

void WireServer::answered(const Submission& submission, const Outcome& outcome) {
  const ConnectionPtr& connection = submission.connection;
  OpCode type = submission.request.type;
  bool unknown = outcome.error == Error::kConnectionLoss;  // it may be committed, or not
  if (unknown || outcome.error == Error::kSessionMoved) {
    return refuse(connection, unknown ? "the fate of its write is not known"
                                      : "its session has moved to another server");
  }
  {
    std::lock_guard lock(connection->mutex);
    if (connection->dead || submission.number < connection->first_waiting) return;
    WaitingRequest& waiting = connection->waiting[submission.number - connection->first_waiting];
    waiting.answered = true;
    waiting.bytes.clear();
    if (type == OpCode::kSync && outcome.error != Error::kMarshallingError) {
      Frame frame(waiting.bytes);
      tree::jute::Writer out(waiting.bytes);
      write_reply_header(out, submission.xid, host_.replica().tree().last_zxid(), Error::kOk);
      out.buffer(tree::jute::Reader(submission.request.body).buffer());
    } else if (type == OpCode::kReconfig && outcome.error == Error::kOk) {
      Frame frame(waiting.bytes);
      tree::jute::Writer out(waiting.bytes);
      write_reply_header(out, submission.xid, outcome.zxid, Error::kOk);
      out.string(host_.replica().zab().ensemble().text());
      tree::write_stat(out, outcome.stat);
    } else if (outcome.error == Error::kBadLimit) {
      append_reply(waiting.bytes, submission.xid, host_.replica().tree().last_zxid(),
                   Error::kThrottledOp);
    } else {
      append_outcome(waiting.bytes, submission.xid, type, outcome);
    }
    weigh(*connection, waiting, sizeof(WaitingRequest) + waiting.bytes.capacity());
    connection->stats.last_zxid = outcome.zxid;
    drain(*connection);
  }
  mark_dirty(connection);
  if (type == OpCode::kCloseSession) finish(connection);
}

// Whether a write of the same client waits behind the first request. A read must not see what a
// later write of its client made: it can't be put off until that is applied. Where such answers
// become more than kMaxOutBytes, or than clients may hold, the connection is cut off.
bool WireServer::has_write_behind(const Connection& c) {
  return std::any_of(std::next(c.waiting.begin()), c.waiting.end(),
                     [](const WaitingRequest& request) { return !is_read(request.type); });
}

// Hands out the answers that are next, and answers the reads behind them: those of the state that
// the write before them made, whatever else is in the same batch.
void WireServer::drain(Connection& c) {
  const tree::Tree& tree = host_.replica().tree();
  bool is_enough = false;
  c.stalled = false;
  while (!c.waiting.empty() && !c.dead) {
    WaitingRequest& next = c.waiting.front();
    if (next.answered) {
      c.out += next.bytes;
    } else if (is_read(next.type)) {
      bool is_due = is_enough || c.unsent() >= kPauseOutBytes;
      c.stalled = is_due && !has_write_behind(c);  // `send` goes on from here
      if (c.stalled) break;
      if (c.unsent() >= kPauseOutBytes) {
        count(c);
        if (c.unsent() > kMaxOutBytes || budget_.is_exceeded()) {
          cut(c, fmt::format("{} bytes of answers wait for it", c.unsent()));
          break;
        }
      }
      if (!answer_read(c, tree, next.xid, next.type, next.bytes)) break;
      is_enough = is_long(next.type);
    } else {
      break;
    }
    note_answer(c, next);
    c.waiting_bytes -= next.held_bytes;
    budget_.end_requests(1, next.held_bytes);
    c.waiting.pop_front();
    ++c.first_waiting;
  }
  count(c);
}

void WireServer::go_on_draining(const ConnectionPtr& connection) {
  host_.post([this, connection] {
    {
      std::lock_guard lock(connection->mutex);
      drain(*connection);
    }
    mark_dirty(connection);
  });
}

void WireServer::note_answer(Connection& c, const WaitingRequest& request) {
  int64_t ms = milliseconds_since(request.since);
  stats_.note_latency(ms);
  ++stats_.sent;
  ++c.stats.sent;
  c.stats.last_latency_ms = ms;
  c.stats.last_answer = Clock::now();
  c.stats.latency_ms_sum += ms;
  c.stats.latency_ms_min = std::min(c.stats.latency_ms_min, ms);
  c.stats.latency_ms_max = std::max(c.stats.latency_ms_max, ms);
}

void WireServer::mark_dirty(const ConnectionPtr& connection) {
  {
    std::lock_guard lock(connection->mutex);
    if (std::exchange(connection->is_dirty, true)) return;
  }
  dirty_.push_back(connection);
}

void WireServer::batch_over() {
  for (const ConnectionPtr& connection : std::exchange(dirty_, {})) {
    {
      std::lock_guard lock(connection->mutex);
      connection->is_dirty = false;
    }
    send(connection);
  }
}

// ---- events

ConnectionPtr WireServer::find(uint64_t number) const {
  std::lock_guard lock(connections_mutex_);
  auto place = connections_.find(number);
  return place == connections_.end() ? nullptr : place->second;
}

void WireServer::publishing(std::span<const tree::Change> changes) {
  if (changes.empty()) return;
  std::vector<tree::WatchEvent> events;
  watches_.with([&](tree::WatchTables& tables) {
    if (tables.count() == 0) return;
    for (const tree::Change& change : changes) tables.fire(change, events);
  });
  const tree::Tree& tree = host_.replica().tree();
  // Of what went with its directories, too.
  auto find_acl = [&](std::string_view path) -> const tree::AclList* {
    if (const tree::ZNode* node = tree.find(path)) return &tree.acl_of(*node);
    auto gone = std::find_if(changes.begin(), changes.end(), [path](const tree::Change& change) {
      return change.type == tree::ChangeType::kDeleted && change.path == path;
    });
    return gone == changes.end() ? nullptr : &tree.acl_list(gone->acl);
  };
  for (const tree::WatchEvent& event : events) {
    ConnectionPtr connection = find(event.watcher);
    if (!connection) continue;
    {
      std::lock_guard lock(connection->mutex);
      const tree::Identities& who = connection->identities;
      bool may_know =
          config_.skip_acl || (tree::acl_allows(tree.acl_list(event.acl), tree::kPermRead, who) &&
                               tree::may_reach(event.path, who, find_acl));
      if (connection->dead || !may_know) continue;
      append_event(connection->out, event.type, event.path);
      if (connection->unsent() > kMaxOutBytes) {
        cut(*connection, "it does not read its events");
        continue;
      }
      count(*connection);
    }
    mark_dirty(connection);
  }
}

// Changes that came with a snapshot fired no watches: clients come again and set them anew.
void WireServer::tree_replaced() { close_all("this server took over a snapshot"); }

void WireServer::standing_changed() {
  ++standing_;
  if (host_.replica().is_serving()) {
    if (std::exchange(leaderless_since_ms_, 0) != 0) close_read_only();
    return;
  }
  if (leaderless_since_ms_ == 0) leaderless_since_ms_ = host_.now_ms();
  host_.post_after(kLeaderlessMs, [this, standing = standing_] {
    if (standing == standing_ && !host_.replica().is_serving()) close_all("there is no leader");
  });
}

// Whoever was content with reads is to come again, and write.
void WireServer::close_read_only() {
  for (const auto& [session, connection] : sessions_) {
    std::lock_guard lock(connection->mutex);
    if (connection->read_only) shut(*connection);
  }
}

void WireServer::close_all(const char* why) {
  std::vector<ConnectionPtr> all = all_connections();
  if (!all.empty()) spdlog::info("client port: closes {} connections: {}", all.size(), why);
  for (const ConnectionPtr& connection : all) {
    std::lock_guard lock(connection->mutex);
    shut(*connection);
  }
}

}  // namespace zabfs::fsd::wire
