#include "fsd/wire/client_writes.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "consensus/replica.h"
#include "fsd/audit/operations.h"
#include "fsd/wire/messages.h"
#include "tree/jute.h"

namespace zabfs::fsd::wire {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

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

}  // namespace

void ClientWrites::submit(Submission submission) {
  // Its client has come back meanwhile, and must not find this done behind what it does now.
  if (sessions_.is_of_another(submission.request.session, submission.connection)) return;
  uint64_t number = submission.connection->number();
  if (auto found = behind_sync_.find(number); found != behind_sync_.end()) {
    found->second.push_back(std::move(submission));
    return;
  }
  if (is_malformed(submission.request)) {
    Outcome outcome;
    outcome.error = Error::kMarshallingError;
    outcome.zxid = service_.replica().tree().last_zxid();
    return answer(submission, outcome);
  }
  if (submission.request.type == OpCode::kSync) {
    behind_sync_[number];
    tree::SessionId session = submission.request.session;
    return service_.replica().sync(
        session, [this, submission](const Outcome& outcome) { synced(submission, outcome); });
  }
  if (std::optional<Outcome> outcome = sessions_.serve_locally(submission.request)) {
    return answer(submission, *outcome);
  }
  if (audit_ != nullptr) {
    submission.audited = audit::without_data(submission.request.type, submission.request.body);
  }
  tree::Request request = std::move(submission.request);
  submission.request.type = request.type;
  request.attachment = submission.connection->attachment;
  request.cxid = next_cxid_;
  next_cxid_ = next_cxid_ == INT32_MAX ? 1 : next_cxid_ + 1;
  service_.replica().submit(
      std::move(request),
      [this, submission = std::move(submission)](const Outcome& outcome) {
        audit(submission, outcome);
        answer(submission, outcome);
      },
      true);
}

void ClientWrites::synced(const Submission& sync, const Outcome& outcome) {
  answer(sync, outcome);
  auto found = behind_sync_.find(sync.connection->number());
  if (found == behind_sync_.end()) return;
  std::deque<Submission> behind = std::move(found->second);
  behind_sync_.erase(found);
  for (Submission& submission : behind) submit(std::move(submission));
}

void ClientWrites::audit(const Submission& submission, const Outcome& outcome) {
  if (audit_ == nullptr) return;
  const Connection& connection = *submission.connection;
  tree::Identities identities = submission.connection->lock()->client().identities;
  bool is_local = connection.port() == 0;  // by the Unix-domain socket
  audit::Who who =
      audit::who_of(submission.request.session, identities, is_local ? "" : connection.address());
  audit_->write(audit::events_of(who, submission.request.type, submission.audited, outcome));
}

void ClientWrites::answer(const Submission& submission, const Outcome& outcome) {
  const ConnectionPtr& connection = submission.connection;
  bool is_unknown = outcome.error == Error::kConnectionLoss;  // it may be committed, or not
  if (is_unknown || outcome.error == Error::kSessionMoved) {
    return connection->refuse(is_unknown ? "the fate of its write is not known"
                                         : "its session has moved to another server");
  }
  {
    std::string bytes = encode(submission, outcome);
    Connection::Locked locked(*connection);
    if (locked->is_closed()) return;
    if (!locked->requests().answer(submission.number, std::move(bytes))) return;
    locked->stats().last_zxid = outcome.zxid;
    drain(*connection, locked);
  }
  to_send_.add(connection);
  if (submission.request.type == OpCode::kCloseSession) connection->finish();
}

std::string ClientWrites::encode(const Submission& submission, const Outcome& outcome) const {
  const consensus::Replica& replica = service_.replica();
  OpCode type = submission.request.type;
  std::string bytes;
  if (type == OpCode::kSync && outcome.error != Error::kMarshallingError) {
    Frame frame(bytes);
    tree::jute::Writer out(bytes);
    write_reply_header(out, submission.xid, replica.tree().last_zxid(), Error::kOk);
    out.buffer(tree::jute::Reader(submission.request.body).buffer());
  } else if (type == OpCode::kReconfig && outcome.error == Error::kOk) {
    Frame frame(bytes);
    tree::jute::Writer out(bytes);
    write_reply_header(out, submission.xid, outcome.zxid, Error::kOk);
    out.string(replica.zab().ensemble().text());
    tree::write_stat(out, outcome.stat);
  } else if (outcome.error == Error::kBadLimit) {
    append_reply(bytes, submission.xid, replica.tree().last_zxid(), Error::kThrottledOp);
  } else {
    append_outcome(bytes, submission.xid, type, outcome);
  }
  return bytes;
}

void ClientWrites::go_on(const ConnectionPtr& connection) {
  {
    Connection::Locked locked(*connection);
    drain(*connection, locked);
  }
  to_send_.add(connection);
}

void ClientWrites::drain(Connection& connection, Connection::Locked& locked) {
  const tree::Tree& tree = service_.replica().tree();
  auto answer_read = [&](const WaitingRequest& read) {
    return answers_.answer(connection, locked, tree, read.xid, read.type, read.bytes);
  };
  if (locked->drain(Clock::now(), answer_read) == ConnectionState::Drained::kTooMuch) {
    connection.cut(locked, fmt::format("{} bytes of answers wait for it", locked->out().unsent()));
  }
}

}  // namespace zabfs::fsd::wire
