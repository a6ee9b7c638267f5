#include "fsd/fuse/replay_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <vector>

#include "fsd/beneath.h"

namespace zabfs::fsd {
namespace {

constexpr size_t kMaxMessage = 16'384;
constexpr int kTries = 5;
constexpr uint32_t kFirstIdentity = 0x8000'0000;  // users and groups above are nobody's
constexpr uint32_t kLastIdentity = 0xffff'fffd;   // the two above mean "none"

std::string error_in(const char* call) { return fmt::format("{}: {}", call, std::strerror(errno)); }

// ---- messages: fields, each ended by a zero byte: type, kind, size, path, to

std::optional<ReplayOp> decode(std::string_view text) {
  std::vector<std::string> fields;
  while (!text.empty()) {
    size_t end = text.find('\0');
    if (end == std::string_view::npos) return std::nullopt;
    fields.emplace_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  if (fields.size() != 5) return std::nullopt;
  ReplayOp op;
  op.type = static_cast<Replay>(std::stoi(fields[0]));
  op.kind = static_cast<tree::Kind>(std::stoi(fields[1]));
  op.size = std::stoull(fields[2]);
  op.path = fields[3];
  op.to = fields[4];
  return op;
}

// ---- what is mounted, as the daemon sees it

class Mounts {
 public:
  Mounts() : file_(std::fopen("/proc/self/mountinfo", "re")) {}
  ~Mounts() {
    if (file_ != nullptr) std::fclose(file_);
  }
  Mounts(const Mounts&) = delete;
  Mounts& operator=(const Mounts&) = delete;

  bool is_open() const { return file_ != nullptr; }
  int fd() const { return ::fileno(file_); }
  // Whether a mount of ours with that device is anywhere.
  bool have(uint64_t device) {
    std::string wanted = fmt::format(" {}:{} ", device >> 20, device & 0xfffff);
    bool found = false;
    char* line = nullptr;
    size_t size = 0;
    std::rewind(file_);
    while (!found && ::getline(&line, &size, file_) > 0) {
      found = std::strstr(line, wanted.c_str()) != nullptr &&
              std::strstr(line, " - fuse.zabfs ") != nullptr;
    }
    std::free(line);
    return found;
  }

 private:
  FILE* file_;
};

// ---- what it gives up

// A user and a group of its own: FUSE requests that show them can be nobody else's, unless root's.
std::string change_identity() {
  uint32_t identity = 0;
  if (::getrandom(&identity, sizeof(identity), 0) != sizeof(identity)) return error_in("getrandom");
  identity = std::min(identity | kFirstIdentity, kLastIdentity);
  // The two that it needs to pass where any user and the superuser pass.
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return error_in("prctl");
  if (::setgroups(0, nullptr) != 0) return error_in("setgroups");
  // In a container whose users are few there is no such user: EINVAL, and it stays who it is.
  if (::setresgid(identity, identity, identity) != 0 && errno != EINVAL) {
    return error_in("setresgid");
  }
  if (::setresuid(identity, identity, identity) != 0 && errno != EINVAL) {
    return error_in("setresuid");
  }
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct capabilities[_LINUX_CAPABILITY_U32S_3] = {};
  capabilities[0].permitted = capabilities[0].effective = 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER;
  if (::syscall(SYS_capset, &header, capabilities) != 0) return error_in("capset");
  return {};
}

// Other calls fail with EPERM. The runtime's own are among these: memory, and what ThreadSanitizer
// needs beside it.
std::string limit_calls() {
  scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ERRNO(EPERM));
  if (filter == nullptr) return "seccomp: no memory";
  int error = 0;
  auto allow = [&](int call) {
    if (error == 0) error = ::seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
  };
  for (int call : {SCMP_SYS(recvfrom),     SCMP_SYS(sendto),         SCMP_SYS(poll),
                   SCMP_SYS(ppoll),        SCMP_SYS(read),           SCMP_SYS(lseek),
                   SCMP_SYS(openat2),      SCMP_SYS(close),          SCMP_SYS(statx),
                   SCMP_SYS(mknodat),      SCMP_SYS(mkdirat),        SCMP_SYS(symlinkat),
                   SCMP_SYS(unlinkat),     SCMP_SYS(renameat),       SCMP_SYS(renameat2),
                   SCMP_SYS(ftruncate),    SCMP_SYS(utimensat),      SCMP_SYS(brk),
                   SCMP_SYS(munmap),       SCMP_SYS(mremap),         SCMP_SYS(madvise),
                   SCMP_SYS(futex),        SCMP_SYS(sched_yield),    SCMP_SYS(clock_gettime),
                   SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(restart_syscall),
                   SCMP_SYS(exit),         SCMP_SYS(exit_group)}) {
    allow(call);
  }
  for (int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {  // memory, but no code
    if (error != 0) break;
    error = ::seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                               SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  }
  if (error == 0) {  // what a runtime has to say at its end
    error = ::seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(write), 1,
                               SCMP_A0(SCMP_CMP_EQ, STDERR_FILENO));
  }
  if (error == 0) error = ::seccomp_load(filter);
  ::seccomp_release(filter);
  return error == 0 ? std::string() : fmt::format("seccomp: {}", std::strerror(-error));
}

// ---- what it does

class ReplayProcess {
 public:
  // Enters the mount and gives up the rest; an empty string, or what is wrong.
  std::string enter(const std::string& mount_point);
  uint64_t device() const { return device_; }
  int run();

