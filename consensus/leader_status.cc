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

std::vector<MemberStatus> Leader::member_status() const {
  std::vector<MemberStatus> members;
  for (const auto& [id, member] : state_.membership.in_force().members()) {
    MemberStatus status;
    status.id = id;
    if (id == config_.me) {
      status.role = Role::kLeading;
      status.zxid = state_.durable;
      status.passwords = Passwords::kSecret;
    }
    if (state_.public_passwords.contains(id)) status.passwords = Passwords::kPublic;
    for (const auto& [link, learner] : learners_) {
      if (!learner.known || learner.phase != LearnerPhase::kSynced) continue;
      if (member_of(learner.id) != id) continue;
      status.role = learner.observer ? Role::kObserving : Role::kFollowing;
      status.zxid = learner.observer ? committed_ : std::max(learner.last, own_last_);
      if (learner.has_secret) status.passwords = Passwords::kSecret;
    }
    members.push_back(status);
  }
  return members;
}

// For zabfs learners: of each member its number, role and zxid; then of each its passwords.
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
  return text;
}

}  // namespace zabfs::consensus
