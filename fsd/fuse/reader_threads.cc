#include "fsd/fuse/reader_threads.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <string>

namespace zabfs::fsd {

namespace {

constexpr int64_t kCopyUs = 20'000;       // of CPU: far more than the largest read takes
constexpr int64_t kStuckUs = 20'000'000;  // who hasn't ended it by then never will

// proc(5): /proc/PID/syscall has the number and the arguments of the system call that a thread is
// blocked in.
struct Call {
  bool is_running = false;
  long number = -1;  // -1: in none, but a fault
  uint64_t arguments[4] = {};

  bool reads_at_offset() const {
    return number == SYS_pread64 || number == SYS_preadv || number == SYS_preadv2;
  }
  bool reads() const { return reads_at_offset() || number == SYS_read || number == SYS_readv; }
  // The descriptor that it copies from.
  std::optional<uint64_t> source() const {
    if (reads() || number == SYS_splice || number == SYS_copy_file_range) return arguments[0];
    if (number == SYS_sendfile) return arguments[1];
    return std::nullopt;
  }
};

// Nothing if the thread is gone, or not ours to see.
std::optional<Call> call_of(pid_t thread) {
  std::ifstream in(fmt::format("/proc/{}/syscall", thread));
  Call call;
  std::string first;
  if (!(in >> first)) return std::nullopt;
  call.is_running = first == "running";
  if (call.is_running) return call;
  call.number = std::strtol(first.c_str(), nullptr, 10);
  for (uint64_t& argument : call.arguments) {
    if (call.number >= 0 && !(in >> std::hex >> argument)) return std::nullopt;
  }
  return call;
}

// A line of /proc/PID/fdinfo/FD.
std::optional<uint64_t> of_descriptor(pid_t thread, uint64_t descriptor, const std::string& line) {
  std::ifstream in(fmt::format("/proc/{}/fdinfo/{}", thread, descriptor));
  std::string key, value;
  while (in >> key >> value) {
    if (key == line) return std::strtoull(value.c_str(), nullptr, 10);
  }
  return std::nullopt;
}

// By a signal or a debugger, and so on its way out of the kernel: what it read is copied.
bool is_stopped(pid_t thread) {
  std::ifstream in(fmt::format("/proc/{}/stat", thread));
  std::string line;
  std::getline(in, line);
  size_t name_end = line.rfind(") ");  // a name may have any characters
  if (name_end == std::string::npos || name_end + 2 >= line.size()) return false;
  char state = line[name_end + 2];
  return state == 'T' || state == 't';
}

int64_t ran_us(pid_t thread) {
  std::ifstream in(fmt::format("/proc/{}/schedstat", thread));
  int64_t nanoseconds = 0;
  in >> nanoseconds;
  return nanoseconds / 1'000;
}

}  // namespace

Asking asking(pid_t thread) {
  std::optional<Call> call = call_of(thread);
  if (!call) return {};
  if (call->is_running) return {true, std::nullopt};
  if (!call->reads()) return {};
  if (call->reads_at_offset()) return {false, call->arguments[3]};
  // The position moves when the read ends.
  return {false, of_descriptor(thread, call->arguments[0], "pos:")};
}

bool may_change_names(pid_t thread) {
  std::optional<Call> call = call_of(thread);
  if (!call) return ::access(fmt::format("/proc/{}", thread).c_str(), F_OK) == 0;
  constexpr std::array kCalls = {SYS_unlink,    SYS_unlinkat, SYS_rmdir,   SYS_rename, SYS_renameat,
                                 SYS_renameat2, SYS_bind,     SYS_open,    SYS_openat, SYS_openat2,
                                 SYS_creat,     SYS_mkdir,    SYS_mkdirat, SYS_mknod,  SYS_mknodat,
                                 SYS_symlink,   SYS_symlinkat};
  return call->is_running || call->number < 0 ||
         std::find(kCalls.begin(), kCalls.end(), call->number) != kCalls.end();
}

// What a thread sleeps in for long, most times: it looks nothing up there.
bool may_look_up(pid_t thread) {
  std::optional<Call> call = call_of(thread);
  if (!call) return ::access(fmt::format("/proc/{}", thread).c_str(), F_OK) == 0;
  constexpr std::array kCalls = {SYS_read,           SYS_write,         SYS_poll,
                                 SYS_ppoll,          SYS_select,        SYS_pselect6,
                                 SYS_epoll_wait,     SYS_epoll_pwait,   SYS_nanosleep,
                                 SYS_futex,          SYS_wait4,         SYS_waitid,
                                 SYS_recvfrom,       SYS_recvmsg,       SYS_accept,
                                 SYS_accept4,        SYS_pause,         SYS_flock,
                                 SYS_fsync,          SYS_rt_sigsuspend, SYS_rt_sigtimedwait,
                                 SYS_clock_nanosleep};
  return call->is_running || call->number < 0 ||
         std::find(kCalls.begin(), kCalls.end(), call->number) == kCalls.end();
}

bool ThreadWait::is_on(const std::vector<AnsweredThread>& threads, const std::set<uint64_t>& inodes,
                       int64_t now_us) {
  if (now_us >= since_us_ + kStuckUs) return false;
  return std::any_of(threads.begin(), threads.end(), [&](const AnsweredThread& thread) {
    std::optional<Call> call = call_of(thread.id);
    if (!call || is_stopped(thread.id)) return false;
    if (call->is_running || call->number < 0) return may_run(thread);
    std::optional<uint64_t> source = call->source();
    if (!source) return false;
    std::optional<uint64_t> inode = of_descriptor(thread.id, *source, "ino:");
    return inode && inodes.contains(*inode);
  });
}

bool ThreadWait::may_land(const AnsweredThread& thread, int64_t now_us) {
  if (now_us >= since_us_ + kStuckUs) return false;
  std::optional<Call> call = call_of(thread.id);
  return call && call->is_running && may_run(thread);
}

// Not if it has run long enough since this was first asked.
bool ThreadWait::may_run(const AnsweredThread& thread) {
  int64_t ran = ran_us(thread.id);
  return ran - ran_us_.try_emplace(thread, ran).first->second < kCopyUs;
}

}  // namespace zabfs::fsd
