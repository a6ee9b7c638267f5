// The requests of one connection that wait for their answers, in the order in which the client sent
// them, and the rules which of them may be answered now.
//
// A write waits until it is committed and applied here. A read waits if another request waits
// before it; else it is answered at once and never gets here. The rules:
//
//   1. Answers leave in the order of the requests. Only the first request can be answered.
//   2. A read shows the state that the write before it has made. The replica's strand answers it
//      between that write and the next one.
//   3. A client that doesn't read its answers is given no more of them: a read is put off while
//      kPauseOutBytes are unsent.
//   4. Connections take turns with long reads (is_long): after one of them, the next read is put
//      off as well.
//   5. But a read is never put off while a write of the same client waits behind it.
//   6. While a read is put off (`is_stalled`), no request is taken from this client, since that
//      could be a write.
//
// Rules 5 and 6 keep one promise: a read never shows a later write of its own client. Without rule
// 5 it would be broken like this:
//   1. The client sends write A, read R and write B, and reads no answers.
//   2. A is applied. There is no room for the answer to R, and R is put off.
//   3. B is applied.
//   4. The client reads its answers. Now R is answered, and shows B.
// With rule 5, R is answered in step 2, without room. Such answers have a limit of their own: the
// connection is cut off where they become too many (connection_state.h).
//
// The answers are handed out in turns:
//
//     queue.begin_turn();
//     while (...) switch (queue.next(out.unsent())) {...; queue.pop();}
//
// The queue tells the budget of all clients what its requests hold.
//
// Limits: kMaxUnanswered requests and kMaxUnansweredBytes; the caller asks `has_room` before it
// takes the next request, and so the last one may go beyond.
//
// Threading: under its connection's mutex. Pure.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "fsd/wire/budget.h"
#include "tree/request.h"

namespace zabfs::fsd::wire {

using Clock = std::chrono::steady_clock;

inline constexpr size_t kMaxUnanswered = 4'096;          // requests; then no more are read
inline constexpr size_t kMaxUnansweredBytes = 8u << 20;  // of them; the last may go beyond
inline constexpr size_t kPauseOutBytes = 1u << 20;       // unsent; then no more is read or answered

struct WaitingRequest {
  int32_t xid = 0;
  tree::OpCode type = tree::OpCode::kNotification;
  bool is_answered = false;  // a write: `bytes` is its answer
  // By the request, here and on its way to the tree. A read's answer is counted before it is made.
  size_t held_bytes = 0;
  std::string bytes;  // a read's body, or a write's answer once there is one
  Clock::time_point since;
};

class RequestQueue {
 public:
  using Number = uint64_t;  // of a request, in order of arrival

  // The way of a request that arrives now.
  enum class Arrival {
    kNotNow,    // it is to stay where it is until the queue is not stalled any more
    kAnswered,  // it is a read and nothing waits before it: the tree answers it at once
    kQueued,    // it waits; or it is refused, as the caller sees fit
  };
  // The next step with the first request.
  enum class Next {
    kNothing,         // there is none, or it is a write without its answer
    kHandOut,         // its answer is there
    kRead,            // it is a read, to be answered now
    kReadRegardless,  // so is it, and there is no room; but a write waits behind it
    kPutOff,          // it is a read, and waits for room or for others' turns
  };

  explicit RequestQueue(Budget& budget) : budget_(budget) {}
  RequestQueue(const RequestQueue&) = delete;
  RequestQueue& operator=(const RequestQueue&) = delete;

  bool is_empty() const { return waiting_.empty(); }
  size_t size() const { return waiting_.size(); }
  size_t bytes() const { return bytes_; }  // held by all that wait
  bool is_stalled() const { return is_stalled_; }
  // Whether one more request may be taken, with so many bytes of answers unsent.
  bool has_room(size_t unsent) const;

  Arrival arrival(tree::OpCode type) const;
  Number add(WaitingRequest request);
  // The answer to a write. False: that request does not wait any more.
  bool answer(Number number, std::string bytes);

  void begin_turn();
  Next next(size_t unsent);
  const WaitingRequest& front() const { return waiting_.front(); }
  // The first request has its answer.
  void pop();

  void clear();

 private:
  bool has_write_behind() const;

  Budget& budget_;
  std::deque<WaitingRequest> waiting_;
  Number first_ = 0;  // the number of waiting_.front()
  size_t bytes_ = 0;
  bool is_stalled_ = false;     // the first request is a read that was put off
  bool had_long_read_ = false;  // the last read of this turn was a long one
};

}  // namespace zabfs::fsd::wire
