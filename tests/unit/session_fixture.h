// The mount's session, writer and locks on a replica whose disk and clock do what the test says.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "fsd/session/lock.h"
#include "fsd/session/session.h"
#include "fsd/session/writer.h"
#include "fsd/view/view.h"
#include "tree/request.h"
#include "unit/lone_replica.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;
using tree::SessionId;

inline constexpr int32_t kTimeoutMs = 6'000;
inline constexpr int64_t kGraceMs = 2'000, kCommitMs = 10'000;

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
  LockTable locks_{*this, session_, writer_};
  std::vector<SessionId> lost_;
  std::vector<Error> errors_;
};

// A directory with a file in it, which programs lock.
class LockTest : public SessionTest {
 protected:
  LockTest() {
    on_strand([this] { session_.submit(OpCode::kCreate, create("/d"), note(errors_)); });
    run();
  }
  LockTicket ask(LockMode mode, std::vector<FileError>& answers, bool waits = true) {
    LockTable::Ask ask;
    ask.queue = Queue::kFile;
    ask.directory = "/d";
    ask.file = "f";
    ask.mode = mode;
    ask.wait = waits;
    LockTicket ticket = 0;
    on_strand([&] {
      ticket =
          locks_.acquire(std::move(ask), [&answers](FileError error) { answers.push_back(error); });
    });
    work();
    return ticket;
  }
  void release(LockTicket ticket) {
    on_strand([&] { locks_.release(ticket, FileError::kInterrupted, [] {}); });
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
  std::vector<FileError> one_, two_, three_;
};

}  // namespace zabfs::fsd
