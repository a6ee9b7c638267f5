// What the mount root's room tells of the node: `cluster`, `health`, `metrics`.
#include <fmt/format.h>

#include <algorithm>

#include "fsd/facts/node.h"
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
  const consensus::Zab& zab = replica.zab();
  bool serving = replica.is_serving();
  bool full = replica.is_disk_full();
  size_t members = 0, present = 0;
  for (const consensus::MemberStatus& status : replica.member_status()) {
    ++members;
    if (serving && status.role != consensus::Role::kLooking) ++present;
  }
  std::string state = "ok";
  if (full || !room.session().is_open()) state = "degraded";
  // Only the leader knows who is with it.
  if (zab.role() == consensus::Role::kLeading && present < members) state = "degraded";
  if (!serving) state = "no-quorum";
  std::string text = fmt::format("state {}\nquorum {}\n", state, serving ? "yes" : "no");
  text += fmt::format("writable {}\n", serving && !full ? "yes" : "no");
  text += fmt::format("disk {}\nsession {}\n", full ? "full" : "ok",
                      room.session().is_open() ? "open" : "none");
  text += fmt::format("members {}\npresent {}\nrequests {}\n", members, present,
                      replica.pending_count());
  return text + notes_of(replica);
}

std::string metrics_text(Room& room) {
  const consensus::Replica& replica = room.service().replica();
  std::string text = prometheus_text(node_metrics(node_facts(replica), process_facts()));
  std::string handles = room.handles_text(Caller{});
  text += prometheus_text(
      {{"handles", "gauge", "Locks, ephemerals, watches and the like held through this mount",
        int64_t{std::count(handles.begin(), handles.end(), '\n')}}});
  text += "# HELP zabfs_member_zxid What a member has\n# TYPE zabfs_member_zxid gauge\n";
  for (const consensus::MemberStatus& status : replica.member_status()) {
    text +=
        fmt::format("zabfs_member_zxid{{member=\"{}\"}} {}\n", status.id.value, status.zxid.value);
  }
  return text;
}

}  // namespace zabfs::fsd
