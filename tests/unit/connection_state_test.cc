#include "fsd/wire/connection_state.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace zabfs::fsd::wire {
namespace {

using namespace std::chrono_literals;
using tree::OpCode;
using Drained = ConnectionState::Drained;
using Finding = ConnectionState::Finding;

class ConnectionStateTest : public testing::Test {
 protected:
  static constexpr size_t kLimit = size_t{100} << 20;

  ConnectionStateTest() {
    budget_.enter();
    state_.open(tree::SessionId{5}, 10'000);
  }

  RequestQueue::Number add(OpCode type) {
    WaitingRequest request;
    request.type = type;
    request.since = now_;
    return state_.requests().add(std::move(request));
  }
  void add_reads(size_t count) {
    for (size_t i = 0; i < count; ++i) add(OpCode::kGetData);
  }
  // Reads are answered with so many bytes each.
  Drained drain(size_t answer_bytes = 1) {
    return state_.drain(now_, [&](const WaitingRequest&) {
      ++reads_answered_;
      state_.out().plain().append(answer_bytes, 'r');
      return true;
    });
  }
  // The client reads what it was sent.
  void send_all() {
    state_.out().sent(state_.out().unsent());
    state_.out().tidy(0);
    state_.count();
  }

  Budget budget_{kLimit, {1'000'000, size_t{1} << 30, 0}, [this] { ++times_exceeded_; }};
  ServerStats server_stats_;
  ConnectionState state_{budget_, server_stats_, {}, false};
  Clock::time_point now_{1h};
  int reads_answered_ = 0;
  int times_exceeded_ = 0;
};

// ---- answers

TEST_F(ConnectionStateTest, AnAnswerGoesOutWithTheReadsBehindIt) {
  RequestQueue::Number write = add(OpCode::kSetData);
  add_reads(2);
  EXPECT_EQ(drain(), Drained::kAll);
  EXPECT_EQ(state_.out().next(), "");
  state_.requests().answer(write, "W");
  EXPECT_EQ(drain(), Drained::kAll);
  EXPECT_EQ(state_.out().next(), "Wrr");
  EXPECT_TRUE(state_.requests().is_empty());
}

TEST_F(ConnectionStateTest, ReadsGoOnOnceTheClientHasTakenTheAnswersBefore) {
  add_reads(3);
  drain(kPauseOutBytes);
  EXPECT_EQ(reads_answered_, 1);
  EXPECT_FALSE(state_.can_drain());
  state_.out().sent(1);
  EXPECT_TRUE(state_.can_drain());
  drain(kPauseOutBytes);
  EXPECT_EQ(reads_answered_, 2);
}

TEST_F(ConnectionStateTest, ReadsThatTakeTurnsGoOnAtTheNextSend) {
  add(OpCode::kMultiRead);
  add(OpCode::kMultiRead);
  drain();
  EXPECT_EQ(reads_answered_, 1);
  EXPECT_TRUE(state_.can_drain());
}

TEST_F(ConnectionStateTest, AnswersThatCanNotBePutOffHaveABound) {
  add_reads(3);
  add(OpCode::kSetData);
  EXPECT_EQ(drain(kMaxOutBytes / 2 + 1), Drained::kTooMuch);
  EXPECT_EQ(reads_answered_, 2);
}

TEST_F(ConnectionStateTest, AnswersThatCanNotBePutOffEndWhereClientsHoldTooMuch) {
  budget_.hold(0, kLimit + kLimit / 4);
  add_reads(70);
  add(OpCode::kSetData);
  EXPECT_EQ(drain(size_t{1} << 20), Drained::kTooMuch);
  EXPECT_EQ(reads_answered_, 1);
}

TEST_F(ConnectionStateTest, NothingIsAnsweredBehindAReadThatEndsTheConnection) {
  add_reads(2);
  Drained drained = state_.drain(now_, [&](const WaitingRequest&) {
    ++reads_answered_;
    state_.close();
    return false;
  });
  EXPECT_EQ(drained, Drained::kOver);
  EXPECT_EQ(drain(), Drained::kAll);
  EXPECT_EQ(reads_answered_, 1);
}

TEST_F(ConnectionStateTest, TheTimeThatARequestHasWaitedIsItsLatency) {
  RequestQueue::Number write = add(OpCode::kSetData);
  now_ += 30ms;
  state_.requests().answer(write, "W");
  drain();
  EXPECT_EQ(state_.stats().last_latency_ms, 30);
  EXPECT_EQ(server_stats_.latency_ms_max, 30);
  EXPECT_EQ(server_stats_.sent, 1u);
}

// ---- reading

TEST_F(ConnectionStateTest, ReadingPausesWhileTheClientDoesNotReadAndGoesOnOnce) {
  EXPECT_TRUE(state_.may_read_on(0));
  EXPECT_FALSE(state_.may_resume());
  state_.out().plain() += std::string(kPauseOutBytes, 'x');
  EXPECT_FALSE(state_.may_read_on(0));
  EXPECT_FALSE(state_.may_resume());
  send_all();
  EXPECT_TRUE(state_.may_resume());
  EXPECT_FALSE(state_.may_resume());
}

TEST_F(ConnectionStateTest, NothingIsReadUntilTheSessionIsThere) {
  ConnectionState state(budget_, server_stats_, {}, false);
  EXPECT_TRUE(state.may_read_on(0));
  state.begin_connecting();
  EXPECT_FALSE(state.may_read_on(0));
  EXPECT_FALSE(state.may_resume());
  state.open(tree::SessionId{6}, 10'000);
  EXPECT_TRUE(state.may_resume());
}

TEST_F(ConnectionStateTest, NothingIsReadOfAConnectionThatIsOver) {
  state_.end();
  EXPECT_FALSE(state_.may_read_on(0));
  EXPECT_FALSE(state_.may_resume());
}

TEST_F(ConnectionStateTest, AClientThatIsNotReadFromMayBeAlive) {
  EXPECT_FALSE(state_.may_be_unheard());  // it is read from: its pings would have been heard
  add(OpCode::kSetData);
  state_.out().plain() += std::string(kPauseOutBytes, 'x');
  state_.may_read_on(0);
  state_.sweep(1h, false);
  EXPECT_TRUE(state_.may_be_unheard());  // this server owes it an answer
  state_.requests().clear();
  EXPECT_FALSE(state_.may_be_unheard());  // it takes nothing
  state_.note_moved();
  EXPECT_TRUE(state_.may_be_unheard());
}

TEST_F(ConnectionStateTest, RequestsThatArePutBackWereNotReceived) {
  for (int xid : {1, 2, 3}) state_.note_received(OpCode::kGetData, xid);
  state_.take_back_received(2);
  EXPECT_EQ(state_.stats().received, 1u);
  EXPECT_EQ(server_stats_.received, 1u);
}

// ---- room

TEST_F(ConnectionStateTest, TheBudgetKnowsAllThatAConnectionHoldsUntilItIsClosed) {
  state_.out().plain() += std::string(1'000'000, 'x');
  state_.may_read_on(500'000);
  EXPECT_GE(budget_.held_bytes(), 1'500'000u);
  EXPECT_EQ(budget_.held_bytes(), state_.counted_bytes());
  EXPECT_TRUE(state_.close());
  EXPECT_FALSE(state_.close());
  EXPECT_EQ(budget_.held_bytes(), 0u);
  state_.out().plain() += std::string(1'000'000, 'x');
  state_.count();
  EXPECT_EQ(budget_.held_bytes(), 0u);
}

TEST_F(ConnectionStateTest, ReliefIsAskedForOnceUntilItBegins) {
  for (size_t i = 1; i <= 3; ++i) state_.may_read_on(i * kLimit);
  EXPECT_EQ(times_exceeded_, 1);
  budget_.begin_relief();
  state_.may_read_on(4 * kLimit);
  EXPECT_EQ(times_exceeded_, 2);
  budget_.begin_relief();
  state_.close();  // less is no reason
  EXPECT_EQ(times_exceeded_, 2);
}

TEST_F(ConnectionStateTest, WhatItHeldIsForgottenWithIt) {
  add(OpCode::kSetData);
  state_.out().plain() += "answer";
  state_.release();
  EXPECT_TRUE(state_.is_closed());
  EXPECT_EQ(budget_.requests(), 0u);
  EXPECT_EQ(state_.out().unsent(), 0u);
}

// ---- sweeps

TEST_F(ConnectionStateTest, WhoDoesNotSayHelloIsClosedAfterAWhile) {
  ConnectionState state(budget_, server_stats_, {}, false);
  EXPECT_EQ(state.sweep(10s, false), Finding::kFine);
  EXPECT_EQ(state.sweep(11s, false), Finding::kSaysNothing);
  EXPECT_EQ(state_.sweep(11s, false), Finding::kFine);  // it has a session
}

TEST_F(ConnectionStateTest, WhoDoesNotReadItsLastAnswersIsClosedAfterAWhile) {
  state_.end();
  for (int i = 0; i < kMaxSweepsOver; ++i) EXPECT_EQ(state_.sweep(1h, false), Finding::kFine);
  EXPECT_EQ(state_.sweep(1h, false), Finding::kReadsNothing);
}

TEST_F(ConnectionStateTest, WhoHoldsMuchAndDoesNotMoveIsInTheWayWhenThereIsNoRoomForLong) {
  state_.may_read_on(kLimit);
  for (int i = 0; i < kMaxSweepsShort; ++i) EXPECT_EQ(state_.sweep(1h, true), Finding::kFine);
  EXPECT_EQ(state_.sweep(1h, false), Finding::kFine);
  EXPECT_EQ(state_.sweep(1h, true), Finding::kInTheWay);
  state_.note_moved();
  EXPECT_EQ(state_.sweep(1h, true), Finding::kFine);
}

TEST_F(ConnectionStateTest, WhoHoldsLittleIsNeverInTheWay) {
  for (int i = 0; i < 100; ++i) EXPECT_EQ(state_.sweep(1h, true), Finding::kFine);
}

}  // namespace
}  // namespace zabfs::fsd::wire
