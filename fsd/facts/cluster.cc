#include "fsd/facts/cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace zabfs::fsd {

using consensus::MemberStatus;
using consensus::Role;
using tree::ServerId;

namespace {

Role role_of(const consensus::Replica& replica, const MemberStatus& status) {
  if (!replica.is_serving()) return Role::kLooking;
  return status.id == replica.zab().leader() ? Role::kLeading : status.role;
}

std::string node_lines(const consensus::Replica& replica) {
  const consensus::Zab& zab = replica.zab();
  const consensus::Ensemble& ensemble = zab.ensemble();
  bool serving = replica.is_serving();
  auto yes = [](bool is) { return is ? "yes" : "no"; };
  std::string text = fmt::format("node {}\nversion {}\n", zab.config().me.value,
                                 zab.config().version.empty() ? "-" : zab.config().version);
  int64_t number = zab.state().settled_ensemble();
  text += number == 0 ? "ensemble -\n"
                      : fmt::format("ensemble 0x{:x}\n", static_cast<uint64_t>(number));
  text += fmt::format("role {}\n", role_name(serving ? zab.role() : Role::kLooking));
  text += serving ? fmt::format("leader {}\n", zab.leader().value) : "leader -\n";
  text += fmt::format("epoch {}\nzxid 0x{:x}\nquorum {}\n", zab.epoch(),
                      replica.tree().last_zxid().value, yes(serving));
  bool is_voter = ensemble.members().empty() || ensemble.is_voter(zab.config().me);
  return text + fmt::format("votes {}\ndisk {}\n", yes(zab.has_vote() && is_voter),
                            replica.is_disk_full() ? "full" : "ok");
}

// How many voters are here, by the word of the leader.
std::string quorum_lines(const consensus::Replica& replica) {
  const consensus::Ensemble& ensemble = replica.zab().ensemble();
  if (ensemble.members().empty()) return "voters 1\npresent 1\nmay_lose 0\n";  // it is alone
  std::string text = fmt::format("voters {}\n", ensemble.voter_count());
  if (!replica.is_serving() || !replica.knows_members()) return text + "present -\nmay_lose -\n";
  std::set<ServerId> present;
  for (const MemberStatus& status : replica.member_status()) {
    Role role = role_of(replica, status);
    bool counts = role == Role::kLeading || role == Role::kFollowing;
    if (counts && ensemble.is_voter(status.id)) present.insert(status.id);
  }
  std::optional<size_t> may_lose = ensemble.may_lose(present);
  return text + fmt::format("present {}\nmay_lose {}\n", present.size(),
                            may_lose ? std::to_string(*may_lose) : "-");
}

std::string measured_lines(const consensus::Replica& replica, const Registry* registry) {
  Metrics some = registry == nullptr ? Metrics() : registry->gather_of_cluster();
  auto value = [&some](std::string_view name) {
    auto found = std::find_if(some.begin(), some.end(),
                              [name](const Metric& metric) { return metric.name == name; });
    return found == some.end() ? std::string("-") : text_of(found->value);
  };
  return fmt::format("connections {}\nsessions {}\ndisk_free {}\ndisk_size {}\nhistory {}\n",
                     value("num_alive_connections"), replica.tree().sessions().size(),
                     value("disk_free_bytes"), value("disk_size_bytes"), replica.history_bytes());
}

// In ms; of this node itself 0.
std::string heard_ago(const consensus::Replica& replica, const MemberStatus& status) {
  if (status.id == replica.zab().config().me) return "0";
  std::optional<int64_t> heard_ms =
      std::max(status.facts.heard_ms, replica.contacts().heard_ms(status.id));
  return heard_ms ? std::to_string(std::max<int64_t>(0, replica.now_ms() - *heard_ms)) : "-";
}

bool is_here(Role role) {
  return role == Role::kFollowing || role == Role::kObserving || role == Role::kLeading;
}

// A Java leader does not say who is with it.
std::string role_text(const consensus::Replica& replica, const MemberStatus& status) {
  Role role = role_of(replica, status);
  bool is_me = status.id == replica.zab().config().me;
  bool is_told = is_me || !replica.is_serving() || replica.knows_members();
  return is_told || is_here(role) ? role_name(role) : "-";
}

std::string member_line(const consensus::Replica& replica, const MemberStatus& status,
                        const consensus::Member& member) {
  Role role = role_of(replica, status);
  bool is_me = status.id == replica.zab().config().me;
  // Of who is not here, nobody knows how its disk is; but it may have said why it left.
  bool is_known = is_me || is_here(role);
  bool is_java = status.facts.version == consensus::kZooKeeper;
  const char* disk = status.facts.disk_full ? "full" : is_known && !is_java ? "ok" : "-";
  return fmt::format("member {} {}:{} {} zxid 0x{:x} votes {} version {} disk {} heard {}\n",
                     status.id.value, member.host, member.quorum_port, role_text(replica, status),
                     status.zxid.value, member.observer ? "no" : "yes",
                     status.facts.version.empty() ? "-" : status.facts.version, disk,
                     heard_ago(replica, status));
}

}  // namespace

std::string unreachable_text(const consensus::Replica& replica) {
  std::string text;
  for (const auto& [id, member] : replica.zab().ensemble().members()) {
    std::string why = replica.contacts().trouble(id);
    if (!why.empty()) text += fmt::format("unreachable {} {}\n", id.value, why);
  }
  return text;
}

std::string notes_text(const consensus::Replica& replica) {
  std::string text;
  for (const std::string& trouble : replica.troubles()) text += "note " + trouble + "\n";
  return text;
}

std::string cluster_text(const consensus::Replica& replica, const Registry* registry) {
  std::string text =
      node_lines(replica) + quorum_lines(replica) + measured_lines(replica, registry);
  for (const MemberStatus& status : replica.member_status()) {
    const consensus::Member* member = replica.zab().ensemble().find(status.id);
    if (member != nullptr) text += member_line(replica, status, *member);
  }
  return text + unreachable_text(replica) + notes_text(replica);
}

}  // namespace zabfs::fsd
