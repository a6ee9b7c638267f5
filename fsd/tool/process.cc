#include "fsd/tool/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "fsd/tool/tool.h"

namespace zabfs::tool {
namespace {

constexpr int kVerdictMs = 20;
constexpr int64_t kEndingMs = 2'000;  // then what can't be killed is left

// ---- signals

// How zabfs was started; its commands are started so, too.
struct Inherited {
  sigset_t mask;
  bool ignores_children;
};

const Inherited& inherited() {
  static const Inherited state = [] {
    Inherited now = {};
    ::sigprocmask(SIG_SETMASK, nullptr, &now.mask);
    struct sigaction action = {};
    ::sigaction(SIGCHLD, nullptr, &action);
    now.ignores_children = action.sa_handler == SIG_IGN;
    return now;
  }();
  return state;
}

std::atomic<uint64_t> noted{0}, noted_of_terminal{0};
std::atomic<int> wake_fd{-1};  // an eventfd: readable when one was noted

uint64_t bit_of(int number) { return uint64_t{1} << (number - 1); }

void note(int number, bool from_terminal) {
  (from_terminal ? noted_of_terminal : noted) |= bit_of(number);
  uint64_t one = 1;
  if (::write(wake_fd, &one, sizeof(one)) < 0) return;  // it is readable as it is
}

// Those whose default is to end the process, and that others send.
std::vector<int> ending_signals() {
  std::vector<int> signals = {SIGHUP,  SIGINT,  SIGQUIT, SIGALRM, SIGTERM,   SIGUSR1,
                              SIGUSR2, SIGPOLL, SIGPROF, SIGPWR,  SIGVTALRM, SIGSTKFLT};
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) signals.push_back(number);
  return signals;
}

bool is_for_group(int number) {
  return number == SIGHUP || number == SIGINT || number == SIGQUIT || number == SIGTERM;
}

// Before exec. A signal that comes until then is not to run a handler of ours, which would lose it;
// what is ignored stays so.
void start_as_inherited() {
  for (int number = 1; number <= SIGRTMAX; ++number) {
    struct sigaction action = {};
    if (::sigaction(number, nullptr, &action) != 0 || action.sa_handler == SIG_IGN) continue;
    if (action.sa_handler != SIG_DFL) ::signal(number, SIG_DFL);
  }
  if (inherited().ignores_children) ::signal(SIGCHLD, SIG_IGN);
  ::sigprocmask(SIG_SETMASK, &inherited().mask, nullptr);
}

// ---- processes below this one

struct Process {
  pid_t pid = 0, parent = 0, group = 0;
  bool runs = true;  // it is not over, nor on its way out
};

std::vector<Process> all_processes() {
  constexpr unsigned kExiting = 0x4;  // PF_EXITING of the kernel's flags
  std::vector<Process> found;
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return found;
  while (const dirent* entry = ::readdir(proc)) {
    std::optional<std::string> text = read_file(std::string("/proc/") + entry->d_name + "/stat");
    size_t name_end = text ? text->rfind(')') : std::string::npos;
    if (name_end == std::string::npos) continue;
    Process process;
    process.pid = std::atoi(entry->d_name);
    char state = 0;
    int session = 0, terminal = 0, foreground = 0;
    unsigned flags = 0;
    int fields =
        std::sscanf(text->c_str() + name_end + 1, " %c %d %d %d %d %d %u", &state, &process.parent,
                    &process.group, &session, &terminal, &foreground, &flags);
    if (fields != 7 || process.pid <= 0) continue;
    process.runs = state != 'Z' && state != 'X' && (flags & kExiting) == 0;
    found.push_back(process);
  }
  ::closedir(proc);
  return found;
}

std::vector<Process> below_us() {
  std::multimap<pid_t, Process> children;
  for (const Process& process : all_processes()) children.emplace(process.parent, process);
  std::vector<Process> below = {{.pid = ::getpid()}};
  for (size_t i = 0; i < below.size(); ++i) {
    auto [first, last] = children.equal_range(below[i].pid);
    for (auto child = first; child != last; ++child) below.push_back(child->second);
  }
  below.erase(below.begin());
  return below;
}

// Whether there was one. Of a process whose first thread is over, others may still run.
bool signal_all(int number) {
  bool any = false;
  for (const Process& process : below_us()) {
    if (::kill(process.pid, number) == 0 && process.runs) any = true;
  }
  return any;
}

// While one is looked for, another may be started.
void kill_all() {
  for (int64_t end = now_ms() + kEndingMs; now_ms() < end && signal_all(SIGKILL);) {
    ::poll(nullptr, 0, 1);
  }
}

void end_all(int number) {
  if (number == SIGKILL) {
    kill_all();
  } else {
    signal_all(number);
  }
}

[[noreturn]] void execute(const std::vector<std::string>& command,
                          const Command::Options& options) {
  std::vector<std::string> words = command, settings = options.environment;
  for (std::string& setting : settings) ::putenv(setting.data());
  for (int fd : options.inherited) ::fcntl(fd, F_SETFD, 0);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  start_as_inherited();
  ::execvp(argv[0], argv.data());
  int error = errno;
  fmt::print(stderr, "zabfs: {}: {}\n", words[0], std::strerror(error));
  ::_exit(error == ENOENT ? 127 : 126);
}

// Of the socket between zabfs and a keeper.
struct Order {
  int signal;
  char how;  // kPassOn or kEnd
};
constexpr char kPassOn = 'p', kEnd = 'e';

}  // namespace

