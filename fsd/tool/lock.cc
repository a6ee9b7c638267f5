// zabfs lock: DIR's mutex around a command.
//
// The lock belongs to the open file description, as flock(1)'s does, and the command inherits a
// descriptor of it. So it lasts as long as zabfs, the command, or what the command left running.
// The command's keeper (process.h) watches the lock for as long, and ends all of it before the lock
// is lost.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "fsd/tool/process.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {
namespace {

constexpr int64_t kPollMs = 100;
constexpr int64_t kTermBeforeMs = 600;  // before the lock's deadline: asked to end
constexpr int64_t kKillBeforeMs = 200;  // and ended

// While there is one of these, SIGALRM interrupts system calls, once the time is over.
class Alarm {
 public:
  explicit Alarm(double timeout_s) {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, &before_);
    sigset_t alarm;
    ::sigemptyset(&alarm);
    ::sigaddset(&alarm, SIGALRM);
    ::sigprocmask(SIG_UNBLOCK, &alarm, &mask_);
    itimerval timer = {};
    timer.it_value.tv_sec = static_cast<time_t>(timeout_s);
    timer.it_value.tv_usec =
        static_cast<suseconds_t>((timeout_s - static_cast<double>(timer.it_value.tv_sec)) * 1e6);
    timer.it_interval.tv_usec = 50'000;  // a first tick before flock would be missed
    ::setitimer(ITIMER_REAL, &timer, nullptr);
  }
  ~Alarm() {
    int error = errno;
    itimerval off = {};
    ::setitimer(ITIMER_REAL, &off, nullptr);
    ::sigprocmask(SIG_SETMASK, &mask_, nullptr);
    ::sigaction(SIGALRM, &before_, nullptr);
    errno = error;
  }
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

 private:
  struct sigaction before_ = {};
  sigset_t mask_ = {};
};

bool take(int fd, double timeout_s) {
  if (timeout_s <= 0) return ::flock(fd, LOCK_EX | (timeout_s == 0 ? LOCK_NB : 0)) == 0;
  Alarm alarm(timeout_s);
  return ::flock(fd, LOCK_EX) == 0;
}

// What follows that word in the text of `@/lock`: of its first line that begins so.
std::string line_of(int fd, const std::string& word) {
  std::istringstream text(read_all(fd).value_or(""));
  std::string line;
  while (std::getline(text, line)) {
    if (line.starts_with(word + " ")) return line.substr(word.size() + 1);
  }
  return {};
}

std::string busy_text(int fd, const std::string& file) {
  std::istringstream fields(line_of(fd, "holder"));
  std::string node, pid, name;
  fields >> node >> pid >> name;
  if (name.empty()) return fmt::format("{} is held by somebody else", file);
  if (pid == "-") return fmt::format("{} is held by a client of ZooKeeper's, {}", file, name);
  return fmt::format("{} is held by process {} ({}) of node {}", file, pid, name, node);
}

// What is known of the lock, by a thread of its own: the daemon may not answer at all.
class LockWatch {
 public:
  explicit LockWatch(int fd) {
    // It may be stuck in the daemon for good, so it is never joined, and what it uses stays.
    std::thread([this, fd] { watch(fd); }).detach();
  }

  // What is to be sent to those that work under the lock.
  int verdict() const {
    int64_t left_ms = lost_ ? 0 : deadline_ms_ - now_ms();
    if (left_ms < kKillBeforeMs) return SIGKILL;
    return left_ms < kTermBeforeMs ? SIGTERM : 0;
  }

 private:
  void watch(int fd) {
    char byte;
    while (true) {
      char text[32] = {};
      if (::fgetxattr(fd, "user.zabfs.deadline", text, sizeof(text) - 1) > 0) {
        int64_t deadline_ms = std::strtoll(text, nullptr, 10);
        // Only a handle that still reads holds the lock that this deadline is for.
        if (::pread(fd, &byte, 1, 0) >= 0) deadline_ms_ = deadline_ms;
      }
      if (::pread(fd, &byte, 1, 0) < 0 && errno != EINTR) {
        lost_ = true;
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(kPollMs));
    }
  }

  std::atomic<int64_t> deadline_ms_{INT64_MAX};
  std::atomic<bool> lost_{false};
};

int run_locked(int fd, const std::string& file, const std::vector<std::string>& words) {
  catch_signals();
  LockWatch* watch = nullptr;  // begun in the keeper, which has no other threads until then
  Command::Options options;
  options.environment = {"ZABFS_TOKEN=" + line_of(fd, "token")};
  options.inherited = {fd};
  options.death_signal = SIGKILL;
  options.verdict = [fd, &watch] {
    if (watch == nullptr) watch = new LockWatch(fd);
    return watch->verdict();
  };
  options.stays = true;
  Command command(words, options);
  for (bool has_ended = false; !has_ended;) {
    has_ended = command.has_ended(-1);
    for (Caught signal = caught(); signal.number != 0; signal = caught()) command.pass_on(signal);
  }
  if (command.is_stopped()) {
    return fail(fmt::format("the lock on {} was lost; the command was ended", file), kLockLost);
  }
  // Free when zabfs has ended; what the command left running keeps it.
  if (!command.left_some()) ::flock(fd, LOCK_UN);
  return command.exit_like_it();
}

}  // namespace

int lock(const LockOptions& options) {
  std::string file = options.directory + "/@/lock";
  int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return fail(error_of(file));
  if (take(fd, options.timeout_s)) return run_locked(fd, file, options.command);
  bool is_busy = errno == EWOULDBLOCK || errno == EINTR;
  return is_busy ? fail(busy_text(fd, file), options.busy_code) : fail(error_of(file));
}

}  // namespace zabfs::tool
