#include "fsd/wire/stats.h"

#include <algorithm>

namespace zabfs::fsd::wire {

void ServerStats::note_latency(int64_t ms) {
  latency_ms_sum += ms;
  ++latency_count;
  int64_t low = latency_ms_min, high = latency_ms_max;
  while (ms < low && !latency_ms_min.compare_exchange_weak(low, ms)) {
  }
  while (ms > high && !latency_ms_max.compare_exchange_weak(high, ms)) {
  }
}

// Two threads may overwrite each other's: the figure is then that of the one or the other.
void ServerStats::note_answer_bytes(size_t size) {
  auto bytes = static_cast<int64_t>(size);
  answer_last.store(bytes, std::memory_order_relaxed);
  int64_t low = answer_min.load(std::memory_order_relaxed);
  if (low < 0 || bytes < low) answer_min.store(bytes, std::memory_order_relaxed);
  if (bytes > answer_max.load(std::memory_order_relaxed)) {
    answer_max.store(bytes, std::memory_order_relaxed);
  }
}

void ServerStats::reset() {
  received = sent = latency_count = 0;
  latency_ms_sum = latency_ms_max = 0;
  latency_ms_min = INT64_MAX;
  answer_last = answer_min = answer_max = -1;
}

void ConnectionStats::note_received(tree::OpCode type, int32_t cxid) {
  ++received;
  last_op = type;
  last_cxid = cxid;
}

void ConnectionStats::note_reads(size_t count, tree::Zxid zxid,
                                 std::chrono::steady_clock::time_point now) {
  sent += count;
  last_answer = now;
  last_zxid = zxid;
}

void ConnectionStats::note_answer(int64_t latency_ms, std::chrono::steady_clock::time_point now) {
  ++sent;
  last_latency_ms = latency_ms;
  last_answer = now;
  latency_ms_sum += latency_ms;
  latency_ms_min = std::min(latency_ms_min, latency_ms);
  latency_ms_max = std::max(latency_ms_max, latency_ms);
}

}  // namespace zabfs::fsd::wire
