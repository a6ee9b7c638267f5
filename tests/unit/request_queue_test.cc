#include "fsd/wire/request_queue.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace zabfs::fsd::wire {
namespace {

using tree::OpCode;
using Arrival = RequestQueue::Arrival;
using Next = RequestQueue::Next;

constexpr size_t kNoRoom = kPauseOutBytes;  // unsent

class RequestQueueTest : public testing::Test {
 protected:
  RequestQueue::Number add(OpCode type, size_t held_bytes = 100) {
    WaitingRequest request;
    request.xid = ++xid_;
    request.type = type;
    request.held_bytes = held_bytes;
    return queue_.add(std::move(request));
  }
  RequestQueue::Number add_write() { return add(OpCode::kSetData); }
  void add_read() { add(OpCode::kGetData); }
  void add_long_read() { add(OpCode::kMultiRead); }

  // One turn, with so many bytes unsent: the xids of those that are answered.
  std::vector<int32_t> turn(size_t unsent = 0) {
    std::vector<int32_t> answered;
    queue_.begin_turn();
    for (Next next = queue_.next(unsent); next != Next::kNothing && next != Next::kPutOff;
         next = queue_.next(unsent)) {
      answered.push_back(queue_.front().xid);
      queue_.pop();
    }
    return answered;
  }
  using Xids = std::vector<int32_t>;

