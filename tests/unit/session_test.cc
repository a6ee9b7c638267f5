// The mount's session, writer and locks on a replica that does what the test says.
#include "fsd/session/session.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "fsd/session/lock.h"
#include "fsd/session/writer.h"
#include "tree/request.h"
#include "unit/lone_replica.h"

namespace zabfs::fsd {
namespace {

using tree::Error;
using tree::OpCode;
using tree::Outcome;
using tree::SessionId;

constexpr int32_t kTimeoutMs = 6'000;
constexpr int64_t kGraceMs = 2'000, kCommitMs = 10'000;

class SessionTest : public consensus::LoneReplica, public consensus::Service, public testing::Test {
 protected:
  SessionTest() {
    start();
    session_.set_on_lost([this](SessionId lost) {
      lost_.push_back(lost);
      locks_.session_lost(lost);
    });
    on_strand([this] { session_.start(); });
    run();
  }

  // Service
  void post(std::function<void()> event) override { timers_.emplace(now_ms_, std::move(event)); }
  void post_after(int64_t delay_ms, std::function<void()> event) override {
    timers_.emplace(now_ms_ + delay_ms, std::move(event));
  }
  int64_t now_ms() override { return now_ms_; }
  uint64_t random() override { return 7; }
  void log(consensus::LogLevel, const std::string&) override {}
  consensus::Replica& replica() override { return *replica_; }
  // Environment
  void die(const std::string& why) override { ADD_FAILURE() << why; }

  // Time passes, and timers are late by up to `late_ms`. The disk does nothing.
  void wait(int64_t ms) {
    now_ms_ += ms;
    while (!timers_.empty() && timers_.begin()->first <= now_ms_) {
      std::function<void()> event = std::move(timers_.begin()->second);
      timers_.erase(timers_.begin());
      on_strand(event);
    }
  }
  // The same in small steps, with a disk that works.
  void live(int64_t ms) {
    for (int64_t end_ms = now_ms_ + ms; now_ms_ < end_ms; run()) {
      wait(100);
      on_strand([this] { replica_->on_timer(); });
    }
  }
  consensus::Completion note(std::vector<Error>& errors) {
    return [&errors](const Outcome& outcome) { errors.push_back(outcome.error); };
  }
  std::string create(const char* path) {
    return tree::create_body(path, "", tree::open_acl(), tree::kCreatePersistent);
  }
  // The leader ends the session, and the mount does not know it.
  void expire(SessionId session) {
    on_strand([&] {
      replica_->submit(tree::superuser_request(session, -1, OpCode::kCloseSession, ""), nullptr);
    });
    run();
  }
  bool is_there(const char* path) { return replica_->tree().find(path) != nullptr; }

  std::multimap<int64_t, std::function<void()>> timers_;
  ClientSession session_{*this, kTimeoutMs};
  Writer writer_{*this, session_, kGraceMs, kCommitMs};
  LockTable locks_{*this, session_};
  std::vector<SessionId> lost_;
  std::vector<Error> errors_;
};

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

TEST_F(SessionTest, WithALeaderAWriteIsNotRefused) {
  bool ran = false;
  on_strand([&] { writer_.when_writable([&] { ran = true; }, [](int) { FAIL(); }); });
  EXPECT_TRUE(ran);
  EXPECT_FALSE(writer_.is_read_only());
}

// ---- locks

class LockTest : public SessionTest {
 protected:
  LockTest() {
    on_strand([this] { session_.submit(OpCode::kCreate, create("/d"), note(errors_)); });
    run();
  }
  LockTicket ask(LockMode mode, std::vector<int>& answers, bool waits = true) {
    LockTable::Ask ask;
    ask.queue = Queue::kFile;
    ask.directory = "/d";
    ask.file = "f";
    ask.mode = mode;
    ask.wait = waits;
    LockTicket ticket = 0;
    on_strand([&] {
      ticket = locks_.acquire(std::move(ask), [&answers](int error) { answers.push_back(error); });
    });
    work();
    return ticket;
  }
  void release(LockTicket ticket) {
    on_strand([&] { locks_.release(ticket, EINTR, [] {}); });
    work();
  }
  // The disk works, and the mount is told of what was committed.
  void work() {
    for (int i = 0; i < 4; ++i) {
      run();
      on_strand([this] { locks_.published(take_deleted()); });
    }
  }
  std::vector<tree::Change> take_deleted() {
    std::vector<tree::Change> changes;
    if (const tree::ZNode* queue = replica_->tree().find(kQueue)) {
      std::set<std::string> now;
      replica_->tree().for_each_child(
          *queue, [&](const tree::ZNode& child) { now.emplace(child.name.view()); });
      for (const std::string& name : names_) {
        if (now.contains(name)) continue;
        changes.push_back({tree::ChangeType::kDeleted, kQueue + ("/" + name), tree::Zxid{}});
      }
      names_ = std::move(now);
    }
    return changes;
  }

  const std::string kQueue = hidden_path("/d", "lock:f");
  std::set<std::string> names_;
  std::vector<int> one_, two_, three_;
};

TEST_F(LockTest, ReadersShareAndAWriterWaitsForThem) {
  LockTicket reader = ask(LockMode::kShared, one_);
  LockTicket other = ask(LockMode::kShared, two_);
  LockTicket writer = ask(LockMode::kExclusive, three_);
  EXPECT_EQ(one_, std::vector<int>{0});
  EXPECT_EQ(two_, std::vector<int>{0});
  EXPECT_TRUE(three_.empty());
  release(reader);
  EXPECT_TRUE(three_.empty());
  release(other);
  EXPECT_EQ(three_, std::vector<int>{0});
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
  EXPECT_EQ(three_, std::vector<int>{0});
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
  EXPECT_EQ(two_, std::vector<int>{EAGAIN});
  release(holder);
  ask(LockMode::kExclusive, three_, false);
  EXPECT_EQ(three_, std::vector<int>{0});
}

TEST_F(LockTest, AWaiterThatIsCalledBackLeavesTheQueue) {
  LockTicket holder = ask(LockMode::kExclusive, one_);
  LockTicket waiter = ask(LockMode::kExclusive, two_);
  release(waiter);
  EXPECT_EQ(two_, std::vector<int>{EINTR});
  release(holder);
  ask(LockMode::kExclusive, three_);
  EXPECT_EQ(three_, std::vector<int>{0});
}

TEST_F(LockTest, IsLostWithItsSession) {
  LockTicket holder = ask(LockMode::kExclusive, one_);
  now_ms_ += kTimeoutMs;
  on_strand([this] { session_.check_deadline(); });
  EXPECT_FALSE(locks_.is_held(holder));
  EXPECT_TRUE(locks_.is_lost(holder));
  work();
  ask(LockMode::kExclusive, two_);
  EXPECT_EQ(two_, std::vector<int>{0});
}

}  // namespace
}  // namespace zabfs::fsd
