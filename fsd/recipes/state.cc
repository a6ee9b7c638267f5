// What the mount root's room tells of the node: `cluster`, `health`, `metrics`.
#include <fmt/format.h>

#include "fsd/facts/cluster.h"
#include "fsd/facts/health.h"
#include "fsd/facts/registry.h"
#include "fsd/recipes/handles.h"

namespace zabfs::fsd {

std::string cluster_text(Room& room) {
  return cluster_text(room.service().replica(), room.registry());
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
  return text + unreachable_text(replica) + notes_text(replica);
}

std::string metrics_text(Room& room) {
  return room.registry() == nullptr ? "" : room.registry()->text();
}

}  // namespace zabfs::fsd
