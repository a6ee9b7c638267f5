// The memory that all clients together make this node hold, and its limit: requests that arrive and
// that are under way, and answers and events that wait to be collected.
//
// While it is short of room, a connection that has more under way than its share is not read from
// until it has less; one that has little goes on as ever. If that is not enough, the connection
// that holds the most, and has moved least, is cut off (Sweeper::relieve): `on_exceeded` is
// called for that. It may be called under a connection's mutex, so it only starts the relief.
// Thread-safe.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <functional>
#include <utility>

namespace zabfs::fsd::wire {

class Budget {
 public:
  // Of one connection, or of all of them.
  struct UnderWay {
    size_t requests = 0;
    size_t request_bytes = 0;
    size_t bytes = 0;  // those, and the answers that wait
  };

  // `busy`: so many requests, and bytes of them, are enough for the ensemble to work on.
  Budget(size_t limit_bytes, UnderWay busy, std::function<void()> on_exceeded = {})
      : limit_bytes_(limit_bytes), busy_(busy), on_exceeded_(std::move(on_exceeded)) {}

  void enter() { connections_.fetch_add(1, std::memory_order_relaxed); }
  void leave() { connections_.fetch_sub(1, std::memory_order_relaxed); }
  // All that one connection holds: it was `before` when it was told last.
  void hold(size_t before, size_t now) {
    held_bytes_.fetch_add(now - before, std::memory_order_relaxed);
    if (now > before && is_exceeded() && on_exceeded_ && !is_relieving_.exchange(true)) {
      on_exceeded_();
    }
  }
  // The relief begins now. `on_exceeded` is called again if it is not enough.
  void begin_relief() { is_relieving_ = false; }
  void begin_request(size_t bytes) {
    requests_.fetch_add(1, std::memory_order_relaxed);
    request_bytes_.fetch_add(bytes, std::memory_order_relaxed);
  }
  void end_requests(size_t count, size_t bytes) {
    requests_.fetch_sub(count, std::memory_order_relaxed);
    request_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
  }

  bool may_take_more(const UnderWay& own) const {
    size_t parts = shares();
    if (is_short() && own.bytes > limit_bytes_ / parts) return false;
    if (requests() > busy_.requests && own.requests > busy_.requests / parts) return false;
    bool busy = request_bytes_.load(std::memory_order_relaxed) > busy_.request_bytes;
    return !busy || own.request_bytes <= busy_.request_bytes / parts;
  }

  bool is_short() const { return held_bytes() > limit_bytes_; }
  bool is_exceeded() const { return held_bytes() > limit_bytes_ + limit_bytes_ / 4; }
  size_t limit_bytes() const { return limit_bytes_; }
  size_t held_bytes() const { return held_bytes_.load(std::memory_order_relaxed); }
  size_t requests() const { return requests_.load(std::memory_order_relaxed); }
  // A connection that holds no more than that is not cut off for it. An idle connection keeps less.
  // When all together hold too much, at least one holds more than that.
  size_t least_to_cut() const { return std::clamp(kSmallBytes, share(), 2 * share()); }
  // The memory that a connection keeps in an empty buffer.
  size_t kept_bytes() const { return std::min(kSmallBytes, share() / 4); }

 private:
  static constexpr size_t kSmallBytes = 64u << 10;

  size_t share() const { return limit_bytes_ / shares(); }
  // Half of it is shared out: there is an end even when all use theirs.
  size_t shares() const {
    return 2 * std::max<size_t>(1, connections_.load(std::memory_order_relaxed));
  }

  const size_t limit_bytes_;
  const UnderWay busy_;
  const std::function<void()> on_exceeded_;
  std::atomic<bool> is_relieving_{false};
  std::atomic<size_t> connections_{0}, held_bytes_{0}, requests_{0}, request_bytes_{0};
};

}  // namespace zabfs::fsd::wire
