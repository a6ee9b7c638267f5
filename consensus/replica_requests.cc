// The replica's half that deals in requests: forwarding, preparing, barriers, sessions.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "consensus/replica.h"
#include "tree/jute.h"
#include "tree/plain_requests.h"

namespace zabfs::consensus {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

// REQUEST's data (FORMATS.md 3.8). Its zxid, which Java does not read, is the attachment.
Packet request_packet(const tree::Request& request, bool to_zabfs) {
  std::string data;
  tree::jute::Writer out(data);
  out.i64(request.session.value);
  out.i32(request.cxid);
  out.i32(static_cast<int32_t>(request.type));
  out.raw(request.body);
  Packet packet(PacketType::kRequest, request.attachment, std::move(data));
  packet.identities = request.identities;
  if (to_zabfs && request.user.uid) packet.identities.push_back(tree::identity_of(request.user));
  return packet;
}

}  // namespace

// ---- from this node

void Replica::submit(tree::Request request, Completion done, bool at_once) {
  if (!pending_.has_room_for(request)) return fail(done, Error::kBadLimit);
  if (!is_sendable(request.body.size() + kPacketMarginBytes, request.identities)) {
    return fail(done, Error::kBadArguments);
  }
  PendingRequests::Number number = pending_.add(std::move(request), std::move(done), at_once);
  if (service_ != Service::kFull) return;  // goes out when there is a leader
  Error error = send_on(number);
  if (error != Error::kOk) fail_pending(number, error);
}

// To the leader, which may be this node.
Error Replica::send_on(PendingRequests::Number number) {
  const tree::Request& request = pending_.count_send(number);
  if (zab_->role() == Role::kLeading) return process(request, config_.zab.me);
  if (!leader_is_zabfs_) {
    // It would drop the request without a word.
    if (tree::has_plain_form(request.type)) return Error::kUnimplemented;
    Error refused = tree::refused_for_java(request);
    if (refused != Error::kOk) return refused;
    bring_mounts_session(request.session);
  }
  send_packet(zab_->link_to_leader(), request_packet(request, leader_is_zabfs_));
  return Error::kOk;
}

// To a leader of Java's a session is at the connection by which it came last, and the requests of
// any other fail. The mount's session outlives this node's connections. For example one breaks, and
// this node joins the same leader again. So each new one names the session before its first
// request.
void Replica::bring_mounts_session(SessionId session) {
  if (!tree::is_mounts(session) || brought_.contains(session)) return;
  auto known = tree().sessions().find(session);
  if (known == tree().sessions().end()) return;  // its first request makes it
  brought_.insert(session);
  send_packet(zab_->link_to_leader(),
              Packet(PacketType::kRevalidate, Zxid{-1},
                     LearnerSessions::question(session, known->second.timeout_ms)));
}

void Replica::fail(const Completion& done, Error error) {
  Outcome outcome;
  outcome.type = OpCode::kError;
  outcome.error = error;
  if (done) done(outcome);
}

void Replica::fail_pending(PendingRequests::Number number, Error error) {
  if (std::optional<Completion> done = pending_.take(number)) fail(*done, error);
}

void Replica::fail_attaching() {
  for (const Completion& done : pending_.take_attaching()) fail(done, Error::kConnectionLoss);
  for (const Completion& done : learner_sessions_.take_revalidating()) {
    fail(done, Error::kConnectionLoss);
  }
}

void Replica::drop_completions() {
  pending_.drop();
  barriers_ = {};
  learner_sessions_ = {};
  snapshotter_.drop_askers();
}

void Replica::sync(SessionId session, Completion done) { barriers_.add(session, std::move(done)); }

