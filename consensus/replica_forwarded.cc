// The replica's half that deals, as the leader, in what other members forward.
//
// A member speaks for the sessions that live with it, and for no others: those that it has made,
// until their clients come to another, and those whose clients have come to it. Of who a client is
// the leader knows what its server said when the session came there; later requests may add only
// what a client proves on its connection. The superuser's are those of a mount, those of root of
// the member's machine, and those that prove what this node's zoo.cfg says, too.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "consensus/replica.h"
#include "tree/access.h"
#include "tree/jute.h"

namespace zabfs::consensus {

using tree::Error;
using tree::OpCode;

namespace {

constexpr int64_t kTellAgainMs = 60'000;

// What a client can't become later: it is so from the beginning of its connection.
bool is_of_connection(const tree::Id& id) {
  return id.scheme == "ip" || id.scheme == "x509" || id.scheme == tree::kUidScheme ||
         id.scheme == tree::kGidScheme;
}

tree::Identities of_connection(const tree::Identities& identities) {
  tree::Identities some;
  std::copy_if(identities.begin(), identities.end(), std::back_inserter(some), is_of_connection);
  return some;
}

// What no member sends: they are the leader's own.
bool is_leaders(OpCode type) {
  return type == OpCode::kDeleteContainer || type == OpCode::kError ||
         type == OpCode::kNotification;
}

Packet revalidated(SessionId session, bool valid) {
  std::string data;
  tree::jute::Writer out(data);
  out.i64(session.value);
  out.boolean(valid);
  return {PacketType::kRevalidate, Zxid{-1}, std::move(data)};
}

}  // namespace

bool Replica::lives_at(SessionId session, ServerId server) const {
  int16_t home = preparer_->home_of(session);
  return home == tree::server_byte(server) || home == tree::kAnywhere;
}

// What a request of another member's must be for the leader to look at it. Identities that its
// session has not are taken off it.
Error Replica::check_origin(tree::Request& request, ServerId from) {
  SessionId session = request.session;
  uint8_t there = tree::server_byte(from);
  if (is_leaders(request.type)) return Error::kUnimplemented;
  bool attaches = request.type == OpCode::kExtAttach;
  if (attaches) {
    if (tree::is_mounts(session) || tree::attached_to(request.cxid) != there) {
      return Error::kSessionMoved;
    }
  } else if (!lives_at(session, from)) {
    return Error::kSessionMoved;
  }
  if (attaches || request.type == OpCode::kCreateSession) {
    proven_.erase(session);
    bool comes_to_be = !attaches || preparer_->knows(session);
    bool says_who = comes_to_be && !request.identities.empty();
    if (says_who) proven_[session] = of_connection(request.identities);
    return Error::kOk;
  }
  take_off_unproven(request, from);
  return Error::kOk;
}

void Replica::take_off_unproven(tree::Request& request, ServerId from) {
  tree::Identities& identities = request.identities;
  size_t before = identities.size();
  if (before == 0) return;
  auto proven = proven_.find(request.session);
  if (proven != proven_.end()) {
    std::erase_if(identities, [&](const tree::Id& id) {
      return is_of_connection(id) &&
             std::find(proven->second.begin(), proven->second.end(), id) == proven->second.end();
    });
  } else if (preparer_->knows(request.session)) {
    // The first since there is another leader; Java's servers don't say it earlier, either.
    proven_[request.session] = of_connection(identities);
  }
  bool is_super =
      tree::is_mounts(request.session) ||
      std::any_of(identities.begin(), identities.end(), [this](const tree::Id& id) {
        return !id.id.empty() && ((id.scheme == tree::kUidScheme && id.id == "0") ||
                                  (id.scheme == "x509" && id.id == config_.x509_super) ||
                                  (id.scheme == "digest" && id.id == config_.super_digest));
      });
  if (!is_super) {
    std::erase_if(identities, [](const tree::Id& id) { return id.scheme == "super"; });
  }
  if (identities.size() == before || environment_.now_ms() < tell_unproven_ms_) return;
  tell_unproven_ms_ = environment_.now_ms() + kTellAgainMs;
  environment_.log(
      LogLevel::kWarning,
      fmt::format("{}: server {} asks for session 0x{:x} as somebody whom nothing here "
                  "confirms; that does not count. If it is the superuser, superDigest "
                  "or superUser must be the same in every zoo.cfg",
                  place(), from.value, static_cast<uint64_t>(request.session.value)));
}

// From the answer to a PING. What the session's own server says of its time counts, others' word
// only keeps it alive.
void Replica::on_touched(const action::SessionsTouched& touched) {
  ServerId from = member_of(touched.from);
  tree::jute::Reader in(*touched.data);
  while (!in.at_end()) {
    SessionId session{in.i64()};
    int32_t timeout_ms = in.i32();
    if (!in.ok() || !tracker_.contains(session)) continue;
    bool is_its_own = preparer_ && lives_at(session, from);
    if (is_its_own) {
      tracker_.touch(session, std::max(timeout_ms, config_.zab.tick_ms), environment_.now_ms());
    } else {
      tracker_.touch(session, environment_.now_ms());
    }
  }
}

// From a Java server. What other servers still hold of the session is late from here on.
void Replica::answer_revalidate(LinkId link, SessionId session, int32_t timeout_ms, ServerId from) {
  // No connection is given the session of a mount.
  bool lives = !tree::is_mounts(session) && tracker_.touch(session, environment_.now_ms());
  if (!lives) return send_packet(link, revalidated(session, false));
  tree::Request attach;
  attach.session = session;
  attach.type = OpCode::kExtAttach;
  attach.cxid = tree::attach_cxid(next_attach_++, tree::server_byte(from));
  attach.body = tree::create_session_body(timeout_ms);
  attach.attachment = tree::kNoAttachment;
  if (process(std::move(attach), from) == Error::kOk) {
    barriers_.reply_when_committed(last_proposed_, {link, revalidated(session, true)});
  } else if (links_.contains(link)) {
    send_packet(link, revalidated(session, false));
  }
}

void Replica::on_forwarded(const action::Forwarded& forwarded) {
  if (!ready_) return;  // resent by the learner once we serve it
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
  request.attachment = forwarded.packet.zxid;
  ServerId from = member_of(forwarded.from);
  if (request.type != OpCode::kSync) {
    Error error = process(request, from);
    if (error == Error::kOk) return;
    if (request.attachment == tree::kNoAttachment) {
      // Apache ZooKeeper's server waits for the answer; its clients come again and find out.
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
  if (lives_at(request.session, from)) tracker_.touch(request.session, environment_.now_ms());
  confirm(barriers_.ask_for(forwarded.link));
}

}  // namespace zabfs::consensus
