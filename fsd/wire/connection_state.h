// The state of one client connection, without its socket: its phase, its client, the requests that
// wait, the output, and the memory of all that.
//
// `Connection` has the socket and the mutex. It gives out the state together with its mutex
// (`Connection::lock`). The state decides, and the caller acts on the decision:
//
//   may_read_on    reading pauses while the connection has enough under way; `may_resume` says
//                  when it goes on, and gives that answer once
//   drain          answers what waits, in order, as far as it may
//   can_drain      reads were put off for want of room, and there is room now
//   sweep          once a second: whether the connection is to be closed
//   count          tells the budget of all clients what this one holds
//
// A connection goes through the phases in their order. It may skip some, and at any time it may be
// closed (`close`). From then on nothing is read, answered or sent. The budget still counts its
// requests until `release`, and nothing else of it.
//
// Example of a client that is slow to read:
//   1. It sends many reads. Their answers fill the socket, and 1 MiB of them is unsent.
//   2. `may_read_on` says no. The thread that reads this connection leaves it.
//   3. The client reads. `send` empties the output, and `may_resume` says yes, once. Whichever
//   thread
//      has called `send` hands the connection back to its own thread.
//
// Limits: kMaxOutBytes of unsent events, and of answers that can't be put off. The caller cuts the
// connection off beyond them. The limits in time are those of `sweep`.
//
// Threading: under its connection's mutex, but for `counted_bytes`. Pure: time comes from the
// caller.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "fsd/wire/budget.h"
#include "fsd/wire/out_buffer.h"
#include "fsd/wire/request_queue.h"
#include "fsd/wire/sasl.h"
#include "fsd/wire/stats.h"
#include "tree/acl.h"
#include "tree/types.h"

namespace zabfs::fsd::wire {

// Waiting for a client that doesn't read: the largest answer is within it.
inline constexpr size_t kMaxOutBytes = 2 * tree::kMaxRequestBytes;

enum class Phase {
  kHello,       // nothing was understood yet
  kConnecting,  // the session is being opened or found; nothing is read
  kOpen,
  kOver,  // nothing more is read; closed once all is sent
};

// The client of a connection.
struct Client {
  tree::SessionId session;
  int32_t timeout_ms = 0;
  bool is_read_only = false;  // no leader was known here: reads alone
  tree::Identities identities;
  std::optional<DigestMd5> sasl;  // an exchange under way
};

class ConnectionState {
 public:
  enum class Drained {
    kAll,      // all that may be answered now
    kTooMuch,  // answers that can't be put off are more than clients may hold: cut it off
    kOver,     // the answer to a read ended the connection
  };
  enum class Finding {
    kFine,
    kSaysNothing,
    kReadsNothing,  // though it is over, and has only its last answers to read
    kInTheWay,      // it holds much and does not move, and clients have had too much for a while
  };

  // `is_sealed`: with TLS.
  ConnectionState(Budget& budget, ServerStats& server_stats, tree::Identities identities,
                  bool is_sealed);

  Client& client() { return client_; }
  const Client& client() const { return client_; }
  RequestQueue& requests() { return requests_; }
  const RequestQueue& requests() const { return requests_; }
  OutBuffer& out() { return out_; }
  const OutBuffer& out() const { return out_; }
  ConnectionStats& stats() { return stats_; }
  const ConnectionStats& stats() const { return stats_; }

  // ---- phases
  Phase phase() const { return phase_; }
  void begin_connecting() { phase_ = Phase::kConnecting; }
  void open(tree::SessionId session, int32_t timeout_ms);
  void end() { phase_ = Phase::kOver; }
  bool is_closed() const { return is_closed_; }
  // Neither closed nor over.
  bool is_live() const { return !is_closed_ && phase_ != Phase::kOver; }
  // False: it was closed before.
  bool close();
  // Forgets all that it holds. It is closed then, and no thread will add to it.
  void release();