// A leader of Apache ZooKeeper answers SYNC without asking whether it still leads. A commit proves
// it: a quorum has logged what came to this leader behind the beginning of the barriers.
void Replica::prove_by_commit() {
  size_t count = 0;
  for (; barriers_.has_waiting(); ++count) {
    SessionId session = barriers_.send_next();
    if (session != SessionId{}) proving_session_ = session;
  }
  if (count == 0) return;
  // The leader hears of the sessions first, so that the commit proves that, too.
  send_packet(zab_->link_to_leader(),
              Packet(PacketType::kPing, tree_.applied(), learner_sessions_.take_touched()));
  std::string check = tree::check_body("/", tree::kAnyVersion);
  tree::Request request =
      tree::superuser_request(proving_session_, ++proving_cxid_, OpCode::kMulti,
                              tree::multi_body({{OpCode::kCheck, std::move(check)}}));
  auto done = [this, count, role = role_number_](const Outcome& outcome) {
    bool is_proof = outcome.zxid != Zxid{} && role == role_number_;
    for (size_t i = 0; is_proof && i < count; ++i) barriers_.answered(outcome.zxid);
  };
  static_cast<void>(send_on(pending_.add(std::move(request), std::move(done), false)));
}

void Replica::flush_barriers() {
  if (!is_serving()) return;
  if (zab_->role() != Role::kLeading && !leader_is_zabfs_) return prove_by_commit();
  while (barriers_.has_waiting()) {
    if (zab_->role() != Role::kLeading) {
      tree::Request request;
      request.session = barriers_.send_next();
      request.type = OpCode::kSync;
      tree::jute::Writer(request.body).string("/");
      send_packet(zab_->link_to_leader(), request_packet(request, leader_is_zabfs_));
      continue;
    }
    Barriers::Question question = barriers_.ask_next();
    if (question.session != SessionId{}) {
      leadership_->touch(question.session, environment_.now_ms());
    }
    confirm(question.token);
  }
}

void Replica::confirm(Barriers::Token token) { step(event::ConfirmLeadership{token}); }

// ---- a role begins

void Replica::become_ready() {
  service_ = Service::kHoldingRequests;
  brought_.clear();
  ++role_number_;
  bool leads = zab_->role() == Role::kLeading;
  measures_.service.serves(leads, environment_.now_us());
  environment_.log(LogLevel::kInfo,
                   fmt::format("{}: serving as {}{}", describe(), role_name(zab_->role()),
                               leads ? fmt::format(" with {} of {} voters", synced_voter_count(),
                                                   zab_->ensemble().voter_count())
                                     : ""));
  if (leads) {
    measures_.proposals.leave_role();  // of what an earlier role ended with
    leadership_.emplace(
        Leadership::Options{config_.zab.me, config_.zab.tick_ms, config_.reap_interval_ms,
                            config_.super_digest, config_.x509_super},
        tree(), prepare_options(), zab_->epoch(), environment_.now_ms());
    give_configuration_a_version();
  } else if (!leader_is_zabfs_) {
    take_leaders_configuration();
  }
  for (const Completion& done : barriers_.take_older_than(zab_->epoch())) done(Outcome{});
  if (zab_->role() == Role::kObserving) {
    // An observer isn't sent what is outstanding, so it can't tell yet which of its requests are.
    // Behind a barrier it has seen them all.
    sync(SessionId{}, [this, role = role_number_](const Outcome&) {
      if (!is_serving() || role != role_number_) return;  // from an earlier membership
      service_ = Service::kFull;
      resend_pending();
    });
  } else if (is_serving()) {  // what came before may have used the epoch up
    service_ = Service::kFull;
    resend_pending();
  }
  for (ReplicaListener* listener : listeners_) listener->standing_changed();
}

// What was under way when the last leader went (ZAB.md section 4). All that the new leader has was
// applied just now, but for what is outstanding in our log.
void Replica::resend_pending() {
  std::set<PendingRequests::Key> outstanding;
  for (auto txn = recent_.after(tree_.applied()); txn != recent_.txns().end(); ++txn) {
    std::optional<tree::TxnHeader> header = tree::decode_txn_header(*txn->txn);
    if (!header) continue;
    if (header->type == tree::OpCode::kError) {
      std::optional<tree::Txn> error = tree::decode_txn(*txn->txn);
      if (error && tree::is_late(*error)) continue;
    }
    outstanding.insert({header->session, header->cxid});
  }
  std::vector<std::pair<PendingRequests::Number, Error>> failed;
  for (auto [number, gives_up] : pending_.decide(outstanding)) {
    if (!is_serving()) break;  // one of them used the epoch up; the rest is for the next leader
    Error error = gives_up ? Error::kConnectionLoss : send_on(number);
    if (error != Error::kOk) failed.emplace_back(number, error);
  }
  for (auto [number, error] : failed) fail_pending(number, error);
}

