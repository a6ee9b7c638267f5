#include "fsd/fuse/name_forgetter.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "consensus/mutex.h"
#include "fsd/fuse/looking_threads.h"

namespace zabfs::fsd {
namespace {

using Names = std::vector<NodeTable::HeldName>;

// A kernel with directories that somebody has locked.
class LockedDirectories : public Notifications {
 public:
  bool forget_attributes(KernelNode) override { return true; }
  void forget_pages(KernelNode, std::string_view) override {}
  bool forget_name(KernelNode parent, const std::string& name) override {
    MutexLock lock(mutex_);
    while (locked_.contains(parent)) unlocked_.wait(mutex_);
    forgotten_.push_back({parent, name});
    return can_;
  }
  bool forget_names() override { return true; }

  void lock_directory(KernelNode directory) {
    MutexLock lock(mutex_);
    locked_.insert(directory);
  }
  void unlock_all() {
    MutexLock lock(mutex_);
    locked_.clear();
    unlocked_.notify_all();
  }
  Names forgotten() {
    MutexLock lock(mutex_);
    return forgotten_;
  }

  std::atomic<bool> can_{true};

 private:
  Mutex mutex_;
  ConditionVariable unlocked_;
  std::set<KernelNode> locked_ GUARDED_BY(mutex_);
  Names forgotten_ GUARDED_BY(mutex_);
};

class NameForgetterTest : public testing::Test {
 protected:
  // Until the machine gives the threads a CPU in time.
  bool forget(const Names& names) {
    for (int tries = 0; tries < 1'000; ++tries) {
      if (forgetter_.forget(names)) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
  }

  LockedDirectories kernel_;
  NameForgetterThreads forgetter_{kernel_};
};

TEST_F(NameForgetterTest, AllAreForgottenWhenItReturns) {
  ASSERT_TRUE(forget({{1, "a"}, {2, "b"}, {1, "c"}}));
  Names forgotten = kernel_.forgotten();
  EXPECT_EQ(std::set<std::string>({forgotten[0].name, forgotten[1].name, forgotten[2].name}),
            (std::set<std::string>{"a", "b", "c"}));
  EXPECT_TRUE(forget({}));
}

TEST_F(NameForgetterTest, ALockedDirectoryIsNotWaitedForAndOthersGoOn) {
  kernel_.lock_directory(1);
  EXPECT_FALSE(forgetter_.forget({{1, "a"}, {2, "b"}}));
  EXPECT_TRUE(forget({{2, "c"}}));
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(forgetter_.forget({{1, "a"}}));
  EXPECT_FALSE(forgetter_.forget({{2, "d"}}));  // all threads wait
  kernel_.unlock_all();
  EXPECT_TRUE(forget({{2, "d"}}));
}

TEST_F(NameForgetterTest, WhatItCannotDoItSays) {
  EXPECT_FALSE(forgetter_.forget(Names(NameForgetterThreads::kMaxNames + 1, {1, "a"})));
  EXPECT_TRUE(kernel_.forgotten().empty());
  kernel_.can_ = false;
  EXPECT_FALSE(forgetter_.forget({{1, "a"}}));
}

TEST(LookingThreads, AreFoundByTheNameThatChanges) {
  using Found = std::vector<LookingThreads::Looking>;
  LookingThreads threads;
  EXPECT_TRUE(threads.is_empty());
  threads.add(1, {9, "a"});
  threads.add(2, {9, "b"});
  threads.add(3, {9, "a"});
  threads.add(4, {9, "a"});
  threads.add(4, {9, "c"});  // it has asked for another one since
  threads.add(5, {8, "a"});  // in another directory
  threads.landed(3);
  Found found = threads.among({{9, "a"}, {9, "x"}});
  EXPECT_EQ(found, (Found{{1, {9, "a"}}}));
  EXPECT_TRUE(threads.contains(found.front()));
  threads.landed(1);
  EXPECT_FALSE(threads.contains(found.front()));
  EXPECT_TRUE(threads.among({{9, "a"}}).empty());
  EXPECT_EQ(threads.among({{9, "b"}, {9, "c"}}).size(), 2u);
  for (pid_t thread : {2, 4, 5}) threads.landed(thread);
  EXPECT_TRUE(threads.is_empty());
}

}  // namespace
}  // namespace zabfs::fsd
