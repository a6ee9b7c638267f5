// What a replica counts of its own work, for monitoring. Nothing that a replica does depends on it.
//
// The counts go on from role to role, and begin anew with the process.
//
// Threading: on the strand, but for what the histograms allow. Pure: time is an argument, in
// microseconds of a monotonic clock.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "consensus/histogram.h"
#include "tree/types.h"

namespace zabfs::consensus {

// How long proposals of this leader take until they are applied here. Those that a role leaves
// behind are forgotten with it.
class ProposalTimes {
 public:
  void proposed(tree::Zxid zxid, int64_t now_us) { begun_.emplace_back(zxid, now_us); }
  void applied(tree::Zxid through, int64_t now_us) {
    while (!begun_.empty() && begun_.front().first <= through) {
      times_.note(now_us - begun_.front().second);
      begun_.pop_front();
    }
  }
  void leave_role() { begun_.clear(); }
  bool has_any() const { return !begun_.empty(); }
  Durations durations() const { return times_.durations(); }

 private:
  std::deque<std::pair<tree::Zxid, int64_t>> begun_;  // as many as the leader has outstanding
  Histogram times_;
};

// Sizes, as ZooKeeper tells of them: -1 where there was none yet.
struct Sizes {
  int64_t last = -1, min = -1, max = -1;
  void note(size_t bytes) {
    last = static_cast<int64_t>(bytes);
    min = min < 0 ? last : std::min(min, last);
    max = std::max(max, last);
  }
};

// How long this node looks for a leader, and how long it does not serve.
class ServiceTimes {
 public:
  void looks(int64_t now_us) {
    ++looking_count_;
    looking_since_us_ = now_us;
    if (!unavailable_since_us_) unavailable_since_us_ = now_us;
  }
  void elected(int64_t now_us) {
    if (looking_since_us_) election_.note(now_us - *std::exchange(looking_since_us_, std::nullopt));
  }
  void serves(bool leads, int64_t now_us) {
    if (unavailable_since_us_) {
      int64_t us = now_us - *std::exchange(unavailable_since_us_, std::nullopt);
      unavailable_.note(us);
      if (leads) leader_unavailable_.note(us);
    }
    if (leads) leads_since_us_ = now_us;
  }
  void leaves_role(int64_t now_us) {
    leads_since_us_.reset();
    if (!unavailable_since_us_) unavailable_since_us_ = now_us;
  }

  uint64_t looking_count() const { return looking_count_; }
  std::optional<int64_t> leads_since_us() const { return leads_since_us_; }
  Durations election() const { return election_.durations(); }
  Durations unavailable() const { return unavailable_.durations(); }
  Durations leader_unavailable() const { return leader_unavailable_.durations(); }

 private:
  uint64_t looking_count_ = 0;
  std::optional<int64_t> looking_since_us_, unavailable_since_us_, leads_since_us_;
  Histogram election_, unavailable_, leader_unavailable_;
};

struct Measures {
  ServiceTimes service;
  ProposalTimes proposals;
  Sizes proposal_bytes;
  uint64_t proposal_count = 0, commit_count = 0;            // as the leader
  uint64_t proposals_received = 0, commits_received = 0;    // as a learner
  uint64_t snapshots_sent = 0, histories_sent = 0;          // to learners that came
  uint64_t sessions_revalidated = 0, sessions_expired = 0;  // as the leader
  uint64_t digest_mismatches = 0;                           // 1 at most while it lives
};

}  // namespace zabfs::consensus
