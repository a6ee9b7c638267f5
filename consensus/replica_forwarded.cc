// The replica's half that deals, as the leader, in what other members forward. What they may say is
// checked in leadership.h.
#include <fmt/format.h>

#include <utility>

#include "consensus/replica.h"
#include "tree/jute.h"

namespace zabfs::consensus {

using tree::Error;
using tree::OpCode;

namespace {

Packet revalidated(SessionId session, bool valid) {
  std::string data;
  tree::jute::Writer out(data);
  out.i64(session.value);
  out.boolean(valid);
  return {PacketType::kRevalidate, Zxid{-1}, std::move(data)};
}

}  // namespace

void Replica::tell_unproven(SessionId session, ServerId from) {
  if (!troubles_.unproven(environment_.now_ms())) return;
  environment_.log(
      LogLevel::kWarning,
      fmt::format("{}: server {} asks for session 0x{:x} as somebody whom nothing here "
                  "confirms; that does not count. If it is the superuser, superDigest "
                  "or superUser must be the same in every zoo.cfg",
                  describe(), from.value, static_cast<uint64_t>(session.value)));
}

// From the answer to a PING.
void Replica::on_touched(const action::SessionsTouched& touched) {
  if (!leadership_) return;
  ServerId from = member_of(touched.from);
  tree::jute::Reader in(*touched.data);
  while (!in.at_end()) {
    SessionId session{in.i64()};
    int32_t timeout_ms = in.i32();
    if (in.ok()) leadership_->touched_at(from, session, timeout_ms, environment_.now_ms());
  }
}

// From a Java server. What other servers still hold of the session is late from here on.
void Replica::answer_revalidate(LinkId link, SessionId session, int32_t timeout_ms, ServerId from) {
  ++measures_.sessions_revalidated;
  // No connection is given the session of a mount.
  bool lives = !tree::is_mounts(session) && leadership_->touch(session, environment_.now_ms());
  if (!lives) return send_packet(link, revalidated(session, false));
  tree::Request attach;
  attach.session = session;
  attach.type = OpCode::kExtAttach;
  attach.cxid = own_sessions_.new_attach_cxid(from);
  attach.body = tree::create_session_body(timeout_ms);
  attach.attachment = tree::kNoAttachment;
  Error error = process(std::move(attach), from);
  if (error != Error::kOk) return send_packet(link, revalidated(session, false));
  if (!leadership_) return;  // the attach was the last of its epoch
  barriers_.reply_when_committed(leadership_->last_proposed(), {link, revalidated(session, true)});
}

// The answers that waited for what is committed by now. They go out behind the COMMITs that they
// waited for, and before the next one: Apache ZooKeeper's servers depend on it.
void Replica::answer_what_waited(Zxid committed) {
  while (std::optional<Barriers::Reply> reply = barriers_.take_committed(committed)) {
    if (links_.contains(reply->link)) send_packet(reply->link, reply->packet);
  }
}

// A SYNC from a server of Apache ZooKeeper. It gives its clients their answers in the order in
// which it forwarded their requests: if one is answered too late, that server never answers its
// clients again (Java: CommitProcessor, queuedWriteRequests). For example A's SYNC asks the quorum
// who leads, and B's write, which was forwarded behind it, is committed meanwhile. So SYNC becomes
// a txn that changes nothing, and is answered when that is committed. That proves the leadership as
// well.
void Replica::answer_sync_in_order(LinkId link) {
  std::string check = tree::check_body("/", tree::kAnyVersion);
  process_own(tree::superuser_request({}, 0, OpCode::kMulti,
                                      tree::multi_body({{OpCode::kCheck, std::move(check)}})));
  if (!leadership_) return;  // that was the last of its epoch
  barriers_.reply_when_committed(leadership_->last_proposed(),
                                 {link, Packet(PacketType::kSync, Zxid{})});
}

void Replica::on_forwarded(const action::Forwarded& forwarded) {
  if (!leadership_) {
    // A zabfs server sends it again once this one serves.
    if (!forwarded.is_from_zabfs) cut_off(forwarded.link, "this leader does not serve yet");
    return;
  }
  tree::jute::Reader in(forwarded.packet.bytes());
  if (forwarded.packet.type == PacketType::kRevalidate) {
    SessionId session{in.i64()};
    int32_t timeout_ms = in.i32();
    if (!in.ok()) return cut_off(forwarded.link, "malformed REVALIDATE");
    return answer_revalidate(forwarded.link, session, timeout_ms, member_of(forwarded.from));
  }
  tree::Request request;
  request.session.value = in.i64();
  request.cxid = in.i32();
  request.type = static_cast<OpCode>(in.i32());
  if (!in.ok()) {
    return cut_off(forwarded.link, "malformed REQUEST");
  }
  request.body = in.rest();
  request.identities = forwarded.packet.identities;
  request.user = tree::take_local_user(request.identities);
  request.attachment = forwarded.packet.zxid;
  ServerId from = member_of(forwarded.from);
  if (request.type != OpCode::kSync) {
    Error error = process(request, from);
    if (error == Error::kOk) return;
    if (request.attachment == tree::kNoAttachment) {
      if (leadership_ && request.type != OpCode::kExtAttach) return;  // a txn tells it
      // Its server waits for the answer; its clients come again and find out.
      return cut_off(forwarded.link, "it asks for what it may not");
    }
    std::string data;
    tree::jute::Writer out(data);
    out.i64(request.session.value);
    out.i32(request.cxid);
    out.i32(static_cast<int32_t>(error));
    return send_packet(forwarded.link,
                       Packet(PacketType::kRefused, request.attachment, std::move(data)));
  }
  if (leadership_->lives_at(request.session, from)) {
    leadership_->touch(request.session, environment_.now_ms());
  }
  if (!forwarded.is_from_zabfs) return answer_sync_in_order(forwarded.link);
  confirm(barriers_.ask_for(forwarded.link));
}

}  // namespace zabfs::consensus