  Budget budget_{size_t{1} << 30, {1'000'000, size_t{1} << 30, 0}};
  RequestQueue queue_{budget_};
  int32_t xid_ = 0;
};

TEST_F(RequestQueueTest, AReadIsAnsweredAtOnceIfNothingWaitsBeforeIt) {
  EXPECT_EQ(queue_.arrival(OpCode::kGetData), Arrival::kAnswered);
  EXPECT_EQ(queue_.arrival(OpCode::kSetData), Arrival::kQueued);
  add_write();
  EXPECT_EQ(queue_.arrival(OpCode::kGetData), Arrival::kQueued);
}

TEST_F(RequestQueueTest, AnswersLeaveInTheOrderOfTheRequests) {
  RequestQueue::Number first = add_write(), second = add_write();
  add_read();
  EXPECT_TRUE(queue_.answer(second, "second"));
  EXPECT_EQ(turn(), Xids{});
  EXPECT_TRUE(queue_.answer(first, "first"));
  EXPECT_EQ(turn(), (Xids{1, 2, 3}));
}

TEST_F(RequestQueueTest, AReadIsAnsweredBetweenTheWriteBeforeItAndTheOneBehindIt) {
  RequestQueue::Number before = add_write();
  add_read();
  RequestQueue::Number behind = add_write();
  add_read();
  EXPECT_EQ(turn(), Xids{});
  queue_.answer(before, "");
  EXPECT_EQ(turn(), (Xids{1, 2}));
  queue_.answer(behind, "");
  EXPECT_EQ(turn(), (Xids{3, 4}));
}

TEST_F(RequestQueueTest, AReadIsPutOffWhileThereIsNoRoomForItsAnswer) {
  add_read();
  queue_.begin_turn();
  EXPECT_EQ(queue_.next(kNoRoom), Next::kPutOff);
  EXPECT_TRUE(queue_.is_stalled());
  EXPECT_EQ(turn(kNoRoom - 1), Xids{1});
  EXPECT_FALSE(queue_.is_stalled());
}

TEST_F(RequestQueueTest, AnAnswerThatIsThereIsHandedOutWhateverTheRoom) {
  queue_.answer(add_write(), "");
  add_read();
  EXPECT_EQ(turn(kNoRoom), Xids{1});
  EXPECT_TRUE(queue_.is_stalled());
}

TEST_F(RequestQueueTest, AReadIsNeverPutOffWhileAWriteOfItsClientWaitsBehindIt) {
  RequestQueue::Number before = add_write();
  add_read();
  add_read();
  add_write();
  add_read();
  queue_.answer(before, "");
  queue_.begin_turn();
  queue_.next(kNoRoom);
  queue_.pop();
  EXPECT_EQ(queue_.next(kNoRoom), Next::kReadRegardless);
  EXPECT_EQ(turn(kNoRoom), (Xids{2, 3}));
  EXPECT_FALSE(queue_.is_stalled());
}

TEST_F(RequestQueueTest, WhileAReadIsPutOffNoRequestIsTaken) {
  add_read();
  turn(kNoRoom);
  EXPECT_EQ(queue_.arrival(OpCode::kSetData), Arrival::kNotNow);
  EXPECT_EQ(queue_.arrival(OpCode::kGetData), Arrival::kNotNow);
  EXPECT_FALSE(queue_.has_room(0));
  turn();
  EXPECT_EQ(queue_.arrival(OpCode::kSetData), Arrival::kQueued);
  EXPECT_TRUE(queue_.has_room(0));
}

TEST_F(RequestQueueTest, AfterALongReadTheNextOneWaitsForOthersTurns) {
  add_long_read();
  add_long_read();
  add_read();
  EXPECT_EQ(turn(), Xids{1});
  EXPECT_TRUE(queue_.is_stalled());
  EXPECT_EQ(turn(), Xids{2});
  EXPECT_EQ(turn(), Xids{3});
}

TEST_F(RequestQueueTest, ALongReadTakesNoTurnsWhileAWriteWaitsBehindIt) {
  add_long_read();
  add_long_read();
  add_write();
  EXPECT_EQ(turn(), (Xids{1, 2}));
}

TEST_F(RequestQueueTest, AnAnswerToWhatDoesNotWaitAnyMoreIsNone) {
  RequestQueue::Number number = add_write();
  EXPECT_TRUE(queue_.answer(number, ""));
  turn();
  EXPECT_FALSE(queue_.answer(number, ""));
  number = add_write();
  queue_.clear();
  EXPECT_FALSE(queue_.answer(number, ""));
  add_write();
  EXPECT_FALSE(queue_.answer(number, ""));  // its number is not given again
}

TEST_F(RequestQueueTest, ItHasRoomForSoManyRequestsAndBytesAndUnsentAnswers) {
  EXPECT_TRUE(queue_.has_room(kPauseOutBytes - 1));
  EXPECT_FALSE(queue_.has_room(kPauseOutBytes));
  add(OpCode::kSetData, kMaxUnansweredBytes - 1);
  EXPECT_TRUE(queue_.has_room(0));
  add(OpCode::kSetData, 1);
  EXPECT_FALSE(queue_.has_room(0));
  queue_.clear();
  for (size_t i = 0; i < kMaxUnanswered; ++i) {
    EXPECT_TRUE(queue_.has_room(0));
    add(OpCode::kSetData, 0);
  }
  EXPECT_FALSE(queue_.has_room(0));
}

TEST_F(RequestQueueTest, TheBudgetKnowsWhatWaits) {
  Budget tight(size_t{1} << 30, {1'000'000, 1'000, 0});
  tight.enter();
  RequestQueue queue(tight), other(tight);
  WaitingRequest request;
  request.held_bytes = 2'000;
  request.type = OpCode::kSetData;
  RequestQueue::Number number = queue.add(request);
  EXPECT_EQ(tight.requests(), 1u);
  EXPECT_EQ(queue.bytes(), 2'000u);
  EXPECT_FALSE(queue.has_room(0));  // more than its share, and all together are busy
  EXPECT_TRUE(other.has_room(0));
  queue.answer(number, "answer");  // counts as what it holds from now on
  EXPECT_LT(queue.bytes(), 500u);
  EXPECT_TRUE(queue.has_room(0));
  EXPECT_TRUE(tight.may_take_more({1, 2'000, 0}));  // nor is the ensemble busy any more
  queue.begin_turn();
  queue.pop();
  queue.add(request);
  queue.clear();
  EXPECT_EQ(tight.requests(), 0u);
  EXPECT_EQ(queue.bytes(), 0u);
}

}  // namespace
}  // namespace zabfs::fsd::wire
