#include "fsd/session/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "consensus/replica.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;
using tree::SessionId;

namespace {

constexpr size_t kMaxWaiting = 20'000;

}  // namespace

void ClientSession::start() {
  open();
  tick();
}

void ClientSession::open() {
  if (open_ || opening_ || closed_) return;
  opening_ = true;
  SessionId session = service_.replica().new_mount_session_id();
  int64_t sent_ms = service_.now_ms();
  service_.replica().submit(tree::superuser_request(session, 0, OpCode::kCreateSession,
                                                    tree::create_session_body(timeout_ms_)),
                            [this, session, sent_ms](const Outcome& outcome) {
                              opening_ = false;
                              if (outcome.error != Error::kOk) return;  // the tick tries again
                              open_ = true;
                              id_ = session;
                              cxid_ = 0;
                              last_renewal_ms_ = service_.now_ms();
                              deadline_ms_ = sent_ms + timeout_ms_;
                              service_.log(
                                  consensus::LogLevel::kInfo,
                                  fmt::format("session 0x{:x} of this mount is open, timeout {} ms",
                                              session.value, timeout_ms_));
                              std::deque<Waiting> waiting = std::exchange(waiting_, {});
                              for (Waiting& write : waiting) {
                                send(std::make_shared<Waiting>(std::move(write)));
                              }
                            });
}

void ClientSession::tick() {
  if (closed_) return;
  int64_t now_ms = service_.now_ms();
  check_deadline();
  if (!open_) {
    open();
  } else if (now_ms - last_renewal_ms_ >= timeout_ms_ / 3) {
    renew();
  }
  int64_t next_ms = timeout_ms_ / 12;
  if (open_ && held_ > 0) next_ms = std::clamp<int64_t>(deadline_ms_ - now_ms, 1, next_ms);
  service_.post_after(next_ms, [this] { tick(); });
}

bool ClientSession::is_past_deadline() const {
  return open_ && held_ > 0 && service_.now_ms() >= deadline_ms_;
}

void ClientSession::check_deadline() {
  if (!is_past_deadline()) return;
  service_.log(
      consensus::LogLevel::kWarning,
      fmt::format("session 0x{:x} was not renewed in time: what it held is lost", id_.value));
  lose();
}

void ClientSession::renew() {
  if (std::exchange(renewing_, true)) return;
  SessionId session = id_;
  int64_t sent_ms = service_.now_ms();
  service_.replica().touch_session(session, timeout_ms_);
  service_.replica().sync(session, [this, session, sent_ms](const Outcome&) {
    renewing_ = false;
    if (session != id_ || !open_) return;
    last_renewal_ms_ = sent_ms;
    // It may have been expired by an older leader; then it is not in the tree any more.
    if (!service_.replica().tree().sessions().contains(session)) return lose();
    if (held_ == 0 || service_.now_ms() < deadline_ms_) deadline_ms_ = sent_ms + timeout_ms_;
  });
}

void ClientSession::lose() {
  SessionId lost = id_;
  open_ = false;
  id_ = SessionId{};
  held_ = 0;
  renewing_ = false;
  // Closed when possible, behind what was under way in it.
  service_.replica().submit(tree::superuser_request(lost, -1, OpCode::kCloseSession, ""), nullptr);
  open();
  if (on_lost_) on_lost_(lost);
}

void ClientSession::close(std::function<void()> done) {
  closed_ = true;
  if (!open_ || !service_.replica().is_serving()) return done();
  open_ = false;
  service_.replica().submit(tree::superuser_request(id_, -1, OpCode::kCloseSession, ""),
                            [done = std::move(done)](const Outcome&) { done(); });
}

void ClientSession::submit(OpCode type, std::string body, Completion done, Sent sent) {
  submit({type, std::move(body), std::move(done), std::move(sent), false, actor_});
}

void ClientSession::submit(Waiting write) {
  if (open_) return send(std::make_shared<Waiting>(std::move(write)));
  if (waiting_.size() >= kMaxWaiting) return fail(write, Error::kBadLimit);
  waiting_.push_back(std::move(write));
}

