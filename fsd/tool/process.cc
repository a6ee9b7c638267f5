#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
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

}  // namespace

pid_t start_command(const std::vector<std::string>& command,
                    const std::vector<std::string>& environment, int death_signal) {
  pid_t parent = ::getpid();
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
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_DFL);
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
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaction(signal, &action, nullptr);
}

int caught() { return caught_signal.exchange(0); }

int exit_code(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int run_command(const std::vector<std::string>& command,
                const std::vector<std::string>& environment) {
  pid_t child = start_command(command, environment);
  int result = 0;
  while (::waitpid(child, &result, 0) < 0 && errno == EINTR) {
    if (int number = caught_signal) ::kill(-child, number);
  }
  if (::isatty(STDIN_FILENO) != 0) {  // the terminal is ours again
    ::signal(SIGTTOU, SIG_IGN);
    ::tcsetpgrp(STDIN_FILENO, ::getpgrp());
    ::signal(SIGTTOU, SIG_DFL);
  }
  return exit_code(result);
}

}  // namespace zabfs::tool
