// zabfs: the command-line tool. It works through a mount, as any script could; `check` reads the
// files of a stopped node.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "consensus/check.h"
#include "consensus/posix_disk.h"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kLockLost = 125;
constexpr int64_t kPollMs = 100;
constexpr int64_t kTermBeforeMs = 600;  // before the lock's deadline: asked to end
constexpr int64_t kKillBeforeMs = 200;  // and ended

int fail(const std::string& what, int code = kFailed) {
  fmt::print(stderr, "zabfs: {}\n", what);
  return code;
}

int64_t now_ms() {
  timespec time;
  ::clock_gettime(CLOCK_BOOTTIME, &time);
  return int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

// The first zabfs mount of this machine.
std::string find_mount() {
  if (const char* named = std::getenv("ZABFS_MOUNT")) return named;
  std::ifstream in("/proc/self/mountinfo");
  std::string line;
  while (std::getline(in, line)) {
    if (line.find(" - fuse.zabfs ") == std::string::npos) continue;
    std::istringstream fields(line);
    std::string skipped, point;
    fields >> skipped >> skipped >> skipped >> skipped >> point;
    return point;
  }
  return {};
}

int status(std::string mount, bool members_only) {
  if (mount.empty()) mount = find_mount();
  if (mount.empty()) return fail("no zabfs mount on this machine; name one with --mount");
  std::ifstream in(mount + "/@/cluster");
  if (!in) return fail(fmt::format("{}/@/cluster: {}", mount, std::strerror(errno)));
  std::string line;
  bool quorum = false;
  while (std::getline(in, line)) {
    quorum = quorum || line == "quorum yes";
    if (!members_only || line.starts_with("member ")) fmt::print("{}\n", line);
  }
  return quorum ? 0 : kFailed;
}

int watch(const std::string& path) {
  std::string file = path + "/@/watch";
  int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return fail(fmt::format("{}: {}", file, std::strerror(errno)));
  std::vector<char> buffer(65'536);
  while (true) {
    ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(fmt::format("{}: {}", file, std::strerror(errno)));
    if (n == 0) return 0;  // the directory is gone
    if (::write(STDOUT_FILENO, buffer.data(), static_cast<size_t>(n)) != n) return kFailed;
  }
}

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

pid_t start_command(std::vector<std::string>& command) {
  pid_t child = ::fork();
  if (child != 0) {
    ::setpgid(child, child);
    return child;
  }
  ::setpgid(0, 0);
  if (::isatty(STDIN_FILENO) != 0) {
    ::signal(SIGTTOU, SIG_IGN);
    ::tcsetpgrp(STDIN_FILENO, ::getpid());
    ::signal(SIGTTOU, SIG_DFL);
  }
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  fmt::print(stderr, "zabfs: {}: {}\n", command[0], std::strerror(errno));
  ::_exit(errno == ENOENT ? 127 : 126);
}

std::atomic<int> caught_signal{0};

int run_locked(int fd, const std::string& file, std::vector<std::string>& command) {
  // The watching thread may be stuck in the daemon for good, so it is never joined.
  auto* shared = new LockWatch();
  shared->deadline_ms = INT64_MAX;
  std::thread([fd, file, shared] { watch_lock(fd, file, *shared); }).detach();
  pid_t child = start_command(command);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    ::signal(signal, [](int number) { caught_signal = number; });
  }
  int result = 0;
  bool ending = false;
  auto lost = [&] {
    return fail(fmt::format("the lock on {} was lost; the command was ended", file), kLockLost);
  };
  while (true) {
    pid_t ended = ::waitpid(child, &result, WNOHANG);
    if (ended == child && ending) return lost();
    if (ended == child) break;
    if (int number = caught_signal.exchange(0)) ::kill(-child, number);
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
  return WIFEXITED(result) ? WEXITSTATUS(result) : 128 + WTERMSIG(result);
}

int lock(const std::string& directory, double timeout_s, std::vector<std::string>& command) {
  std::string file = directory + "/@/lock";
  int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return fail(fmt::format("{}: {}", file, std::strerror(errno)));
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
    return fail(fmt::format("{}: {}", file, std::strerror(errno)));
  }
  itimerval off = {};
  ::setitimer(ITIMER_REAL, &off, nullptr);
  int code = run_locked(fd, file, command);
  ::flock(fd, LOCK_UN);
  return code;
}

// DIR is a dataDir (its zabfs folder is meant) or that folder itself.
int check(const std::string& directory, const std::string& log_directory) {
  auto storage = [](const std::string& path) {
    return std::filesystem::is_directory(path + "/zabfs") ? path + "/zabfs" : path;
  };
  std::string snapshots = storage(directory);
  std::string log = log_directory.empty() ? snapshots : storage(log_directory);
  for (const std::string& path : {snapshots, log}) {
    if (!std::filesystem::exists(path + "/identity")) {
      return fail(fmt::format("{} holds no data of zabfsd's", path), kUsage);
    }
  }
  zabfs::consensus::PosixDisk snapshot_disk(snapshots), log_disk(log);
  zabfs::consensus::CheckResult result = zabfs::consensus::check_storage(log_disk, snapshot_disk);
  for (const std::string& line : result.found) fmt::print("{}\n", line);
  for (const std::string& line : result.damage) fmt::print("DAMAGE: {}\n", line);
  if (result.damage.empty()) fmt::print("all is well\n");
  return result.damage.empty() ? 0 : kFailed;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"zabfs: locks, watches and the state of a mounted ensemble; its data on disk"};
  app.require_subcommand(1);
  std::string mount, path;
  double timeout_s = -1;
  std::vector<std::string> command;

  CLI::App* status_command =
      app.add_subcommand("status", "print @/cluster; exit 0 with quorum, 1 without");
  status_command->add_option("--mount", mount, "the mount (default: $ZABFS_MOUNT, or the first)");
  CLI::App* members_command = app.add_subcommand("members", "print the members");
  members_command->add_option("--mount", mount, "the mount");

  CLI::App* lock_command = app.add_subcommand(
      "lock", "take DIR's lock, run CMD, exit with its code; 125 if the lock was lost");
  lock_command->add_option("dir", path, "a directory of the mount")->required();
  lock_command->add_option("--timeout", timeout_s, "seconds to wait; 0 not at all");
  lock_command->add_option("command", command, "the command, after --")->required();
  lock_command->prefix_command(false);
  lock_command->positionals_at_end(false);

  CLI::App* watch_command = app.add_subcommand("watch", "print the changes of a directory");
  watch_command->add_option("path", path, "a directory of the mount")->required();

  std::string log_directory;
  CLI::App* check_command = app.add_subcommand(
      "check", "verify the data directory of a stopped node; exit 1 if anything is damaged");
  check_command->add_option("dir", path, "its dataDir")->required();
  check_command->add_option("--log-dir", log_directory, "its dataLogDir, if that is another");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    int code = app.exit(error);
    return code == 0 ? 0 : kUsage;
  }
  if (status_command->parsed()) return status(mount, false);
  if (members_command->parsed()) return status(mount, true);
  if (watch_command->parsed()) return watch(path);
  if (check_command->parsed()) return check(path, log_directory);
  return lock(path, timeout_s, command);
}