void ClientSession::submit_held(SessionId session, OpCode type, std::string body, Completion done,
                                Sent sent) {
  resume(std::make_shared<Waiting>(
      Waiting{type, std::move(body), std::move(done), std::move(sent), true, actor_, session}));
}

// In the session that is open now, if the write is not bound to another one.
void ClientSession::resume(const WaitingPtr& write) {
  bool is_over = write->is_bound && (!open_ || write->session != id_);
  if (is_over) return fail(*write, Error::kSessionExpired);
  if (open_) return send(write);
  submit(std::move(*write));
}

void ClientSession::send(const WaitingPtr& write) {
  send_request(write, write->type, write->body, [this, write](const Outcome& outcome) {
    bool is_unknown = outcome.error == Error::kUnimplemented && tree::has_plain_form(write->type);
    if (is_unknown) return send_plain(write);
    answered(*write, outcome);
  });
}

void ClientSession::send_request(const WaitingPtr& write, OpCode type, std::string body,
                                 Completion then) {
  int32_t cxid = next_cxid();
  if (write->sent) write->sent(cxid);
  write->session = id_;
  tree::Request request = tree::superuser_request(id_, cxid, type, std::move(body));
  request.user = write->actor;
  service_.replica().submit(std::move(request),
                            [this, write, then = std::move(then)](const Outcome& outcome) {
                              if (outcome.error != Error::kSessionExpired || closed_)
                                return then(outcome);
                              // Refused as a whole, so it was not done; the next session does it.
                              if (write->session == id_ && open_) lose();
                              if (write->is_bound) return answered(*write, outcome);
                              Acting as(*this, write->actor);
                              submit(std::move(*write));
                            });
}

void ClientSession::send_plain(const WaitingPtr& write) {
  if (write->tries++ >= kMaxTries) return fail(*write, Error::kBadLimit);
  const consensus::Replica& replica = service_.replica();
  auto plain = std::make_shared<tree::PlainRequests>(
      tree::plain_requests(replica.tree(), replica.config().prepare,
                           tree::superuser_request(id_, 0, write->type, write->body)));
  if (plain->error != Error::kOk) return fail(*write, plain->error);
  send_plain(write, plain, 0);
}

void ClientSession::send_plain(const WaitingPtr& write, const PlainPtr& plain, size_t step) {
  tree::MultiOp& request = plain->requests[step];
  send_request(write, request.type, std::move(request.body),
               [this, write, plain, step](const Outcome& outcome) {
                 if (tree::is_conflict(outcome.error)) return resume(write);
                 if (outcome.error != Error::kOk) return answered(*write, outcome);
                 bool is_last = step + 1 == plain->requests.size();
                 if (!is_last) return send_plain(write, plain, step + 1);
                 if (plain->then) return send_rest(write, std::move(*plain->then), outcome);
                 answered(*write, outcome);
               });
}

// The data is committed: whatever comes of the rest, the write has succeeded.
void ClientSession::send_rest(const WaitingPtr& write, tree::ExtSetPosix rest,
                              const Outcome& outcome) {
  const tree::ZNode* node = service_.replica().tree().find(rest.path);
  bool is_same = node != nullptr && node->stat.version == outcome.stat.version;
  if (!is_same) rest.change.mtime.reset();  // it does not hold for what somebody else wrote since
  if (node == nullptr || rest.change.is_empty()) return answered(*write, outcome);
  auto then = [this, write, outcome](const Outcome&) { answered(*write, outcome); };
  auto posix =
      std::make_shared<Waiting>(Waiting{OpCode::kExtSetPosix, encode(rest), then, nullptr});
  posix->is_bound = true;
  posix->session = write->session;
  resume(posix);
}

void ClientSession::fail(const Waiting& write, Error error) {
  Outcome outcome;
  outcome.type = OpCode::kError;
  outcome.error = error;
  answered(write, outcome);
}

void ClientSession::answered(const Waiting& write, const Outcome& outcome) {
  if (witness_) witness_(write.actor, write.session, write.type, write.body, outcome);
  Acting as(*this, write.actor);
  write.done(outcome);
}

}  // namespace zabfs::fsd
