// zabfs run --member: an ephemeral child of DIR for as long as a command runs and its check passes.
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "fsd/beneath.h"
#include "fsd/tool/process.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {
namespace {

constexpr int kTickMs = 100;
constexpr int kReconnectMs = 1'000;
constexpr int kGoneMs = 2'000;  // without a leader it does not go at all

// The registration: a handle of `@/ephemeral/NAME` that is held open.
class Member {
 public:
  explicit Member(const MemberOptions& options)
      : directory_(options.directory), name_(options.name), data_(options.data) {}
  ~Member() { leave(); }

  // Whoever runs zabfs next finds it gone: the daemon hears of a closed handle after `close`
  // returns.
  void leave_and_wait() {
    std::string file = join(directory_, name_);
    struct stat own = {}, now = {};
    bool is_there = is_in() && !is_lost() && ::lstat(file.c_str(), &own) == 0;
    leave();
    int64_t until_ms = now_ms() + kGoneMs;
    while (is_there && now_ms() < until_ms) {
      is_there = ::lstat(file.c_str(), &now) == 0 && now.st_ino == own.st_ino;
      if (is_there) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }

  bool join_in() {
    if (fd_ >= 0) return true;
    // After every loss it is looked for again: somebody may have led its path elsewhere by then.
    fsd::Descriptor directory(::open(directory_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!directory) return false;
    fd_ = fsd::open_beneath(directory.get(), control_file(), O_RDWR | O_CREAT, 0644).release();
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
  std::string file() const { return join(directory_, control_file()); }

 private:
  std::string control_file() const { return join("@/ephemeral", name_); }

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
  Command command(options.command, {});
  auto every_ms = static_cast<int64_t>(options.every_s * 1000);
  int64_t next_check_ms = now_ms();
  int64_t next_try_ms = 0;
  std::optional<Command> checking;
  bool fit = !checks;
  bool told = false;
  while (!command.has_ended(kTickMs)) {
    for (Caught signal = caught(); signal.number != 0; signal = caught()) command.pass_on(signal);
    if (checking && checking->has_ended(0)) {
      bool passes = checking->code() == 0;
      if (passes != fit) fmt::print(stderr, "zabfs: the check {}\n", passes ? "passes" : "fails");
      fit = passes;
      checking.reset();
    }
    if (checks && now_ms() >= next_check_ms) {
      if (checking) {  // it takes longer than it may
        checking->end(SIGKILL);
      } else {
        Command::Options check_options;
        check_options.death_signal = SIGKILL;
        checking.emplace(std::vector<std::string>{"/bin/sh", "-c", options.check}, check_options);
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
      next_try_ms = now_ms() + kReconnectMs;
    }
  }
  member.leave_and_wait();
  if (checking) checking->end(SIGKILL);
  return command.exit_like_it();
}

}  // namespace zabfs::tool
