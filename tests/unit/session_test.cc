// The mount's session, writer and locks.
#include <memory>

#include "unit/session_fixture.h"

namespace zabfs::fsd {
namespace {

// ---- its life

TEST_F(SessionTest, OpensWhenThereIsALeader) {
  EXPECT_TRUE(session_.is_open());
  EXPECT_TRUE(replica_->tree().sessions().contains(session_.id()));
  EXPECT_TRUE(tree::is_mounts(session_.id()));
}

TEST_F(SessionTest, LivesAsLongAsItIsRenewed) {
  SessionId first = session_.id();
  session_.hold();
  live(10 * kTimeoutMs);
  EXPECT_EQ(session_.id(), first);
  EXPECT_TRUE(lost_.empty());
}

TEST_F(SessionTest, WhatItHoldsIsLostWhenItWasNotRenewedInTime) {
  SessionId first = session_.id();
  session_.hold();
  now_ms_ += kTimeoutMs - 1;
  EXPECT_FALSE(session_.is_past_deadline());
  now_ms_ += 1;
  EXPECT_TRUE(session_.is_past_deadline());
  on_strand([this] { session_.check_deadline(); });
  EXPECT_EQ(lost_, std::vector<SessionId>{first});
  EXPECT_NE(session_.id(), first);
  run();
  EXPECT_FALSE(replica_->tree().sessions().contains(first));
  EXPECT_TRUE(session_.is_open());
}

TEST_F(SessionTest, WithoutAnythingHeldItHasNoDeadline) {
  SessionId first = session_.id();
  now_ms_ += 10 * kTimeoutMs;
  EXPECT_FALSE(session_.is_past_deadline());
  on_strand([this] { session_.check_deadline(); });
  EXPECT_EQ(session_.id(), first);
}

// The leader counts from when it heard of the session, which may be long before the answer.
TEST_F(SessionTest, ADeadlineCountsFromTheSendingOfTheRenewal) {
  session_.hold();
  writer_.commit(OpCode::kCreate, create("/slow"), note(errors_));
  on_strand([] {});  // it waits for the disk, and the barrier of the renewal behind it
  wait(kTimeoutMs / 3);
  int64_t sent_ms = now_ms_;
  wait(1'500);
  run();
  ASSERT_EQ(errors_, std::vector<Error>{Error::kOk});
  EXPECT_EQ(session_.deadline_ms(), sent_ms + kTimeoutMs);
}

TEST_F(SessionTest, ARenewalThatComesBehindTheDeadlineIsTooLate) {
  session_.hold();
  writer_.commit(OpCode::kCreate, create("/slow"), note(errors_));
  on_strand([] {});
  wait(kTimeoutMs / 3);
  now_ms_ += kTimeoutMs;  // no timer runs
  run();
  EXPECT_TRUE(session_.is_past_deadline());
}

TEST_F(SessionTest, IsGivenUpWhenTheTreeHasItNoMore) {
  SessionId first = session_.id();
  session_.hold();
  expire(first);
  live(kTimeoutMs / 2);
  EXPECT_EQ(lost_, std::vector<SessionId>{first});
  EXPECT_TRUE(session_.is_open());
}

TEST_F(SessionTest, ClosesAndOpensNoOther) {
  SessionId first = session_.id();
  bool done = false;
  on_strand([&] { session_.close([&] { done = true; }); });
  run();
  EXPECT_TRUE(done);
  live(2 * kTimeoutMs);
  EXPECT_TRUE(replica_->tree().sessions().empty());
  EXPECT_FALSE(replica_->tree().sessions().contains(first));
}

// ---- writes

TEST_F(SessionTest, AWriteOfASessionThatExpiredIsDoneInTheNext) {
  SessionId first = session_.id();
  expire(first);
  on_strand([this] { writer_.commit(OpCode::kCreate, create("/again"), note(errors_)); });
  live(1'000);
  EXPECT_EQ(errors_, std::vector<Error>{Error::kOk});
  EXPECT_TRUE(is_there("/again"));
  EXPECT_EQ(lost_, std::vector<SessionId>{first});
}

TEST_F(SessionTest, AWriteThatBelongsToASessionIsDoneInItOrNotAtAll) {
  SessionId first = session_.id();
  expire(first);
  on_strand(
      [&] { writer_.commit(OpCode::kCreate, create("/held"), note(errors_), nullptr, first); });
  live(1'000);
  on_strand([&] {  // the mount knows by now
    writer_.commit(OpCode::kCreate, create("/held"), note(errors_), nullptr, first);
  });
  live(1'000);
  EXPECT_EQ(errors_, (std::vector<Error>{Error::kSessionExpired, Error::kSessionExpired}));
  EXPECT_FALSE(is_there("/held"));
}

TEST_F(SessionTest, WritesWaitForTheNextSessionInTheirOrder) {
  session_.hold();
  now_ms_ += kTimeoutMs;
  on_strand([this] { session_.check_deadline(); });
  ASSERT_FALSE(session_.is_open());
  on_strand([this] {
    writer_.commit(OpCode::kCreate, create("/a"), note(errors_));
    writer_.commit(OpCode::kCreate, create("/a/b"), note(errors_));
  });
  EXPECT_TRUE(errors_.empty());
  live(1'000);
  EXPECT_EQ(errors_, (std::vector<Error>{Error::kOk, Error::kOk}));
}

TEST_F(SessionTest, AWriteWithoutAnAnswerIsUnknownAndItsOutcomeComesLate) {
  std::vector<Error> late;
  on_strand([&] { writer_.start(); });
  on_strand([&] { writer_.commit(OpCode::kCreate, create("/slow"), note(errors_), note(late)); });
  wait(kCommitMs - 200);
  EXPECT_TRUE(errors_.empty());
  wait(400);
  EXPECT_EQ(errors_, std::vector<Error>{Error::kOperationTimeout});
  EXPECT_TRUE(late.empty());
  run();
  EXPECT_EQ(late, std::vector<Error>{Error::kOk});
  EXPECT_EQ(errors_.size(), 1u);
  EXPECT_TRUE(is_there("/slow"));
}

// An fsync that waits for a commit hears from it that its time is over. Its own is over then, too.
TEST_F(SessionTest, AnEndThatAnotherEndSettlesDoesNotCome) {
  std::vector<int> ends;
  uint64_t fsync = 0;
  on_strand([&] {
    writer_.start();
    writer_.expect([&] {
      ends.push_back(1);
      writer_.settled(fsync);
    });
    fsync = writer_.expect([&] { ends.push_back(2); });
    writer_.expect([&] { ends.push_back(3); });
  });
  wait(kCommitMs);
  EXPECT_EQ(ends, (std::vector<int>{1, 3}));
}

TEST_F(SessionTest, WithALeaderAWriteIsNotRefused) {
  bool ran = false;
  on_strand([&] { writer_.when_writable([&] { ran = true; }, [](FileError) { FAIL(); }); });
  EXPECT_TRUE(ran);
  EXPECT_FALSE(writer_.is_read_only());
}

// ---- locks

TEST_F(LockTest, ReadersShareAndAWriterWaitsForThem) {
  LockTicket reader = ask(LockMode::kShared, one_);
  LockTicket other = ask(LockMode::kShared, two_);
  LockTicket writer = ask(LockMode::kExclusive, three_);
  EXPECT_EQ(one_, std::vector<FileError>{FileError::kOk});
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kOk});
  EXPECT_TRUE(three_.empty());
  release(reader);
  EXPECT_TRUE(three_.empty());
  release(other);
  EXPECT_EQ(three_, std::vector<FileError>{FileError::kOk});
  EXPECT_TRUE(locks_.is_held(writer));
}

TEST_F(LockTest, AReaderBehindAWaitingWriterWaits) {
  LockTicket reader = ask(LockMode::kShared, one_);
  LockTicket writer = ask(LockMode::kExclusive, two_);
  ask(LockMode::kShared, three_);
  EXPECT_TRUE(three_.empty());
  release(reader);
  EXPECT_TRUE(three_.empty());
  release(writer);
  EXPECT_EQ(three_, std::vector<FileError>{FileError::kOk});
}

TEST_F(LockTest, TokensRiseFromGrantToGrant) {
  LockTicket first = ask(LockMode::kExclusive, one_);
  tree::Zxid token = locks_.token(first);
  release(first);
  LockTicket second = ask(LockMode::kExclusive, two_);
  EXPECT_GT(locks_.token(second), token);
}

TEST_F(LockTest, WhoDoesNotWaitLeavesTheQueue) {
  LockTicket holder = ask(LockMode::kExclusive, one_);
  ask(LockMode::kExclusive, two_, false);
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kTryAgain});
  release(holder);
  ask(LockMode::kExclusive, three_, false);
  EXPECT_EQ(three_, std::vector<FileError>{FileError::kOk});
}

TEST_F(LockTest, WhoIsRefusedIsToldOnceItHasLeftTheQueue) {
  ask(LockMode::kExclusive, one_);
  LockTable::Ask refused;
  refused.queue = Queue::kFile;
  refused.directory = "/d";
  refused.file = "f";
  refused.wait = false;
  size_t contenders = 0;
  on_strand([&] {
    locks_.acquire(std::move(refused), [&](FileError error) {
      EXPECT_EQ(error, FileError::kTryAgain);
      contenders = replica_->tree().find("/d/@/lock:f")->children.size();
    });
  });
  work();
  EXPECT_EQ(contenders, 1u);
}

TEST_F(LockTest, AWaiterThatIsCalledBackLeavesTheQueue) {
  LockTicket holder = ask(LockMode::kExclusive, one_);
  LockTicket waiter = ask(LockMode::kExclusive, two_);
  release(waiter);
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kInterrupted});
  release(holder);
  ask(LockMode::kExclusive, three_);
  EXPECT_EQ(three_, std::vector<FileError>{FileError::kOk});
}

// What nobody else holds can still not be had: the leader goes while the contender is made.
TEST_F(LockTest, WhoDoesNotWaitIsAnsweredInTimeAndLeavesNothingBehind) {
  on_strand([&] { writer_.start(); });
  LockTable::Ask ask;
  ask.queue = Queue::kFile;
  ask.directory = "/d";
  ask.file = "f";
  LockTable::Ask waiting = ask;
  ask.wait = false;
  on_strand([&] {
    locks_.acquire(std::move(ask), [this](FileError error) { one_.push_back(error); });
    locks_.acquire(std::move(waiting), [this](FileError error) { two_.push_back(error); });
  });
  wait(kCommitMs - 200);
  EXPECT_TRUE(one_.empty());
  wait(400);
  EXPECT_EQ(one_, std::vector<FileError>{FileError::kFailed});
  EXPECT_TRUE(two_.empty());
  work();
  EXPECT_EQ(one_.size(), 1u);
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kOk});
  EXPECT_EQ(replica_->tree().find(kQueue)->children.size(), 1u);
}

