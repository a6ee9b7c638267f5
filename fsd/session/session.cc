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
                              for (Waiting& write : waiting) send(std::move(write));
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
  Waiting write{type, std::move(body), std::move(done), std::move(sent), false, actor_};
  if (open_) return send(std::move(write));
  if (waiting_.size() < kMaxWaiting) {
    waiting_.push_back(std::move(write));
    return;
  }
  Outcome outcome;
  outcome.type = type;
  outcome.error = Error::kBadLimit;
  write.done(outcome);
}

void ClientSession::send(Waiting write) {
  int32_t cxid = next_cxid();
  if (write.sent) write.sent(cxid);
  auto kept = std::make_shared<Waiting>(std::move(write));
  SessionId session = id_;
  service_.replica().submit(tree::superuser_request(session, cxid, kept->type, kept->body),
                            [this, kept, session](const Outcome& outcome) {
                              if (outcome.error != Error::kSessionExpired || closed_) {
                                return answered(*kept, session, outcome);
                              }
                              // Refused as a whole, so it was not done; the next session does it.
                              if (session == id_ && open_) lose();
                              if (kept->is_bound) return answered(*kept, session, outcome);
                              Acting as(*this, kept->actor);
                              submit(kept->type, std::move(kept->body), std::move(kept->done),
                                     std::move(kept->sent));
                            });
}

void ClientSession::answered(const Waiting& write, SessionId session, const Outcome& outcome) {
  if (witness_) witness_(write.actor, session, write.type, write.body, outcome);
  Acting as(*this, write.actor);
  write.done(outcome);
}

void ClientSession::submit_held(SessionId session, OpCode type, std::string body, Completion done,
                                Sent sent) {
  if (!open_ || session != id_) {
    Outcome outcome;
    outcome.type = type;
    outcome.error = Error::kSessionExpired;
    return done(outcome);
  }
  send({type, std::move(body), std::move(done), std::move(sent), true, actor_});
}

}  // namespace zabfs::fsd
