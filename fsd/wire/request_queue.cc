#include "fsd/wire/request_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "fsd/wire/messages.h"
#include "fsd/wire/reads.h"

namespace zabfs::fsd::wire {

bool RequestQueue::has_room(size_t unsent) const {
  return !is_stalled_ && waiting_.size() < kMaxUnanswered && bytes_ < kMaxUnansweredBytes &&
         unsent < kPauseOutBytes &&
         budget_.may_take_more({waiting_.size(), bytes_, bytes_ + unsent});
}

RequestQueue::Arrival RequestQueue::arrival(tree::OpCode type) const {
  if (is_stalled_) return Arrival::kNotNow;
  return is_read(type) && waiting_.empty() ? Arrival::kAnswered : Arrival::kQueued;
}

RequestQueue::Number RequestQueue::add(WaitingRequest request) {
  Number number = first_ + waiting_.size();
  bytes_ += request.held_bytes;
  budget_.begin_request(request.held_bytes);
  waiting_.push_back(std::move(request));
  return number;
}

bool RequestQueue::answer(Number number, std::string bytes) {
  if (number < first_ || number - first_ >= waiting_.size()) return false;
  WaitingRequest& request = waiting_[number - first_];
  request.is_answered = true;
  request.bytes = std::move(bytes);
  size_t before =
      std::exchange(request.held_bytes, sizeof(WaitingRequest) + request.bytes.capacity());
  bytes_ += request.held_bytes - before;
  budget_.end_requests(0, before - request.held_bytes);
  return true;
}

void RequestQueue::begin_turn() { is_stalled_ = had_long_read_ = false; }

RequestQueue::Next RequestQueue::next(size_t unsent) {
  if (waiting_.empty()) return Next::kNothing;
  if (front().is_answered) return Next::kHandOut;
  if (!is_read(front().type)) return Next::kNothing;
  bool is_full = unsent >= kPauseOutBytes;
  is_stalled_ = (is_full || had_long_read_) && !has_write_behind();
  if (is_stalled_) return Next::kPutOff;
  return is_full ? Next::kReadRegardless : Next::kRead;
}

bool RequestQueue::has_write_behind() const {
  return std::any_of(std::next(waiting_.begin()), waiting_.end(),
                     [](const WaitingRequest& request) { return !is_read(request.type); });
}

void RequestQueue::pop() {
  if (!front().is_answered) had_long_read_ = is_long(front().type);
  bytes_ -= front().held_bytes;
  budget_.end_requests(1, front().held_bytes);
  waiting_.pop_front();
  ++first_;
}

void RequestQueue::clear() {
  budget_.end_requests(waiting_.size(), bytes_);
  first_ += waiting_.size();
  waiting_ = {};
  bytes_ = 0;
}

}  // namespace zabfs::fsd::wire
