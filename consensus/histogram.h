// How long things took: counts of durations in buckets of fixed bounds, for monitoring.
//
// The class that does the work owns the histogram and notes each duration. Whoever tells of the
// node takes a copy of the counts.
//
// Limits: a duration above the last bound is counted in one bucket more. Counters never wrap within
// a process's life.
//
// Threading: any thread, without a lock. Counts that are read while others are noted may miss some
// of them; each is right by itself.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace zabfs::consensus {

// The upper bounds of the buckets, in microseconds; a duration that equals one is within it.
inline constexpr std::array<int64_t, 20> kBucketBoundsUs = {
    10,      25,        50,        100,        250,        500,       1'000,
    2'500,   5'000,     10'000,    25'000,     50'000,     100'000,   250'000,
    500'000, 1'000'000, 2'500'000, 10'000'000, 30'000'000, 60'000'000};

// A copy of a histogram's counts.
struct Durations {
  std::array<uint64_t, kBucketBoundsUs.size() + 1> buckets = {};  // the last: above all bounds
  int64_t sum_us = 0, min_us = 0, max_us = 0;                     // 0 where there are none

  uint64_t count() const {
    uint64_t all = 0;
    for (uint64_t bucket : buckets) all += bucket;
    return all;
  }
  // Those of both.
  void add(const Durations& other) {
    if (other.count() == 0) return;
    min_us = count() == 0 ? other.min_us : std::min(min_us, other.min_us);
    max_us = std::max(max_us, other.max_us);
    sum_us += other.sum_us;
    for (size_t i = 0; i < buckets.size(); ++i) buckets[i] += other.buckets[i];
  }
  // About the duration that this part of them (0 to 1) did not exceed: within its bucket they are
  // taken as spread evenly.
  double quantile_us(double part) const {
    double rank = part * static_cast<double>(count()), before = 0;
    for (size_t i = 0; i < buckets.size(); ++i) {
      auto here = static_cast<double>(buckets[i]);
      if (here == 0 || before + here < rank) {
        before += here;
        continue;
      }
      int64_t low = i == 0 ? 0 : kBucketBoundsUs[i - 1];
      int64_t high = i == kBucketBoundsUs.size() ? max_us : kBucketBoundsUs[i];
      double at =
          static_cast<double>(low) + static_cast<double>(high - low) * (rank - before) / here;
      return std::clamp(at, static_cast<double>(min_us), static_cast<double>(max_us));
    }
    return 0;
  }
};

class Histogram {
 public:
  // So many things took `us` each. Negative durations count as 0.
  void note(int64_t us, uint64_t count = 1) {
    us = std::max<int64_t>(us, 0);
    size_t bucket = 0;
    while (bucket < kBucketBoundsUs.size() && us > kBucketBoundsUs[bucket]) ++bucket;
    buckets_[bucket].fetch_add(count, std::memory_order_relaxed);
    sum_us_.fetch_add(us * static_cast<int64_t>(count), std::memory_order_relaxed);
    int64_t low = min_us_.load(std::memory_order_relaxed);
    while (us < low && !min_us_.compare_exchange_weak(low, us, std::memory_order_relaxed)) {
    }
    int64_t high = max_us_.load(std::memory_order_relaxed);
    while (us > high && !max_us_.compare_exchange_weak(high, us, std::memory_order_relaxed)) {
    }
  }

  Durations durations() const {
    Durations copy;
    for (size_t i = 0; i < buckets_.size(); ++i) {
      copy.buckets[i] = buckets_[i].load(std::memory_order_relaxed);
    }
    if (copy.count() == 0) return copy;
    copy.sum_us = sum_us_.load(std::memory_order_relaxed);
    copy.min_us = min_us_.load(std::memory_order_relaxed);
    copy.max_us = max_us_.load(std::memory_order_relaxed);
    return copy;
  }

  void reset() {
    for (std::atomic<uint64_t>& bucket : buckets_) bucket.store(0, std::memory_order_relaxed);
    sum_us_.store(0, std::memory_order_relaxed);
    min_us_.store(INT64_MAX, std::memory_order_relaxed);
    max_us_.store(0, std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<uint64_t>, kBucketBoundsUs.size() + 1> buckets_ = {};
  std::atomic<int64_t> sum_us_{0}, min_us_{INT64_MAX}, max_us_{0};
};

}  // namespace zabfs::consensus
