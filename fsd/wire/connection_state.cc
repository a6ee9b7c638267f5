#include "fsd/wire/connection_state.h"

#include <utility>

namespace zabfs::fsd::wire {

ConnectionState::ConnectionState(Budget& budget, ServerStats& server_stats,
                                 tree::Identities identities, bool is_sealed)
    : budget_(budget), server_stats_(server_stats), out_(is_sealed), requests_(budget) {
  client_.identities = std::move(identities);
}

void ConnectionState::open(tree::SessionId session, int32_t timeout_ms) {
  client_.session = session;
  client_.timeout_ms = timeout_ms;
  phase_ = Phase::kOpen;
}

bool ConnectionState::close() {
  if (std::exchange(is_closed_, true)) return false;
  budget_.hold(counted_bytes_.exchange(0), 0);
  return true;
}

void ConnectionState::release() {
  close();
  requests_.clear();
  out_.clear();
}

void ConnectionState::note_received(tree::OpCode type, int32_t xid) {
  ++server_stats_.received;
  stats_.note_received(type, xid);
}

void ConnectionState::take_back_received(size_t count) {
  server_stats_.received -= count;
  stats_.received -= count;
}

bool ConnectionState::may_read_on(size_t in_bytes) {
  if (!is_live()) return false;
  in_bytes_ = in_bytes;
  count();
  is_paused_ = phase_ == Phase::kConnecting || !can_take_more();
  return !is_paused_;
}

bool ConnectionState::may_resume() {
  if (!is_paused_ || phase_ != Phase::kOpen || !can_take_more()) return false;
  is_paused_ = false;
  return true;
}

bool ConnectionState::may_be_unheard() const {
  bool takes = has_moved_ || sweeps_stuck_ == 0;
  return is_paused_ && (takes || !requests_.is_empty());
}

void ConnectionState::note_reads(size_t count, tree::Zxid zxid, Clock::time_point now) {
  server_stats_.sent += count;
  stats_.note_reads(count, zxid, now);
}

void ConnectionState::note_times(tree::OpCode type, Clock::duration each, size_t count) {
  int64_t us = std::chrono::duration_cast<std::chrono::microseconds>(each).count();
  server_stats_.times.note(type, us, count);
}

void ConnectionState::note_answer(const WaitingRequest& request, Clock::time_point now) {
  int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - request.since).count();
  server_stats_.note_latency(ms);
  note_times(request.type, now - request.since, 1);
  ++server_stats_.sent;
  stats_.note_answer(ms, now);
}

void ConnectionState::count() {
  if (is_closed_) return;
  size_t now = held_bytes();
  size_t before = counted_bytes();
  if (now == before) return;
  counted_bytes_.store(now, std::memory_order_relaxed);
  budget_.hold(before, now);
}

ConnectionState::Finding ConnectionState::sweep(Clock::duration age, bool is_short_for_long) {
  if (is_closed_) return Finding::kFine;
  sweeps_stuck_ = std::exchange(has_moved_, false) ? 0 : sweeps_stuck_ + 1;
  if (phase_ == Phase::kHello && age > kHelloTime) return Finding::kSaysNothing;
  if (phase_ == Phase::kOver && ++sweeps_over_ > kMaxSweepsOver) return Finding::kReadsNothing;
  bool is_in_the_way = sweeps_stuck_ > kMaxSweepsShort && counted_bytes() > budget_.least_to_cut();
  return is_short_for_long && is_in_the_way ? Finding::kInTheWay : Finding::kFine;
}

}  // namespace zabfs::fsd::wire
