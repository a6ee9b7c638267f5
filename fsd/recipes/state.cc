// What the mount root's room tells of the node: `cluster`, `health`, `metrics`.
#include <fmt/format.h>

#include "fsd/facts/health.h"
#include "fsd/facts/registry.h"
#include "fsd/recipes/handles.h"

namespace zabfs::fsd {

namespace {

// What is amiss, and what can be done about it.
std::string notes_of(const consensus::Replica& replica) {
  std::string text;
  for (const std::string& trouble : replica.troubles()) text += "note " + trouble + "\n";
  return text;
}

}  // namespace

std::string cluster_text(Room& room) {
  const consensus::Replica& replica = room.service().replica();
  const consensus::Zab& zab = replica.zab();
  const consensus::Ensemble& ensemble = zab.ensemble();
  bool serving = replica.is_serving();
  std::string text = fmt::format("node {}\n", zab.config().me.value);
  text += fmt::format("role {}\n", serving ? consensus::role_name(zab.role())
                                           : role_name(consensus::Role::kLooking));
  text += serving ? fmt::format("leader {}\n", zab.leader().value) : "leader -\n";
  text += fmt::format("epoch {}\nzxid 0x{:x}\nquorum {}\n", zab.epoch(),
                      replica.tree().last_zxid().value, serving ? "yes" : "no");
  bool is_voter = ensemble.members().empty() || ensemble.is_voter(zab.config().me);
  text += fmt::format("votes {}\ndisk {}\n", zab.has_vote() && is_voter ? "yes" : "no",
                      replica.is_disk_full() ? "full" : "ok");
  for (const consensus::MemberStatus& status : replica.member_status()) {
    const consensus::Member* member = ensemble.find(status.id);
    if (member == nullptr) continue;
    consensus::Role role = serving ? status.role : consensus::Role::kLooking;
    if (serving && status.id == zab.leader()) role = consensus::Role::kLeading;
    text += fmt::format("member {} {}:{} {} zxid 0x{:x}\n", status.id.value, member->host,
                        member->quorum_port, consensus::role_name(role), status.zxid.value);
  }
  return text + notes_of(replica);
}

std::string health_text(Room& room) {
  const consensus::Replica& replica = room.service().replica();
  const consensus::Ensemble& ensemble = replica.zab().ensemble();
  Health health = health_of(replica);
  auto yes = [](bool is) { return is ? "yes" : "no"; };
  bool has_session = room.session().is_open();
  std::string state = health.is_whole() && has_session ? "ok" : "degraded";
  if (!health.serving) state = "no-quorum";
  std::string text = fmt::format("state {}\nquorum {}\n", state, yes(health.serving));
  text += fmt::format("writable {}\n", yes(health.serving && !health.disk_full));
  text += fmt::format("disk {}\nsession {}\n", health.disk_full ? "full" : "ok",
                      has_session ? "open" : "none");
  text += fmt::format("members {}\npresent {}\nrequests {}\n", health.members, health.present,
                      replica.pending_count());
  for (tree::ServerId id : health.lost) {
    const consensus::Member* member = ensemble.find(id);
    if (member == nullptr) continue;
    text += fmt::format("lost {} {}:{}\n", id.value, member->host, member->quorum_port);
  }
  for (const Health::Lag& lag : health.lagging) {
    text += fmt::format("lagging {} {}\n", lag.id.value, lag.txns);
  }
  return text + notes_of(replica);
}

std::string metrics_text(Room& room) {
  return room.registry() == nullptr ? "" : room.registry()->text();
}

}  // namespace zabfs::fsd