// ---- as the leader

Error Replica::process(tree::Request request, ServerId from) {
  // The proposal just before may have used the epoch up, and ended the leadership.
  if (!leadership_) return Error::kConnectionLoss;
  SessionId session = request.session;
  Leadership::Prepared prepared =
      leadership_->prepare(std::move(request), from, environment_.now_ms(), environment_.wall_ms());
  if (prepared.was_unproven) tell_unproven(session, from);
  int64_t now_us = prepared.txns.empty() ? 0 : environment_.now_us();
  for (tree::PreparedTxn& txn : prepared.txns) {
    ++measures_.proposal_count;
    measures_.proposal_bytes.note(txn.bytes.size());
    measures_.proposals.proposed(txn.zxid, now_us);
    step(event::Propose{txn.zxid, make_payload(std::move(txn.bytes))});
  }
  return prepared.error;
}

// Nobody refuses the requests of the leader itself.
void Replica::process_own(tree::Request request) {
  request.attachment = tree::kNoAttachment;
  static_cast<void>(process(std::move(request), config_.zab.me));
}

tree::PrepareOptions Replica::prepare_options() {
  tree::PrepareOptions options = config_.prepare;
  if (config_.reconfig_enabled || zab_->membership().is_overridden()) {
    options.plan_reconfig = [this](std::string_view body,
                                   Zxid version) -> tree::Result<std::string> {
      if (!config_.reconfig_enabled && !plans_for_itself_) return Error::kReconfigDisabled;
      return plan_reconfig(zab_->membership(), reconfig_limits(),
                           zab_->answering_followers(environment_.now_ms()), body, version);
    };
  }
  return options;
}

ReconfigLimits Replica::reconfig_limits() const {
  bool may_be_one = !config_.standalone_enabled || plans_for_itself_;
  return {config_.is_standalone(), may_be_one ? size_t{1} : size_t{2}};
}

// The members as configured have version 0 everywhere, even where other members are configured. So
// the first leader of an ensemble that may change makes what it has a configuration of its own.
// The same for members that have moved, and for one that begins alone.
void Replica::give_configuration_a_version() {
  if (config_.is_standalone() || zab_->membership().proposed() != nullptr) return;
  bool is_overridden = zab_->membership().is_overridden();
  bool is_first = config_.reconfig_enabled && zab_->ensemble().version() == 0;
  if (!is_overridden && !is_first) return;
  if (is_overridden) {
    environment_.log(LogLevel::kInfo,
                     fmt::format("{}: commits {}", describe(),
                                 config_.intervention.readdress
                                     ? "the addresses of zoo.cfg; once all nodes have them, start "
                                       "without --readdress"
                                     : "that it is the only member; start without "
                                       "--force-new-ensemble from now on"));
  }
  plans_for_itself_ = true;
  process_own(tree::superuser_request({}, 0, OpCode::kReconfig, reconfig_body(zab_->ensemble())));
  plans_for_itself_ = false;
}

size_t Replica::synced_voter_count() const {
  size_t count = 0;
  for (ServerId id : zab_->synced_followers()) {
    if (zab_->ensemble().is_voter(id)) ++count;
  }
  return count;
}

void Replica::expire_sessions() {
  for (SessionId session : leadership_->take_expired(environment_.now_ms())) {
    ++measures_.sessions_expired;
    environment_.log_limited(LogLevel::kInfo, fmt::format("{}: session 0x{:x} expired", describe(),
                                                          static_cast<uint64_t>(session.value)));
    tree::Request request;
    request.session = session;
    request.type = OpCode::kCloseSession;
    process_own(std::move(request));
  }
}

void Replica::reap() {
  if (!leadership_) return;
  std::vector<std::string> paths =
      leadership_->take_to_reap(environment_.now_ms(), environment_.wall_ms());
  for (std::string& path : paths) {
    tree::Request request;
    request.type = OpCode::kDeleteContainer;
    request.body = std::move(path);
    process_own(std::move(request));
  }
}

// ---- as a learner

