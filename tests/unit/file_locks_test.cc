// Locks that programs take through files.
#include "fsd/fuse/file_locks.h"

#include "unit/session_fixture.h"

namespace zabfs::fsd {
namespace {

class FileLocksTest : public LockTest {
 protected:
  using Key = FileLocks::Key;
  static Key of_handle(uint64_t handle) { return {FileLocks::Owner::kHandle, handle, kNode}; }
  static Key of_process(uint64_t owner) { return {FileLocks::Owner::kProcess, owner, kNode}; }

  LockTable::Ask wanted(LockMode mode = LockMode::kExclusive) {
    LockTable::Ask ask;
    ask.queue = Queue::kFile;
    ask.directory = "/d";
    ask.file = "f";
    ask.mode = mode;
    return ask;
  }
  void take(const Key& key, uint64_t handle, std::vector<FileError>& answers,
            bool is_there = true) {
    on_strand([&] {
      file_locks_.take(key, handle, wanted(), [&answers, is_there](FileError error) {
        answers.push_back(error);
        return is_there;
      });
    });
    work();
  }
  void unlock(const Key& key) {
    on_strand([&] { file_locks_.unlock(key, [this] { ++unlocked_; }); });
    work();
  }

  static constexpr KernelNode kNode = 5;
  std::vector<uint64_t> granted_, given_up_, lost_handles_;
  FileLocks file_locks_{locks_,
                        {[this](uint64_t handle) { granted_.push_back(handle); },
                         [this](uint64_t handle) { given_up_.push_back(handle); },
                         [this](uint64_t handle) { lost_handles_.push_back(handle); }}};
  int unlocked_ = 0;
};

TEST_F(FileLocksTest, TheNextOneGetsItWhenItIsGivenUp) {
  take(of_handle(1), 1, one_);
  take(of_handle(2), 2, two_);
  EXPECT_EQ(one_, std::vector<FileError>{FileError::kOk});
  EXPECT_TRUE(two_.empty());
  unlock(of_handle(1));
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kOk});
  EXPECT_EQ(unlocked_, 1);
  EXPECT_EQ(granted_, (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(given_up_, std::vector<uint64_t>{1});
}

TEST_F(FileLocksTest, ToUnlockWhatIsNotLockedIsDoneAtOnce) {
  unlock(of_handle(1));
  EXPECT_EQ(unlocked_, 1);
  EXPECT_TRUE(given_up_.empty());
}

TEST_F(FileLocksTest, ALockIsNotLeftToWhoWasKilled) {
  take(of_handle(1), 1, one_);
  take(of_handle(2), 2, two_, false);
  take(of_handle(3), 3, three_);
  unlock(of_handle(1));
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kOk});
  EXPECT_EQ(three_, std::vector<FileError>{FileError::kOk});
  EXPECT_FALSE(file_locks_.has(of_handle(2)));
}

TEST_F(FileLocksTest, AWaiterThatIsInterruptedLeavesTheQueue) {
  take(of_handle(1), 1, one_);
  take(of_handle(2), 2, two_);
  on_strand([this] { file_locks_.cancel(of_handle(2)); });
  work();
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kInterrupted});
  EXPECT_FALSE(file_locks_.has(of_handle(2)));
  on_strand([this] { file_locks_.cancel(of_handle(2)); });  // it came twice
}

TEST_F(FileLocksTest, AReleaseEndsWhatWasTakenThroughTheHandleAndNothingElse) {
  take(of_handle(1), 1, one_);
  on_strand([this] { file_locks_.unlock_handle(2, kNode); });
  work();
  EXPECT_TRUE(file_locks_.has(of_handle(1)));
  on_strand([this] { file_locks_.unlock_handle(1, kNode); });
  work();
  EXPECT_FALSE(file_locks_.has(of_handle(1)));
  take(of_process(77), 3, two_);
  on_strand([this] { file_locks_.unlock_handle(3, kNode); });
  work();
  EXPECT_FALSE(file_locks_.has(of_process(77)));
}

TEST_F(FileLocksTest, WhatIsUnlockedBeforeItIsMadeKeepsNobodyWaiting) {
  on_strand([this] {
    file_locks_.take(of_handle(1), 1, wanted(), [this](FileError error) {
      one_.push_back(error);
      return true;
    });
  });
  on_strand([this] { file_locks_.unlock(of_handle(1), [this] { ++unlocked_; }); });
  EXPECT_EQ(unlocked_, 1);
  work();
  take(of_handle(2), 2, two_);
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kOk});
}

TEST_F(FileLocksTest, ItsOwnLockStandsInNobodysWay) {
  take(of_process(7), 1, one_);
  EXPECT_FALSE(file_locks_.conflict(of_process(7), wanted()));
  EXPECT_TRUE(file_locks_.conflict(of_process(8), wanted()));
}

TEST_F(FileLocksTest, IsLostWithTheSession) {
  take(of_handle(1), 1, one_);
  now_ms_ += kTimeoutMs;
  on_strand([this] { session_.check_deadline(); });
  EXPECT_EQ(lost_handles_, std::vector<uint64_t>{1});
}

// Two threads convert the lock of one descriptor. The second finds it given up already.
TEST_F(FileLocksTest, OfTwoConversionsTheLastOneHasTheLock) {
  take(of_handle(1), 1, one_);
  on_strand([this] {
    for (std::vector<FileError>* answers : {&two_, &three_}) {
      file_locks_.unlock(of_handle(1), [this, answers] {
        file_locks_.take(of_handle(1), 1, wanted(), [answers](FileError error) {
          answers->push_back(error);
          return true;
        });
      });
    }
  });
  work();
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kOk});
  EXPECT_EQ(three_, std::vector<FileError>{FileError::kInterrupted});
  unlock(of_handle(1));
  one_.clear();
  take(of_handle(2), 2, one_);
  EXPECT_EQ(one_, std::vector<FileError>{FileError::kOk});
}

TEST_F(FileLocksTest, AWaiterThatLosesTheSessionIsNoContenderAnyMore) {
  take(of_handle(1), 1, one_);
  take(of_handle(2), 2, two_);
  now_ms_ += kTimeoutMs;
  on_strand([this] { session_.check_deadline(); });
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kStale});
  EXPECT_FALSE(file_locks_.has(of_handle(2)));
  unlock(of_handle(1));
  EXPECT_EQ(locks_.handles(0), "");
}

}  // namespace
}  // namespace zabfs::fsd
