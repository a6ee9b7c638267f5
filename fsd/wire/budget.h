// What all clients together make this node hold for them, and when that is too much: requests that
// arrive and that are under way, and answers and events that wait to be collected.
//
// While it is short of room, a connection that has more under way than its share is not read from
// until it has less; one that has little goes on as ever. If that is not enough, the connection
// that holds the most, and has moved least, is cut off (WireServer::relieve). Thread-safe.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>

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
  Budget(size_t limit_bytes, UnderWay busy) : limit_bytes_(limit_bytes), busy_(busy) {}

  void enter() { connections_.fetch_add(1, std::memory_order_relaxed); }
  void leave() { connections_.fetch_sub(1, std::memory_order_relaxed); }
  // All that one connection holds: it was `before` when it was told last.
  void hold(size_t before, size_t now) {
    held_bytes_.fetch_add(now - before, std::memory_order_relaxed);
  }
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
  size_t share() const { return limit_bytes_ / shares(); }

 private:
  // Half of it is shared out: there is an end even when all use theirs.
  size_t shares() const {
    return 2 * std::max<size_t>(1, connections_.load(std::memory_order_relaxed));
  }

  const size_t limit_bytes_;
  const UnderWay busy_;
  std::atomic<size_t> connections_{0}, held_bytes_{0}, requests_{0}, request_bytes_{0};
};

}  // namespace zabfs::fsd::wire
