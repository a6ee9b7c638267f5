#include "fsd/fuse/reader_threads.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <future>
#include <thread>

namespace zabfs::fsd {
namespace {

constexpr int64_t kStartUs = 1'000'000'000;
constexpr int64_t kMsUs = 1'000;

bool within_seconds(const std::function<bool()>& condition) {
  auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// A thread that reads from a pipe until the end.
class Reader {
 public:
  Reader() {
    if (::pipe(pipe_) != 0) std::abort();
    std::promise<pid_t> id;
    thread_ = std::thread([this, &id] {
      id.set_value(::gettid());
      char byte;
      while (::read(pipe_[0], &byte, 1) == 1) {
      }
    });
    thread = id.get_future().get();
    struct stat st;
    ::fstat(pipe_[0], &st);
    inode = st.st_ino;
  }
  void end() {
    ::close(pipe_[1]);
    thread_.join();
    ::close(pipe_[0]);
  }
  pid_t thread;
  ino_t inode;

 private:
  int pipe_[2];
  std::thread thread_;
};

// A thread that never sleeps.
class Spinner {
 public:
  Spinner() {
    std::promise<pid_t> id;
    thread_ = std::thread([this, &id] {
      id.set_value(::gettid());
      while (!ends_) {
      }
    });
    thread = id.get_future().get();
  }
  ~Spinner() {
    ends_ = true;
    thread_.join();
  }
  pid_t thread;

 private:
  std::atomic<bool> ends_ = false;
  std::thread thread_;
};

TEST(AskingThread, IsUnknownIfThereIsNone) {
  EXPECT_FALSE(asking(0).reads_at);
  EXPECT_FALSE(asking(0).is_awake);
}

TEST(AskingThread, IsAwakeBeforeItSleeps) {
  Spinner spinner;
  EXPECT_TRUE(asking(spinner.thread).is_awake);
  EXPECT_FALSE(asking(spinner.thread).reads_at);
}

TEST(AskingThread, ReadsWhereItsReadWaits) {
  Reader reader;
  EXPECT_TRUE(within_seconds([&] { return asking(reader.thread).reads_at == 0; }));
  reader.end();
  EXPECT_FALSE(asking(reader.thread).reads_at);
}

TEST(ThreadWait, IsForReadsOfTheFileOnly) {
  Reader reader;
  ASSERT_TRUE(within_seconds([&] { return asking(reader.thread).reads_at.has_value(); }));
  ThreadWait wait(kStartUs);
  EXPECT_TRUE(wait.is_on({reader.thread}, {reader.inode}, kStartUs));
  EXPECT_FALSE(wait.is_on({reader.thread}, {reader.inode + 1}, kStartUs));
  EXPECT_TRUE(wait.is_on({reader.thread}, {reader.inode + 1, reader.inode}, kStartUs));
  EXPECT_FALSE(wait.is_on({}, {reader.inode}, kStartUs));
  EXPECT_FALSE(wait.is_on({reader.thread}, {reader.inode}, kStartUs + 60'000 * kMsUs));  // stuck
  reader.end();
  EXPECT_FALSE(wait.is_on({reader.thread}, {reader.inode}, kStartUs));
}

TEST(ThreadWait, IsOverForAThreadThatIsStopped) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    char byte;
    ::close(pipe[1]);  // its end ends with the test
    ::_exit(::read(pipe[0], &byte, 1) == 0 ? 0 : 1);
  }
  struct stat st;
  ASSERT_EQ(::fstat(pipe[0], &st), 0);
  ThreadWait wait(kStartUs);
  auto is_on = [&] { return wait.is_on({child}, {st.st_ino}, kStartUs); };
  EXPECT_TRUE(within_seconds([&] { return asking(child).reads_at.has_value(); }));
  EXPECT_TRUE(is_on());
  EXPECT_EQ(::kill(child, SIGSTOP), 0);
  EXPECT_TRUE(within_seconds([&] { return !is_on(); }));
  EXPECT_EQ(::kill(child, SIGCONT), 0);
  EXPECT_TRUE(within_seconds(is_on));
  ::close(pipe[1]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  ::close(pipe[0]);
}

TEST(ThreadWait, AnAnswerMayBeOnItsWayToAThreadThatDoesNotSleep) {
  Spinner spinner;
  ThreadWait wait(kStartUs);
  EXPECT_TRUE(wait.may_land(spinner.thread, kStartUs));
  EXPECT_FALSE(wait.may_land(spinner.thread, kStartUs + 60'000 * kMsUs));
  EXPECT_TRUE(within_seconds([&] { return !wait.may_land(spinner.thread, kStartUs); }));
  Reader reader;
  EXPECT_TRUE(within_seconds([&] { return !wait.may_land(reader.thread, kStartUs); }));
  EXPECT_FALSE(wait.may_land(0, kStartUs));
  reader.end();
}

TEST(ThreadWait, IsOverForAThreadThatRanForLong) {
  Spinner spinner;
  ThreadWait wait(kStartUs);
  EXPECT_TRUE(wait.is_on({spinner.thread}, {1}, kStartUs));
  EXPECT_TRUE(within_seconds([&] { return !wait.is_on({spinner.thread}, {1}, kStartUs); }));
  EXPECT_TRUE(ThreadWait(kStartUs).is_on({spinner.thread}, {1}, kStartUs));
  EXPECT_TRUE(wait.is_on({{spinner.thread, 2}}, {1}, kStartUs));  // it has asked again
}

}  // namespace
}  // namespace zabfs::fsd