 private:
  static uint64_t device_of(int fd);
  // Nothing is changed in a directory or through a descriptor of another device.
  bool is_inside(const Descriptor& fd) const { return fd && device_of(fd.get()) == device_; }
  Place found(const std::string& path) const;
  // The file itself, not what it leads to; no descriptor if it is none of the mount.
  Descriptor file(const std::string& path, int flags) const;
  int make(const ReplayOp& op) const;
  int modify(const ReplayOp& op) const;
  int touch(const std::string& path, const timespec* times) const;
  int move(const ReplayOp& op) const;
  int replay(const ReplayOp& op) const;

  Mounts mounts_;
  Descriptor root_;
  uint64_t device_ = 0;
};

// From what the kernel knows, without a request to the daemon.
uint64_t ReplayProcess::device_of(int fd) {
  struct statx st = {};
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) != 0) return 0;
  return uint64_t{st.stx_dev_major} << 20 | st.stx_dev_minor;
}

std::string ReplayProcess::enter(const std::string& mount_point) {
  if (!mounts_.is_open()) return error_in("/proc/self/mountinfo");
  bool is_root = ::geteuid() == 0;
  // A copy holds the filesystem, but not the mount: that can be unmounted as if nobody were in it.
  if (is_root) {
    root_ = Descriptor(::open_tree(AT_FDCWD, mount_point.c_str(),
                                   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));
  } else {
    root_ = Descriptor(::open(mount_point.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  if (!root_) return error_in(mount_point.c_str());
  device_ = device_of(root_.get());
  if (!mounts_.have(device_)) return fmt::format("{} is not the mount any more", mount_point);
  if (is_root) {
    if (::fchdir(root_.get()) != 0 || ::chroot(".") != 0) return error_in("chroot");
    std::string error = change_identity();
    if (!error.empty()) return error;
  }
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return error_in("prctl");
  return limit_calls();
}

Place ReplayProcess::found(const std::string& path) const {
  Place found = place_beneath(root_.get(), std::string_view(path).substr(1));
  if (!is_inside(found.parent)) found.parent = Descriptor();
  return found;
}

Descriptor ReplayProcess::file(const std::string& path, int flags) const {
  std::string_view below = path == "/" ? "." : std::string_view(path).substr(1);
  Descriptor fd = open_beneath(root_.get(), below, flags | O_NOFOLLOW);
  return is_inside(fd) ? std::move(fd) : Descriptor();
}

int ReplayProcess::make(const ReplayOp& op) const {
  Place at = found(op.path);
  if (!at.parent) return -1;
  switch (op.kind) {
    case tree::Kind::kFile:
      return ::mknodat(at.parent.get(), at.name.c_str(), S_IFREG | 0600, 0);
    case tree::Kind::kDirectory:
      return ::mkdirat(at.parent.get(), at.name.c_str(), 0700);
    case tree::Kind::kSymlink:
      return ::symlinkat("-", at.parent.get(), at.name.c_str());
    case tree::Kind::kFifo:
      return ::mknodat(at.parent.get(), at.name.c_str(), S_IFIFO | 0600, 0);
    case tree::Kind::kSocket:
      return ::mknodat(at.parent.get(), at.name.c_str(), S_IFSOCK | 0600, 0);
  }
  return -1;
}

int ReplayProcess::modify(const ReplayOp& op) const {
  Descriptor fd = file(op.path, O_WRONLY | O_NONBLOCK);
  return fd ? ::ftruncate(fd.get(), static_cast<off_t>(op.size)) : -1;
}

int ReplayProcess::touch(const std::string& path, const timespec* times) const {
  Descriptor fd = file(path, O_PATH);
  return fd ? ::utimensat(fd.get(), "", times, AT_EMPTY_PATH) : -1;
}

int ReplayProcess::move(const ReplayOp& op) const {
  Place from = found(op.path), to = found(op.to);
  if (!from.parent || !to.parent) return -1;
  return ::renameat(from.parent.get(), from.name.c_str(), to.parent.get(), to.name.c_str());
}

int ReplayProcess::replay(const ReplayOp& op) const {
  switch (op.type) {
    case Replay::kCreate:
      return make(op);
    case Replay::kDelete: {
      Place at = found(op.path);
      int flags = op.kind == tree::Kind::kDirectory ? AT_REMOVEDIR : 0;
      return at.parent ? ::unlinkat(at.parent.get(), at.name.c_str(), flags) : -1;
    }
    case Replay::kModify:
      return modify(op);
    case Replay::kCommit: {
      // The kernel tells of a new mtime alone as MODIFY, and nothing is opened and closed for it.
      const timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
      return touch(op.path, times);
    }
    case Replay::kAttributes:
      return touch(op.path, nullptr);
    case Replay::kRename:
      return move(op);
  }
  return -1;
}

int ReplayProcess::run() {
  std::vector<char> buffer(kMaxMessage);
  while (true) {
    pollfd waits[2] = {{kReplaySocket, POLLIN, 0}, {mounts_.fd(), POLLPRI, 0}};
    if (::poll(waits, 2, -1) < 0 && errno != EINTR) return 1;
    // It would keep an unmounted filesystem alive, and the daemon waiting for its end.
    if (waits[1].revents != 0 && !mounts_.have(device_)) return 0;
    if (waits[0].revents == 0) continue;
    ssize_t size = ::recv(kReplaySocket, buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return 0;
    std::optional<ReplayOp> op = decode({buffer.data(), static_cast<size_t>(size)});
    if (op && op->path.starts_with('/') && (op->to.empty() || op->to.starts_with('/'))) {
      // The names are as the operation needs them; but others look them up at the same moment, and
      // may bring back what is there now. What fails for good is told of by a later operation.
      for (int tries = 0; tries < kTries && replay(*op) != 0; ++tries) {
      }
    }
    char done = 1;
    if (::send(kReplaySocket, &done, 1, MSG_NOSIGNAL) != 1) return 0;
  }
}

}  // namespace

std::string encode(const ReplayOp& op) {
  std::string text;
  for (const std::string& field :
       {std::to_string(static_cast<int>(op.type)), std::to_string(static_cast<int>(op.kind)),
        std::to_string(op.size), op.path, op.to}) {
    text += field;
    text += '\0';
  }
  return text;
}

int run_replay_process(const std::string& mount_point) {
  ::prctl(PR_SET_NAME, "zabfs-inotify");
  // It ends with its daemon, not before: whoever stops both signals both.
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) ::signal(signal, SIG_IGN);
  ReplayProcess process;
  std::string error = process.enter(mount_point);
  ReplayReady ready;
  ready.device = process.device();
  error.copy(ready.error.data(), ready.error.size() - 1);
  if (::send(kReplaySocket, &ready, sizeof(ready), MSG_NOSIGNAL) != sizeof(ready)) return 1;
  return error.empty() ? process.run() : 1;
}

}  // namespace zabfs::fsd