  // ---- requests in
  void note_received(tree::OpCode type, int32_t xid);
  // So many of them were put back, and will be received again.
  void take_back_received(size_t count);
  // A whole request or some bytes of an answer have passed.
  void note_moved() { has_moved_ = true; }
  bool can_take_more() const { return requests_.has_room(out_.unsent()); }
  // Whether the connection is to be read from now, and holds `in_bytes` of what was read. False:
  // not now, or not any more.
  bool may_read_on(size_t in_bytes);
  // Whether reading goes on that had to pause.
  bool may_resume();
  // Its client may be alive though nothing is heard of it: its pings may lie behind requests that
  // this server is too slow for, or that wait until the client has taken the answers before them.
  bool may_be_unheard() const;

  // ---- answers out
  // Hands out the answers that are next, and answers the reads behind them: those see the state
  // that the write before them made. `answer_read(request)` appends an answer to `out`. False: the
  // connection is closed by it.
  template <class AnswerRead>
  Drained drain(Clock::time_point now, const AnswerRead& answer_read);
  bool can_drain() const { return requests_.is_stalled() && out_.unsent() < kPauseOutBytes; }
  // An answer of so many bytes was appended to `out`.
  void note_answer_bytes(size_t bytes) { server_stats_.note_answer_bytes(bytes); }
  // So many reads of a kind took so long, one after the other.
  void note_times(tree::OpCode type, Clock::duration each, size_t count);
  // So many reads that nothing waited before were answered, from the tree at `zxid`.
  void note_reads(size_t count, tree::Zxid zxid, Clock::time_point now);
  // Whether the socket is full, and bytes go on being sent once it is not.
  bool awaits_socket() const { return awaits_socket_; }
  void set_awaits_socket(bool awaits) { awaits_socket_ = awaits; }

  // ---- room
  // Whether events are more than may wait for a client.
  bool has_too_much_unsent() const { return out_.unsent() > kMaxOutBytes; }
  // Tells the budget what it holds now.
  void count();
  // The bytes that the budget counts for it now. Any thread.
  size_t counted_bytes() const { return counted_bytes_.load(std::memory_order_relaxed); }
  // Once a second. `age`: since it was accepted. `is_short_for_long`: clients have had too much for
  // kMaxSweepsShort seconds.
  Finding sweep(Clock::duration age, bool is_short_for_long);
  // For how many sweeps nothing has moved.
  int sweeps_stuck() const { return sweeps_stuck_; }

 private:
  size_t held_bytes() const { return out_.held_bytes() + in_bytes_ + requests_.bytes(); }
  void note_answer(const WaitingRequest& request, Clock::time_point now);

  Budget& budget_;
  ServerStats& server_stats_;
  Phase phase_ = Phase::kHello;
  bool is_closed_ = false;
  bool is_paused_ = false;
  bool awaits_socket_ = false;
  OutBuffer out_;
  RequestQueue requests_;
  size_t in_bytes_ = 0;  // of what was read and not taken, when last looked at
  Client client_;
  ConnectionStats stats_;
  bool has_moved_ = false;  // since the last sweep
  int sweeps_stuck_ = 0;    // for how long nothing has moved
  int sweeps_over_ = 0;     // how long it has been kOver, and still has something to read
  std::atomic<size_t> counted_bytes_{0};
};

// Of a connection that was accepted, until it says what it is.
inline constexpr auto kHelloTime = std::chrono::seconds(10);
// So many seconds of being short of room; then those in the way are cut off.
inline constexpr int kMaxSweepsShort = 5;
// So many seconds for the last answers.
inline constexpr int kMaxSweepsOver = 10;

template <class AnswerRead>
ConnectionState::Drained ConnectionState::drain(Clock::time_point now,
                                                const AnswerRead& answer_read) {
  using Next = RequestQueue::Next;
  requests_.begin_turn();
  while (!is_closed_) {
    Next next = requests_.next(out_.unsent());
    if (next == Next::kNothing || next == Next::kPutOff) break;
    const WaitingRequest& request = requests_.front();
    if (next == Next::kReadRegardless) {
      count();
      if (has_too_much_unsent() || budget_.is_exceeded()) return Drained::kTooMuch;
    }
    if (next == Next::kHandOut) {
      out_.plain() += request.bytes;
      note_answer_bytes(request.bytes.size());
    } else if (!answer_read(request)) {
      return Drained::kOver;
    }
    note_answer(request, now);
    requests_.pop();
  }
  count();
  return Drained::kAll;
}

}  // namespace zabfs::fsd::wire