TEST_F(LockTest, WhoDoesNotWaitIsAnsweredOnce) {
  on_strand([&] { writer_.start(); });
  LockTicket holder = ask(LockMode::kExclusive, one_, false);
  ask(LockMode::kExclusive, two_, false);
  live(2 * kCommitMs);
  EXPECT_EQ(one_, std::vector<FileError>{FileError::kOk});
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kTryAgain});
  EXPECT_TRUE(locks_.is_held(holder));
}

TEST_F(LockTest, IsLostWithItsSession) {
  LockTicket holder = ask(LockMode::kExclusive, one_);
  now_ms_ += kTimeoutMs;
  on_strand([this] { session_.check_deadline(); });
  EXPECT_FALSE(locks_.is_held(holder));
  EXPECT_TRUE(locks_.is_lost(holder));
  work();
  ask(LockMode::kExclusive, two_);
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kOk});
}

// A contender goes when its owner leaves, and he may do so as soon as he is told anything.
class LeavesWhenTold : public LockTest {
 protected:
  LockTable::Ask wanted() {
    LockTable::Ask ask;
    ask.queue = Queue::kFile;
    ask.directory = "/d";
    ask.file = "f";
    return ask;
  }
  void leave() {
    locks_.release(ticket_, FileError::kInterrupted, [this] { ++left_; });
  }
  LockTicket ticket_ = 0;
  int left_ = 0;
};

