// Figures of the server and of each connection, for `srvr`, `cons` and the like.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "fsd/wire/request_times.h"
#include "tree/request.h"
#include "tree/types.h"

namespace zabfs::fsd::wire {

// Of all connections together. Thread-safe; figures that belong together may be read apart.
struct ServerStats {
  std::atomic<uint64_t> received{0}, sent{0};
  std::atomic<int64_t> latency_ms_sum{0}, latency_ms_min{INT64_MAX}, latency_ms_max{0};
  std::atomic<uint64_t> latency_count{0};
  RequestTimes times;
  std::atomic<uint64_t> received_bytes{0}, sent_bytes{0};
  std::atomic<uint64_t> connects{0};  // requests for a session
  std::atomic<uint64_t> auth_failures{0}, too_long{0};
  // Connections that there was no room for, that this server ended with a reason, and of these
  // those that said nothing.
  std::atomic<uint64_t> refused{0}, dropped{0}, silent{0};
  // Of answers, in bytes; -1: there was none.
  std::atomic<int64_t> answer_last{-1}, answer_min{-1}, answer_max{-1};

  void note_latency(int64_t ms);
  void note_answer_bytes(size_t bytes);
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
