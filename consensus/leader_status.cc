// What a leader tells of the members.
#include <algorithm>

#include "consensus/leader.h"
#include "tree/jute.h"

namespace zabfs::consensus {

// Tells zabfs learners at once who is here; others learn nothing from it.
void Leader::announce(Actions& out) {
  for (auto& [link, learner] : learners_) {
    if (learner.is_zabfs && learner.phase == LearnerPhase::kSynced) send_ping(link, learner, out);
  }
}

void Leader::tell_disk_full(Actions& out) {
  state_.facts[config_.me].disk_full = true;
  if (is_established()) announce(out);
}

std::vector<MemberStatus> Leader::member_status() const {
  std::vector<MemberStatus> members;
  for (const auto& [id, member] : state_.membership.in_force().members()) {
    MemberStatus status;
    status.id = id;
    auto facts = state_.facts.find(id);
    if (facts != state_.facts.end()) status.facts = facts->second;
    if (id == config_.me) {
      status.role = Role::kLeading;
      status.zxid = state_.durable;
      status.passwords = Passwords::kSecret;
      status.facts.heard_ms = now_ms_;
    }
    if (state_.public_passwords.contains(id)) status.passwords = Passwords::kPublic;
    for (const auto& [link, learner] : learners_) {
      if (!learner.known || learner.phase != LearnerPhase::kSynced) continue;
      if (member_of(learner.id) != id) continue;
      status.role = learner.observer ? Role::kObserving : Role::kFollowing;
      status.zxid = learner.observer ? committed_ : std::max(learner.last, own_last_);
      status.facts.heard_ms = learner.heard_ms;
      if (learner.has_secret) status.passwords = Passwords::kSecret;
    }
    members.push_back(status);
  }
  return members;
}

// For zabfs learners: of each member its number, role and zxid; then of each its passwords; then of
// each its version, whether its disk is full, and how long ago it was heard of, in ms (-1: never).
std::string Leader::status_text() const {
  std::string text;
  tree::jute::Writer out(text);
  std::vector<MemberStatus> members = member_status();
  out.count(members.size());
  for (const MemberStatus& status : members) {
    out.i64(status.id.value);
    out.i32(static_cast<int32_t>(status.role));
    out.i64(status.zxid.value);
  }
  for (const MemberStatus& status : members) out.i32(static_cast<int32_t>(status.passwords));
  for (const MemberStatus& status : members) {
    out.string(status.facts.version);
    out.boolean(status.facts.disk_full);
    out.i64(status.facts.heard_ms ? now_ms_ - *status.facts.heard_ms : -1);
  }
  return text;
}

}  // namespace zabfs::consensus
