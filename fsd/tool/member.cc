// zabfs run --member: an ephemeral child of DIR for as long as a command runs and its check passes.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "fsd/beneath.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {
namespace {

constexpr int kTickMs = 100;
constexpr int kRetryMs = 1'000;

// The registration: a handle of `@/ephemeral/NAME` that is held open.
class Member {
 public:
  explicit Member(const MemberOptions& options)
      : directory_(options.directory),
        name_(join("@/ephemeral", options.name)),
        data_(options.data) {}
  ~Member() { leave(); }

  bool join_in() {
    if (fd_ >= 0) return true;
    // After every loss it is looked for again: somebody may have led its path elsewhere by then.
    fsd::Descriptor directory(::open(directory_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory) return false;
    fd_ = fsd::open_beneath(directory.get(), name_, O_RDWR | O_CREAT, 0644).release();
    if (fd_ < 0) return false;
    if (!data_.empty() && (!write_all(fd_, data_) || ::fsync(fd_) != 0)) {
      leave();
      return false;
    }
    return true;
  }
  void leave() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  bool is_in() const { return fd_ >= 0; }
  // Lost with the mount's session, or with the mount.
  bool is_lost() {
    char byte;
    return is_in() && ::pread(fd_, &byte, 1, 0) < 0 && errno != EINTR;
  }
  std::string file() const { return join(directory_, name_); }

 private:
  std::string directory_, name_, data_;
  int fd_ = -1;
};

}  // namespace

int run_member(const MemberOptions& options) {
  Member member(options);
  bool checks = !options.check.empty();
  catch_signals();  // who sees the member may end it
  // Without a check it is fit from the start, and a directory that isn't there is told at once.
  if (!checks && !member.join_in()) return fail(error_of(member.file()));
  pid_t child = start_command(options.command);
  auto every_ms = static_cast<int64_t>(options.every_s * 1000);
  int64_t next_check_ms = now_ms();
  int64_t next_try_ms = 0;
  pid_t checking = 0;
  bool fit = !checks;
  bool told = false;
  while (true) {
    int result = 0;
    if (::waitpid(child, &result, WNOHANG) == child) {
      member.leave();
      if (checking != 0) ::kill(-checking, SIGKILL);
      return exit_code(result);
    }
    if (int number = caught()) ::kill(-child, number);
    if (checking != 0 && ::waitpid(checking, &result, WNOHANG) == checking) {
      checking = 0;
      bool passes = exit_code(result) == 0;
      if (passes != fit) fmt::print(stderr, "zabfs: the check {}\n", passes ? "passes" : "fails");
      fit = passes;
    }
    if (checks && now_ms() >= next_check_ms) {
      if (checking != 0) {  // it takes longer than it may
        ::kill(-checking, SIGKILL);
      } else {
        checking = start_command({"/bin/sh", "-c", options.check});
      }
      next_check_ms = now_ms() + every_ms;
    }
    if (member.is_lost()) {
      fmt::print(stderr, "zabfs: {}; registers again\n", error_of(member.file()));
      member.leave();
    }
    if (!fit) member.leave();
    if (fit && !member.is_in() && now_ms() >= next_try_ms) {
      bool is_in = member.join_in();
      if (!is_in && !std::exchange(told, true)) fail(error_of(member.file()));
      if (is_in) told = false;
      next_try_ms = now_ms() + kRetryMs;
    }
    ::poll(nullptr, 0, kTickMs);
  }
}

}  // namespace zabfs::tool