void Replica::touch_session(SessionId session, int32_t timeout_ms) {
  if (leadership_) {
    leadership_->touch(session, environment_.now_ms());
  } else {
    learner_sessions_.touch(session, timeout_ms);
  }
}

void Replica::attach(SessionId session, int32_t timeout_ms, Completion done,
                     tree::Identities identities, bool with_secret) {
  tree::Request request;
  request.session = session;
  request.type = OpCode::kExtAttach;
  if (!is_serving()) return fail(done, Error::kConnectionLoss);
  auto known = tree().sessions().find(session);
  bool shows_first =
      with_secret && known != tree().sessions().end() && !known->second.is_with_secret;
  if (!shows_first && is_still_attached(session, timeout_ms)) {
    Outcome outcome;
    outcome.zxid = *own_sessions_.attachment(session);
    return done(outcome);
  }
  request.body = tree::create_session_body(timeout_ms);
  request.attachment = tree::kNoAttachment;
  if (!leader_is_zabfs_) {
    std::string question = learner_sessions_.revalidate(session, timeout_ms, std::move(done));
    return send_packet(zab_->link_to_leader(),
                       Packet(PacketType::kRevalidate, Zxid{-1}, std::move(question)));
  }
  request.cxid = own_sessions_.new_attach_cxid(config_.zab.me, with_secret);
  request.identities = std::move(identities);
  submit(std::move(request), [this, session, done = std::move(done)](const Outcome& outcome) {
    if (outcome.error == Error::kOk) own_sessions_.attached(session, outcome.zxid);
    done(outcome);
  });
}

// Where the client comes back to the leader itself, and was nowhere else, no other server holds any
// of its requests. Like Java's, this one then writes nothing.
bool Replica::is_still_attached(SessionId session, int32_t timeout_ms) {
  std::optional<Zxid> attachment = own_sessions_.attachment(session);
  if (!attachment || !leadership_ || !leadership_->is_attached(session, *attachment)) return false;
  return leadership_->touch(session, timeout_ms, environment_.now_ms());
}

void Replica::on_revalidated(const Packet& packet) {
  tree::jute::Reader in(packet.bytes());
  SessionId session{in.i64()};
  bool valid = in.boolean();
  if (!in.ok()) return;
  std::optional<Completion> done = learner_sessions_.take_revalidated(session);
  if (done) fail(*done, valid ? Error::kOk : Error::kSessionExpired);
}

void Replica::on_refused(const Packet& packet) {
  tree::jute::Reader in(packet.bytes());
  SessionId session{in.i64()};
  int32_t cxid = in.i32();
  auto error = static_cast<Error>(in.i32());
  if (!in.ok()) return;
  std::optional<Completion> done = pending_.take_refused({session, cxid}, packet.zxid);
  if (done) fail(*done, error);
}

void Replica::on_answered(const Packet& packet) {
  if (packet.type == PacketType::kRevalidate) return on_revalidated(packet);
  if (packet.type == PacketType::kRefused) return on_refused(packet);
  if (packet.type == PacketType::kSync && leader_is_zabfs_) barriers_.answered(zab_->committed());
}

void Replica::answer_ping(const action::AnswerPing& ping) {
  for (ReplicaListener* listener : listeners_) listener->name_touched();
  send_packet(zab_->link_to_leader(),
              Packet(PacketType::kPing, ping.zxid, learner_sessions_.take_touched()));
  if (!ping.members.empty()) reported_members_ = ping.members;
}

std::vector<MemberStatus> Replica::member_status() const {
  if (zab_->role() == Role::kLeading) return zab_->member_status();
  std::vector<MemberStatus> members = reported_members_;
  if (members.empty()) {
    for (const auto& [id, member] : zab_->ensemble().members()) members.emplace_back().id = id;
  }
  const std::map<ServerId, MemberFacts>& known = zab_->state().facts;
  for (MemberStatus& member : members) {
    if (auto facts = known.find(member.id); facts != known.end()) member.facts = facts->second;
    if (member.id != config_.zab.me) continue;
    member.facts = {config_.zab.version, is_disk_full(), environment_.now_ms()};
    member.role = zab_->role();
    member.zxid = tree_.applied();
  }
  return members;
}

}  // namespace zabfs::consensus
