// What a node tells of its ensemble (fsd/facts/cluster.h), as `zabfs status` and `zabfs members`
// read it. Facts are texts, as they came; `-` is what the node does not know.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace zabfs::tool {

// The role of a member is `-` if the node does not know it: a Java leader does not say.
// The facts of a member, by name: `zxid`, `votes`, `version`, `disk`, `heard` (ms ago).
struct ClusterMember {
  std::string id, address, role;
  std::map<std::string, std::string> facts;
  std::string unreachable;  // why the node has no connection to it; empty: it has

  std::string fact(const std::string& name) const;
  bool is_here() const { return role != "looking" && role != "-"; }
};

struct Cluster {
  std::map<std::string, std::string> values;  // `quorum`: `yes`
  std::vector<ClusterMember> members;
  std::vector<std::string> notes;

  std::string value(const std::string& name) const;
  bool has_quorum() const { return value("quorum") == "yes"; }
  const ClusterMember* find(const std::string& id) const;
  uint64_t newest_zxid() const;
};

Cluster parse_cluster(const std::string& text);

uint64_t zxid_of(const std::string& text);  // "0x1f"; 0 if it is none
// How many transactions a member lacks; `?` across epochs, and of one that nobody hears.
std::string lag_of(const ClusterMember& member, uint64_t newest);
// What a person calls its state: `up`, `lagging`, `lost`, `disk full`, `looking`, `unknown`.
std::string state_of(const Cluster& cluster, const ClusterMember& member);

std::string json_text(const Cluster& cluster);
std::string json_text_of_members(const Cluster& cluster);

}  // namespace zabfs::tool
