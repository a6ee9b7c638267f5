// Quotas: how many znodes and bytes a subtree has, and may have (FORMATS.md 1.16; Java:
// Quotas, StatsTrack).
//
// The limits of a subtree are the data of `/zookeeper/quota` + path + `/zookeeper_limits`, its
// usage the data of `zookeeper_stats` beside it. Usage is kept by the tree itself, without a txn.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace zabfs::tree {

inline constexpr std::string_view kQuotaRoot = "/zookeeper/quota";
inline constexpr std::string_view kQuotaLimits = "zookeeper_limits";
inline constexpr std::string_view kQuotaStats = "zookeeper_stats";

// Limits or usage; -1 is none. Only hard limits refuse anything.
struct QuotaTrack {
  int64_t count = -1, bytes = -1;
  int64_t hard_count = -1, hard_bytes = -1;

  // What does not parse counts as not there: the data is a client's.
  static QuotaTrack parse(std::string_view text);
  std::string text() const;
};

// Where the quota of `path` has its znodes.
std::string quota_znode(std::string_view path, std::string_view name);
// The path that a child of `quota_parent` (below kQuotaRoot) speaks of.
std::string_view quota_subject(std::string_view quota_parent);

}  // namespace zabfs::tree
