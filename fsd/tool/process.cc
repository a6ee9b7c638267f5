#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "fsd/tool/tool.h"

namespace zabfs::tool {
namespace {

std::atomic<int> caught_signal{0};

constexpr int kEnding[] = {SIGINT, SIGTERM, SIGHUP};

sigset_t ending_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  for (int signal : kEnding) ::sigaddset(&signals, signal);
  return signals;
}

// While there is one of these, a signal that would end the command waits.
class SignalsWait {
 public:
  SignalsWait() {
    sigset_t signals = ending_signals();
    ::sigprocmask(SIG_BLOCK, &signals, &before_);
  }
  ~SignalsWait() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  SignalsWait(const SignalsWait&) = delete;
  SignalsWait& operator=(const SignalsWait&) = delete;

  const sigset_t& before() const { return before_; }

 private:
  sigset_t before_;
};

}  // namespace

pid_t start_command(const std::vector<std::string>& command,
                    const std::vector<std::string>& environment, int death_signal) {
  pid_t parent = ::getpid();
  // A signal that is passed on to the child at once must not be caught by what the child has
  // inherited: exec would forget it.
  SignalsWait wait;
  pid_t child = ::fork();
  if (child != 0) {
    ::setpgid(child, child);
    return child;
  }
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, death_signal);
  if (::getppid() != parent) ::_exit(128 + death_signal);  // killed before that
  if (::isatty(STDIN_FILENO) != 0) {
    ::signal(SIGTTOU, SIG_IGN);
    ::tcsetpgrp(STDIN_FILENO, ::getpid());
    ::signal(SIGTTOU, SIG_DFL);
  }
  for (int signal : kEnding) ::signal(signal, SIG_DFL);
  sigset_t signals = ending_signals();
  ::sigprocmask(SIG_UNBLOCK, &signals, nullptr);
  std::vector<std::string> words = command, settings = environment;
  for (std::string& setting : settings) ::putenv(setting.data());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  fmt::print(stderr, "zabfs: {}: {}\n", words[0], std::strerror(errno));
  ::_exit(errno == ENOENT ? 127 : 126);
}

void catch_signals() {
  struct sigaction action = {};
  action.sa_handler = [](int number) { caught_signal = number; };
  for (int signal : kEnding) ::sigaction(signal, &action, nullptr);
}

int caught() { return caught_signal.exchange(0); }

int exit_code(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int run_command(const std::vector<std::string>& command,
                const std::vector<std::string>& environment) {
  // Signals come only while it is waited: none is overlooked between two looks.
  SignalsWait wait;
  pid_t child = start_command(command, environment);
  int result = 0;
  // glibc 2.36 declares pidfd_open for C alone.
  pollfd ended = {static_cast<int>(::syscall(SYS_pidfd_open, child, 0)), POLLIN, 0};
  bool is_told = caught_signal != 0;
  while (ended.fd >= 0 && ::waitpid(child, &result, WNOHANG) == 0) {
    if (is_told) ::kill(-child, caught_signal);
    is_told = ::ppoll(&ended, 1, nullptr, &wait.before()) < 0 && caught_signal != 0;
  }
  if (ended.fd < 0) ::waitpid(child, &result, 0);
  ::close(ended.fd);
  if (::isatty(STDIN_FILENO) != 0) {  // the terminal is ours again
    ::signal(SIGTTOU, SIG_IGN);
    ::tcsetpgrp(STDIN_FILENO, ::getpgrp());
    ::signal(SIGTTOU, SIG_DFL);
  }
  return exit_code(result);
}

}  // namespace zabfs::tool