void catch_signals() {
  inherited();
  if (wake_fd < 0) wake_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  for (int number : ending_signals()) {
    struct sigaction before = {};
    if (::sigaction(number, nullptr, &before) != 0 || before.sa_handler == SIG_IGN) continue;
    struct sigaction action = {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int signal, siginfo_t* info, void*) {
      note(signal, info->si_code == SI_KERNEL);
    };
    ::sigaction(number, &action, nullptr);
  }
}

Caught caught() {
  uint64_t count = 0;
  if (::read(wake_fd, &count, sizeof(count)) < 0) count = 0;
  for (bool from_terminal : {false, true}) {
    std::atomic<uint64_t>& signals = from_terminal ? noted_of_terminal : noted;
    uint64_t bits = signals;
    if (bits == 0) continue;
    int number = __builtin_ctzll(bits) + 1;
    signals &= ~bit_of(number);
    return {number, from_terminal};
  }
  return {};
}

int caught_fd() { return wake_fd; }

// The keeper's process. All signals are blocked in it: those of the terminal are not for it.
class Command::Keeper {
 public:
  Keeper(const Options& options, int socket) : options_(options), socket_(socket) {
    if (options_.stays && ::pipe2(pipe_, O_CLOEXEC) != 0) ::_exit(kFailed);
  }

  [[noreturn]] void run(const std::vector<std::string>& words) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    ::prctl(PR_SET_NAME, "zabfs-keeper");
    sigset_t children;
    ::sigemptyset(&children);
    ::sigaddset(&children, SIGCHLD);
    children_ = ::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
    pid_t keeper = ::getpid();
    command_ = ::fork();
    if (command_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, options_.death_signal);
      if (::getppid() != keeper) ::_exit(128 + options_.death_signal);
      if (options_.stays) ::fcntl(pipe_[1], F_SETFD, 0);
      execute(words, options_);
    }
    if (command_ < 0) ::_exit(fail(error_of("fork")));
    let_go_of_what_is_the_commands();
    while (true) {
      wait();
      reap();
      obey();
      judge();
    }
  }

 private:
  // And what is zabfs's: what that closes is not to be held open here.
  void let_go_of_what_is_the_commands() {
    int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    std::set<int> kept = {0, 1, 2, socket_, children_};
    for (int fd : {0, 1, 2}) ::dup2(nothing, fd);
    if (options_.stays) kept.insert(pipe_[0]);
    kept.insert(options_.inherited.begin(), options_.inherited.end());
    unsigned next = 0;
    for (int fd : kept) {
      auto number = static_cast<unsigned>(fd);
      if (number > next) ::close_range(next, number - 1, 0);
      next = number + 1;
    }
    ::close_range(next, ~0u, 0);
    if (::chdir("/") != 0) return;  // whatever is unmounted next, it is not held by us
  }

  void wait() {
    pollfd wanted[] = {
        {socket_, POLLIN, 0}, {children_, POLLIN, 0}, {has_ended_ ? pipe_[0] : -1, POLLIN, 0}};
    ::poll(wanted, 3, options_.verdict ? kVerdictMs : -1);
    if (has_ended_ && wanted[2].revents != 0) ::_exit(0);
  }

  void reap() {
    signalfd_siginfo info;
    while (::read(children_, &info, sizeof(info)) > 0) {
    }
    int status = 0;
    while (pid_t pid = ::waitpid(-1, &status, WNOHANG)) {
      if (pid < 0) break;
      if (pid == command_) ended(status);
    }
  }

  void ended(int status) {
    has_ended_ = true;
    bool left_some = false;
    if (options_.stays) {
      pollfd others = {pipe_[0], POLLIN, 0};
      left_some = ::poll(&others, 1, 0) == 0;
    }
    report({status, is_asked_, left_some});
    if (!left_some) ::_exit(0);
  }

  void report(const Report& report) {
    if (socket_ < 0) return;
    ::send(socket_, &report, sizeof(report), MSG_NOSIGNAL);
    ::close(std::exchange(socket_, -1));
  }

  void obey() {
    Order order = {};
    while (socket_ >= 0) {
      ssize_t size = ::recv(socket_, &order, sizeof(order), MSG_DONTWAIT);
      if (size < 0) return;
      if (size == 0) {  // zabfs was killed
        end_all(options_.death_signal);
        ::_exit(0);
      }
      if (order.how == kEnd) {
        end_all(order.signal);
      } else if (is_for_group(order.signal)) {
        signal_group(order.signal);
      } else {
        ::kill(command_, order.signal);
      }
    }
  }

  void signal_group(int number) {
    pid_t group = ::getpgid(command_);
    for (const Process& process : below_us()) {
      if (process.pid == command_ || process.group == group) ::kill(process.pid, number);
    }
  }

  void judge() {
    int number = options_.verdict ? options_.verdict() : 0;
    if (number == 0) {
      is_asked_ = false;
      return;
    }
    if (number != SIGKILL) {
      if (!std::exchange(is_asked_, true)) end_all(number);
      return;
    }
    kill_all();
    report({SIGKILL, true, false});
    ::_exit(0);
  }

  const Options& options_;
  int socket_;
  int children_ = -1;  // a signalfd
  pid_t command_ = 0;
  int pipe_[2] = {-1, -1};  // its writing end is the command's
  bool has_ended_ = false;
  bool is_asked_ = false;  // by the verdict that holds, to end
};

