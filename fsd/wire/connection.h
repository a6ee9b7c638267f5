// One connection of a ZooKeeper client: its bytes, and its requests in order.
//
// Bytes come in on a thread of the wire server, which answers reads itself when nothing of this
// connection waits before them; answers to writes come on the replica's strand, which then answers
// the reads behind them. Whoever has appended to `out` sends it: no thread is woken for an answer.
//
// Locks: the tree's (shared) before a connection's, a connection's before the watch board's.
#pragma once

#include <atomic>
#include <boost/asio/generic/stream_protocol.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "consensus/tls.h"
#include "fsd/wire/budget.h"
#include "fsd/wire/messages.h"
#include "fsd/wire/reads.h"
#include "fsd/wire/sasl.h"
#include "tree/acl.h"

namespace zabfs::fsd::wire {

using Clock = std::chrono::steady_clock;

inline constexpr size_t kMaxUnanswered = 4'096;           // requests; then no more are read
inline constexpr size_t kMaxUnansweredBytes = 8u << 20;   // of them; the last may go beyond
inline constexpr size_t kMaxOutBytes = size_t{64} << 20;  // waiting for a client that doesn't read
inline constexpr size_t kPauseOutBytes = 1u << 20;        // then no more is read or answered

enum class Phase {
  kHello,       // nothing was understood yet
  kConnecting,  // the session is being opened or found
  kOpen,
  kOver,  // nothing more is read; closed once all is sent
};

struct WaitingRequest {
  int32_t xid = 0;
  tree::OpCode type = tree::OpCode::kNotification;
  bool answered = false;
  size_t held_bytes =
      0;              // by it, here and on its way to the tree; a read's answer is in it already
  std::string bytes;  // a read's body, or a write's answer once there is one
  Clock::time_point since;
};

// Figures of one connection, for `cons` and `stat`.
struct ConnectionStats {
  uint64_t received = 0, sent = 0;
  tree::OpCode last_op = tree::OpCode::kNotification;
  int32_t last_cxid = -1;
  tree::Zxid last_zxid;
  Clock::time_point last_answer;
  int64_t latency_ms_sum = 0, latency_ms_min = INT64_MAX, latency_ms_max = 0, last_latency_ms = 0;
};

struct Connection : std::enable_shared_from_this<Connection> {
  using Socket = boost::asio::generic::stream_protocol::socket;

  Connection(Socket accepted, uint64_t id, std::string peer_address, uint16_t peer_port)
      : socket(std::move(accepted)),
        number(id),
        address(std::move(peer_address)),
        port(peer_port),
        since(std::chrono::system_clock::now()),
        since_steady(Clock::now()) {}

  Socket socket;
  const uint64_t number;  // its watcher's, too
  const std::string address;
  const uint16_t port;
  const std::chrono::system_clock::time_point since;
  const Clock::time_point since_steady;
  std::atomic<bool> heard{false};                  // since the session was last reported as alive
  tree::Zxid attachment = tree::kFirstAttachment;  // of the session; on the strand alone

  // On the thread that reads it alone:
  std::string in;
  size_t in_begin = 0;

  mutable std::mutex mutex;  // guards what follows
  Phase phase = Phase::kHello;
  bool dead = false;    // the socket is shut: nothing is sent or read any more
  bool paused = false;  // reading goes on when there is room again
  bool waits_for_room = false;
  bool is_dirty = false;  // on the strand's list of those to send for
  bool stalled = false;   // reads that are next wait for room; until then no request is taken
  int sweeps_over = 0;    // how long it has been kOver, and still has something to read
  int sweeps_stuck = 0;   // for how long no byte and no whole request has passed
  bool moved = false;     // one has since the last sweep
  std::unique_ptr<consensus::TlsSession> tls;
  std::string out;
  size_t out_begin = 0;
  std::string sealed;  // with TLS: what `out` has become
  size_t sealed_begin = 0;
  std::deque<WaitingRequest> waiting;
  uint64_t first_waiting = 0;  // the number of waiting.front()
  size_t waiting_bytes = 0;    // held_bytes of all that wait
  size_t in_bytes = 0;         // of `in`, when last looked at
  tree::SessionId session;
  int32_t timeout_ms = 0;
  bool read_only = false;  // no leader is known here: reads alone
  tree::Identities identities;
  std::optional<DigestMd5> sasl;  // an exchange under way
  ConnectionStats stats;

  // All of what it holds, as the budget was told it; written under the mutex.
  std::atomic<size_t> counted_bytes{0};

  size_t unsent() const { return out.size() - out_begin + sealed.size() - sealed_begin; }
  size_t held() const { return out.capacity() + sealed.capacity() + in_bytes + waiting_bytes; }
  bool can_take_more(const Budget& budget) const {
    return !stalled && waiting.size() < kMaxUnanswered && waiting_bytes < kMaxUnansweredBytes &&
           unsent() < kPauseOutBytes &&
           budget.may_take_more({waiting.size(), waiting_bytes, waiting_bytes + unsent()});
  }
};

using ConnectionPtr = std::shared_ptr<Connection>;

}  // namespace zabfs::fsd::wire
