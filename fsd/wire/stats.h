// Figures of the server and of each connection, for `srvr`, `cons` and the like.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "tree/request.h"
#include "tree/types.h"

namespace zabfs::fsd::wire {

// Of all connections together. Thread-safe; figures that belong together may be read apart.
struct ServerStats {
  std::atomic<uint64_t> received{0}, sent{0};
  std::atomic<int64_t> latency_ms_sum{0}, latency_ms_min{INT64_MAX}, latency_ms_max{0};
  std::atomic<uint64_t> latency_count{0};
  void note_latency(int64_t ms);
  void reset();
};

// Of one connection; under its mutex.
struct ConnectionStats {
  uint64_t received = 0, sent = 0;
  tree::OpCode last_op = tree::OpCode::kNotification;
  int32_t last_cxid = -1;
  tree::Zxid last_zxid;
  std::chrono::steady_clock::time_point last_answer;
  int64_t latency_ms_sum = 0, latency_ms_min = INT64_MAX, latency_ms_max = 0, last_latency_ms = 0;

  void note_received(tree::OpCode type, int32_t cxid);
  // Reads that were answered at once: their latency is none.
  void note_reads(size_t count, tree::Zxid zxid, std::chrono::steady_clock::time_point now);
  // A request that has waited.
  void note_answer(int64_t latency_ms, std::chrono::steady_clock::time_point now);
};

}  // namespace zabfs::fsd::wire
