// zabfs lock: DIR's mutex around a command, which is ended before the lock is lost.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <thread>

#include "fsd/tool/tool.h"

namespace zabfs::tool {
namespace {

constexpr int64_t kPollMs = 100;
constexpr int64_t kTermBeforeMs = 600;  // before the lock's deadline: asked to end
constexpr int64_t kKillBeforeMs = 200;  // and ended

// What is known of the lock, by a thread of its own: the daemon may not answer at all.
struct LockWatch {
  std::atomic<int64_t> deadline_ms{0};
  std::atomic<bool> lost{false};
  std::atomic<bool> done{false};
};

void watch_lock(int fd, const std::string& file, LockWatch& lock) {
  char byte;
  while (!lock.done) {
    char text[32] = {};
    if (::getxattr(file.c_str(), "user.zabfs.deadline", text, sizeof(text) - 1) > 0) {
      int64_t deadline_ms = std::strtoll(text, nullptr, 10);
      // Only a handle that still reads holds the lock that this deadline is for.
      if (::pread(fd, &byte, 1, 0) >= 0) lock.deadline_ms = deadline_ms;
    }
    if (::pread(fd, &byte, 1, 0) < 0 && errno != EINTR) {
      lock.lost = true;
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
  }
}

int run_locked(int fd, const std::string& file, const std::vector<std::string>& command) {
  // The watching thread may be stuck in the daemon for good, so it is never joined.
  auto* shared = new LockWatch();
  shared->deadline_ms = INT64_MAX;
  std::thread([fd, file, shared] { watch_lock(fd, file, *shared); }).detach();
  pid_t child = start_command(command, {}, SIGKILL);
  catch_signals();
  int result = 0;
  bool ending = false;
  auto lost = [&] {
    return fail(fmt::format("the lock on {} was lost; the command was ended", file), kLockLost);
  };
  while (true) {
    pid_t ended = ::waitpid(child, &result, WNOHANG);
    if (ended == child && ending) return lost();
    if (ended == child) break;
    if (int number = caught()) ::kill(-child, number);
    int64_t left_ms = shared->lost ? 0 : shared->deadline_ms - now_ms();
    if (left_ms < kKillBeforeMs) {
      ::kill(-child, SIGKILL);
      ::waitpid(child, &result, 0);
      return lost();
    }
    ending = left_ms < kTermBeforeMs;
    if (ending) ::kill(-child, SIGTERM);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  shared->done = true;
  return exit_code(result);
}

}  // namespace

int lock(const std::string& directory, double timeout_s, const std::vector<std::string>& command) {
  std::string file = directory + "/@/lock";
  int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return fail(error_of(file));
  if (timeout_s > 0) {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, nullptr);
    itimerval timer = {};
    timer.it_value.tv_sec = static_cast<time_t>(timeout_s);
    timer.it_value.tv_usec =
        static_cast<suseconds_t>((timeout_s - static_cast<double>(timer.it_value.tv_sec)) * 1e6);
    timer.it_interval.tv_usec = 50'000;  // a first tick before flock would be missed
    ::setitimer(ITIMER_REAL, &timer, nullptr);
  }
  if (::flock(fd, LOCK_EX | (timeout_s == 0 ? LOCK_NB : 0)) != 0) {
    if (errno == EINTR || errno == EWOULDBLOCK) {
      return fail(fmt::format("{} is held by somebody else", file));
    }
    return fail(error_of(file));
  }
  itimerval off = {};
  ::setitimer(ITIMER_REAL, &off, nullptr);
  int code = run_locked(fd, file, command);
  ::flock(fd, LOCK_UN);
  return code;
}

}  // namespace zabfs::tool