Command::Command(const std::vector<std::string>& words, const Options& options)
    : stays_(options.stays) {
  inherited();
  ::signal(SIGCHLD, SIG_DFL);  // where it is ignored, children are not waited for
  if (stays_) ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    fail(error_of("socketpair"));
    return;
  }
  sigset_t all, before;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, &before);
  keeper_ = ::fork();
  if (keeper_ == 0) {
    ::close(ends[0]);
    Keeper(options, ends[1]).run(words);
  }
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  ::close(ends[1]);
  socket_ = ends[0];
}

Command::~Command() {
  if (socket_ >= 0) ::close(socket_);
  if (keeper_ > 0 && !stays_) ::waitpid(keeper_, nullptr, 0);
}

bool Command::has_ended(int timeout_ms) {
  if (has_report_) return true;
  pollfd wanted[] = {{socket_, POLLIN, 0}, {wake_fd, POLLIN, 0}};
  if (socket_ >= 0) ::poll(wanted, 2, timeout_ms);
  if (socket_ >= 0 && wanted[0].revents == 0) return false;
  has_report_ = true;
  if (::recv(socket_, &report_, sizeof(report_), 0) == ssize_t{sizeof(report_)}) return true;
  report_ = {SIGKILL, false, false};  // there is no keeper any more
  if (stays_) kill_all();
  return true;
}

void Command::tell(int signal, char how) {
  Order order = {signal, how};
  ::send(socket_, &order, sizeof(order), MSG_NOSIGNAL);
}

void Command::pass_on(Caught signal) {
  saw_interrupt_ |= signal.from_terminal && signal.number == SIGINT;
  // A terminal that is hung up may tell only the leader of its session.
  if (!signal.from_terminal || signal.number == SIGHUP) tell(signal.number, kPassOn);
}

void Command::end(int signal) { tell(signal, kEnd); }

int Command::code() const {
  int status = report_.status;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int Command::exit_like_it() const {
  if (saw_interrupt_ && WIFSIGNALED(report_.status) && WTERMSIG(report_.status) == SIGINT) {
    ::signal(SIGINT, SIG_DFL);
    ::raise(SIGINT);
  }
  return code();
}

int run_command(const std::vector<std::string>& words,
                const std::vector<std::string>& environment) {
  Command::Options options;
  options.environment = environment;
  Command command(words, options);
  Caught last;
  while (!command.has_ended(-1)) {
    for (Caught signal = caught(); signal.number != 0; signal = caught()) {
      command.pass_on(signal);
      last = signal;
    }
  }
  if (last.number != 0) note(last.number, last.from_terminal);
  return command.code();
}

}  // namespace zabfs::tool
