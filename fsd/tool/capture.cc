#include "fsd/tool/capture.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "fsd/beneath.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace {

constexpr size_t kErrorBytes = 500;

struct Pipe {
  fsd::Descriptor reading, writing;
  bool open() {
    int ends[2] = {-1, -1};
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    reading = fsd::Descriptor(ends[0]);
    writing = fsd::Descriptor(ends[1]);
    return true;
  }
};

// Gives its number; 0, with errno, if it can't be started.
pid_t start(const std::vector<std::string>& words, const Pipe& out, const Pipe& errors) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, out.writing.get(), 1);
  ::posix_spawn_file_actions_adddup2(&actions, errors.writing.get(), 2);
  pid_t pid = 0;
  int error = ::posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  errno = error;
  return error == 0 ? pid : 0;
}

// False: it is at its end.
bool take(int fd, std::string& text, size_t most) {
  char part[65'536];
  ssize_t size = ::read(fd, part, sizeof(part));
  if (size < 0 && errno == EINTR) return true;
  if (size <= 0) return false;
  text.append(part, std::min(static_cast<size_t>(size), most - std::min(most, text.size())));
  return true;
}

// False: that time was over before its end.
bool read_both(const Pipe& out, const Pipe& errors, std::string& text, std::string& why,
               CaptureLimits limits) {
  int64_t end_ms = now_ms() + limits.timeout_ms;
  pollfd ends[] = {{out.reading.get(), POLLIN, 0}, {errors.reading.get(), POLLIN, 0}};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    int64_t left_ms = end_ms - now_ms();
    if (left_ms <= 0) return false;
    if (::poll(ends, 2, static_cast<int>(left_ms)) < 0) continue;
    if (ends[0].revents != 0 && !take(ends[0].fd, text, limits.bytes + 1)) ends[0].fd = -1;
    if (ends[1].revents != 0 && !take(ends[1].fd, why, kErrorBytes)) ends[1].fd = -1;
  }
  return true;
}

}  // namespace

StatusOr<std::string> capture(const std::vector<std::string>& words, CaptureLimits limits) {
  Pipe out, errors;
  if (!out.open() || !errors.open()) return Status::failed(error_of("pipe"));
  pid_t pid = start(words, out, errors);
  if (pid == 0) return Status::failed(error_of(words[0]));
  out.writing.close();
  errors.writing.close();
  std::string text, why;
  int status = 0;
  if (!read_both(out, errors, text, why, limits)) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, WNOHANG);
    return Status::failed(
        fmt::format("{} did not end within {} s", words[0], limits.timeout_ms / 1'000));
  }
  ::waitpid(pid, &status, 0);
  if (text.size() > limits.bytes) {
    text.resize(limits.bytes);
    text += fmt::format("\n(what is beyond {} bytes is left out)\n", limits.bytes);
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return text;
  why = why.substr(0, why.find('\n'));
  // Without a quorum `status` fails, and its text says why.
  if (WIFEXITED(status) && why.empty() && !text.empty()) return text;
  if (why.empty()) why = fmt::format("{} failed with status {}", words[0], status);
  if (!text.empty()) return text + "\n(" + why + ")\n";
  return Status::failed(why);
}

}  // namespace zabfs::tool