TEST_F(LeavesWhenTold, AWaiterIsToldThatItsSessionIsLost) {
  ask(LockMode::kExclusive, one_);
  auto losses = std::make_shared<int>(0);
  LockTable::Ask waiter = wanted();
  waiter.lost = [losses] { ++*losses; };
  on_strand([&] {
    ticket_ = locks_.acquire(std::move(waiter), [this](FileError error) {
      two_.push_back(error);
      leave();
    });
  });
  work();
  now_ms_ += kTimeoutMs;
  on_strand([this] { session_.check_deadline(); });
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kStale});
  EXPECT_EQ(left_, 1);
  EXPECT_EQ(*losses, 1);
  EXPECT_EQ(losses.use_count(), 1);
  EXPECT_FALSE(locks_.is_lost(ticket_));
}

TEST_F(LeavesWhenTold, WhoseSessionIsLostWhileItJoinsIsToldThatToo) {
  ask(LockMode::kExclusive, one_);
  auto answers = std::make_shared<std::vector<FileError>>();
  LockTable::Ask joining = wanted();
  joining.joined = [this](FileError error) {
    two_.push_back(error);
    leave();
  };
  on_strand([&] {
    ticket_ = locks_.acquire(std::move(joining),
                             [answers](FileError error) { answers->push_back(error); });
    now_ms_ += kTimeoutMs;
    session_.check_deadline();
  });
  work();
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kStale});
  EXPECT_EQ(*answers, std::vector<FileError>{FileError::kStale});
  EXPECT_EQ(answers.use_count(), 1);
  EXPECT_EQ(left_, 1);
}

TEST_F(LeavesWhenTold, AnInterruptMayFindThatTheSessionIsLost) {
  ask(LockMode::kExclusive, one_);
  on_strand([&] {
    ticket_ = locks_.acquire(wanted(), [this](FileError error) {
      two_.push_back(error);
      now_ms_ += kTimeoutMs;
      session_.check_deadline();
    });
  });
  work();
  on_strand([this] { leave(); });
  work();
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kInterrupted});
  EXPECT_EQ(left_, 1);
}

}  // namespace
}  // namespace zabfs::fsd
