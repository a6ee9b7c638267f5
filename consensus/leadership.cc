#include "consensus/leadership.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "tree/access.h"
#include "tree/jute.h"

namespace zabfs::consensus {

using tree::Error;
using tree::OpCode;

namespace {

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

}  // namespace

Leadership::Leadership(Options options, const tree::Tree& tree, tree::PrepareOptions prepare,
                       uint32_t epoch, int64_t now_ms)
    : options_(std::move(options)),
      tree_(tree),
      preparer_(tree, std::move(prepare)),
      tracker_(options_.tick_ms),
      last_proposed_(Zxid::make(epoch, 0)),
      next_reap_ms_(now_ms + options_.reap_interval_ms) {
  preparer_.reset();
  for (const auto& [id, session] : tree_.sessions()) {
    tracker_.touch(id, session.timeout_ms, now_ms);
  }
}

Leadership::Prepared Leadership::prepare(tree::Request request, ServerId from, int64_t now_ms,
                                         int64_t wall_ms) {
  Prepared prepared;
  Error& error = prepared.error;
  request.node = tree::server_byte(from);
  if (!tree::is_mounts(request.session)) request.user = {};
  if (from != options_.me) error = check_origin(request, from, prepared.was_unproven);
  if (error == Error::kOk) error = preparer_.admit(request);
  if (error != Error::kOk) {
    // A server of Apache ZooKeeper knows no other answer than a txn.
    bool is_javas = from != options_.me && request.attachment == tree::kNoAttachment &&
                    request.type != OpCode::kExtAttach;
    if (is_javas) {
      last_proposed_ = last_proposed_.next();
      prepared.txns.push_back(tree::Preparer::refuse(request, last_proposed_, wall_ms, error));
    }
    return prepared;
  }
  bool attaches = request.type == OpCode::kExtAttach && tracker_.contains(request.session);
  if (request.type == OpCode::kCreateSession || attaches) {
    int32_t timeout_ms = tree::jute::Reader(request.body).i32();
    tracker_.touch(request.session, std::max(timeout_ms, options_.tick_ms), now_ms);
  } else {
    tracker_.touch(request.session, now_ms);
  }
  prepared.txns = preparer_.prepare(request, last_proposed_.next(), wall_ms);
  if (!prepared.txns.empty()) last_proposed_ = prepared.txns.back().zxid;
  return prepared;
}

void Leadership::closed(SessionId session) {
  tracker_.remove(session);
  proven_.erase(session);
}

bool Leadership::lives_at(SessionId session, ServerId server) const {
  int16_t home = preparer_.home_of(session);
  return home == tree::server_byte(server) || home == tree::kAnywhere;
}

bool Leadership::touch(SessionId session, int64_t now_ms) {
  return preparer_.knows(session) && tracker_.touch(session, now_ms);
}

// What a request of another member's must be for the leader to look at it. Identities that its
// session has not are taken off it.
Error Leadership::check_origin(tree::Request& request, ServerId from, bool& was_unproven) {
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
    bool comes_to_be = !attaches || preparer_.knows(session);
    bool says_who = comes_to_be && !request.identities.empty();
    if (says_who) proven_[session] = of_connection(request.identities);
    return Error::kOk;
  }
  was_unproven = take_off_unproven(request);
  return Error::kOk;
}

bool Leadership::is_superuser(const tree::Id& id) const {
  return !id.id.empty() && ((id.scheme == tree::kUidScheme && id.id == "0") ||
                            (id.scheme == "x509" && id.id == options_.x509_super) ||
                            (id.scheme == "digest" && id.id == options_.super_digest));
}

// Whether there were any.
bool Leadership::take_off_unproven(tree::Request& request) {
  tree::Identities& identities = request.identities;
  size_t before = identities.size();
  if (before == 0) return false;
  auto proven = proven_.find(request.session);
  if (proven != proven_.end()) {
    std::erase_if(identities, [&](const tree::Id& id) {
      return is_of_connection(id) &&
             std::find(proven->second.begin(), proven->second.end(), id) == proven->second.end();
    });
  } else if (preparer_.knows(request.session)) {
    // The first since there is another leader; Java's servers don't say it earlier, either.
    proven_[request.session] = of_connection(identities);
  }
  bool is_super = tree::is_mounts(request.session) ||
                  std::any_of(identities.begin(), identities.end(),
                              [this](const tree::Id& id) { return is_superuser(id); });
  if (!is_super) {
    std::erase_if(identities, [](const tree::Id& id) { return id.scheme == "super"; });
  }
  return identities.size() != before;
}

void Leadership::touched_at(ServerId server, SessionId session, int32_t timeout_ms,
                            int64_t now_ms) {
  if (!tracker_.contains(session)) return;
  if (lives_at(session, server)) {
    tracker_.touch(session, std::max(timeout_ms, options_.tick_ms), now_ms);
  } else {
    tracker_.touch(session, now_ms);
  }
}

std::vector<std::string> Leadership::take_to_reap(int64_t now_ms, int64_t wall_ms) {
  if (now_ms < next_reap_ms_) return {};
  next_reap_ms_ = now_ms + options_.reap_interval_ms;
  std::vector<std::string> paths;
  for (tree::NodeId id : tree_.containers()) {
    const tree::ZNode& node = tree_.node(id);
    if (node.children.size() == 0 && node.stat.cversion > 0) paths.push_back(tree_.path_of(node));
  }
  for (tree::NodeId id : tree_.ttl_nodes()) {
    const tree::ZNode& node = tree_.node(id);
    bool outlived = wall_ms - node.stat.mtime_ms > tree::owner_ttl_ms(node.stat.owner);
    if (node.children.size() == 0 && outlived) paths.push_back(tree_.path_of(node));
  }
  return paths;
}

}  // namespace zabfs::consensus
