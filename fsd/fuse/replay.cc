#include "fsd/fuse/replay.h"

#include <dirent.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include "fsd/fuse/replay_process.h"

extern char** environ;

namespace zabfs::fsd {
namespace {

constexpr auto kStartWait = std::chrono::seconds(30);
constexpr auto kAnswerWait = std::chrono::seconds(5);
// Between two looks into /proc: so long that they take a fiftieth of one CPU at most.
constexpr int kPauseFactor = 50;
constexpr std::chrono::nanoseconds kMostPause = std::chrono::milliseconds(1'000);

std::string link_target(const std::string& path) {
  char target[64];
  ssize_t length = ::readlink(path.c_str(), target, sizeof(target));
  return length > 0 ? std::string(target, static_cast<size_t>(length)) : std::string();
}

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  DIR* open = ::opendir(directory.c_str());
  if (open == nullptr) return names;
  while (dirent* entry = ::readdir(open)) {
    if (std::isdigit(static_cast<unsigned char>(entry->d_name[0])) != 0) {
      names.emplace_back(entry->d_name);
    }
  }
  ::closedir(open);
  return names;
}

std::optional<uint64_t> hex_after(const std::string& line, std::string_view key, size_t digits) {
  size_t at = line.find(key);
  if (at == std::string::npos) return std::nullopt;
  const char* begin = line.data() + at + key.size();
  const char* end = line.data() + line.size();
  if (digits > 0) end = std::min(end, begin + digits);
  uint64_t value = 0;
  auto [stop, error] = std::from_chars(begin, end, value, 16);
  if (error != std::errc()) return std::nullopt;
  return value;
}

// The kernel's file handle of a FUSE inode: the high and the low half of its node id, each as four
// bytes of this machine, then its generation.
std::optional<KernelNode> node_of(const std::string& line) {
  std::optional<uint64_t> bytes = hex_after(line, "f_handle:", 16);
  if (!bytes) return std::nullopt;
  auto half = [](uint64_t value) {
    return uint64_t{__builtin_bswap32(static_cast<uint32_t>(value))};
  };
  return half(*bytes >> 32) << 32 | half(*bytes);
}

}  // namespace

Replayer::~Replayer() { stop(); }

Status Replayer::start(const std::string& mount_point) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    Status failed = Status::failed(std::strerror(errno));
    forget();
    return failed;
  }
  socket_ = ends[0];
  int on = 1;
  ::setsockopt(socket_, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
  // Of a child that is waited for nobody else gets the number. One whose end is ignored, as whoever
  // started this daemon may have left it, isn't waited for.
  ::signal(SIGCHLD, SIG_DFL);
  pid_t child = 0;
  Status started = spawn(mount_point, ends[1], child);
  ::close(ends[1]);
  if (started.ok()) {
    started = meet(child);
    if (!started.ok()) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
  }
  if (!started.ok()) {
    ::close(socket_);
    forget();
    return started;
  }
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "zabfs-inotify");
  return {};
}

Status Replayer::spawn(const std::string& mount_point, int socket, pid_t& child) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, socket, kReplaySocket);
  posix_spawn_file_actions_addclosefrom_np(&actions, kReplaySocket + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  std::string name = "zabfsd", argument = kReplayArgument, point = mount_point;
  char* argv[] = {name.data(), argument.data(), point.data(), nullptr};
  int error = ::posix_spawn(&child, "/proc/self/exe", &actions, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return error == 0 ? Status() : Status::failed(std::strerror(error));
}

// Takes its first message, and who it is by the kernel's word.
Status Replayer::meet(pid_t child) {
  ReplayReady ready;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
  iovec part = {&ready, sizeof(ready)};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  set_wait(kStartWait);
  ssize_t size = 0;
  while ((size = ::recvmsg(socket_, &message, 0)) < 0 && errno == EINTR) {
  }
  if (size < 0) return Status::failed(std::strerror(errno));
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (size != sizeof(ready) || header == nullptr || header->cmsg_type != SCM_CREDENTIALS) {
    return Status::failed("its process ended at once");
  }
  if (ready.error[0] != '\0') return Status::failed(ready.error.data());
  ucred who = {};
  std::memcpy(&who, CMSG_DATA(header), sizeof(who));
  if (who.pid != child) return Status::failed("another process answered");
  device_ = ready.device;
  uid_ = who.uid;
  gid_ = who.gid;
  int off = 0;
  ::setsockopt(socket_, SOL_SOCKET, SO_PASSCRED, &off, sizeof(off));
  set_wait(kAnswerWait);
  helper_ = child;
  return {};
}

void Replayer::set_wait(std::chrono::seconds seconds) const {
  timeval wait = {seconds.count(), 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
}

void Replayer::stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_all();
  pid_t helper = helper_;
  if (helper == 0) return;
  ::shutdown(socket_, SHUT_RDWR);  // ends a wait for its answer, and the helper
  ::kill(helper, SIGKILL);
  // Its last request is its own until it is gone, and its number nobody else's until it isn't
  // waited for any more.
  siginfo_t end;
  ::waitid(P_PID, static_cast<id_t>(helper), &end, WEXITED | WNOWAIT);
  helper_ = 0;
  ::waitpid(helper, nullptr, 0);
  if (thread_.joinable()) thread_.join();
  ::close(socket_);
}

void Replayer::queue(ReplayOp op) {
  if (!takes_) return;
  MutexLock lock(mutex_);
  if (stopping_ || !takes_) return;
  auto found = last_.find(op.path);
  if (is_repeatable(op.type) && found != last_.end() && found->second->type == op.type &&
      found->second->self == op.self && found->second->parent == op.parent) {
    found->second->size = op.size;
    return;
  }
  if (queue_.size() >= kMaxQueued) {
    ++dropped_;
    return;
  }
  ++pending_[op.path];
  if (!op.to.empty()) ++pending_[op.to];
  pending_count_ = pending_.size();
  queue_.push_back(std::move(op));
  ReplayOp& last = queue_.back();
  if (last.type == Replay::kRename) last_.clear();  // paths below mean others from here on
  last_[last.path] = &last;
  if (std::exchange(waiting_, false)) arrived_.notify_all();
}

bool Replayer::absorb(const ReplayOp& op) {
  MutexLock lock(mutex_);
  auto found = last_.find(op.path);
  // One that the kernel didn't hold then may be watched by now.
  if (found != last_.end() && found->second->type == op.type && found->second->self != 0) {
    found->second->size = op.size;
    return true;
  }
  if (queue_.size() < kMaxQueued) return false;
  ++dropped_;
  return true;
}

void Replayer::settle(const ReplayOp& op) {
  MutexLock lock(mutex_);
  current_.reset();
  for (const std::string& path : {op.path, op.to}) {
    auto found = pending_.find(path);
    if (found != pending_.end() && --found->second == 0) pending_.erase(found);
  }
  pending_count_ = pending_.size();
}

bool Replayer::is_pending(const std::string& path) const {
  if (pending_count_ == 0) return false;
  MutexLock lock(mutex_);
  return pending_.contains(path);
}

std::optional<ReplayOp> Replayer::current(const std::string& path) const {
  MutexLock lock(mutex_);
  if (current_ && (current_->path == path || current_->to == path)) return current_;
  return std::nullopt;
}

void Replayer::run() {
  while (true) {
    std::deque<ReplayOp> batch;
    size_t dropped = 0;
    {
      MutexLock lock(mutex_);
      waiting_ = true;
      while (!stopping_ && queue_.empty()) arrived_.wait(mutex_);
      waiting_ = false;
      if (stopping_) return;
      batch.swap(queue_);
      last_.clear();
      dropped = std::exchange(dropped_, 0);
    }
    // Every watch that was there when these were committed is seen by this look.
    auto began = std::chrono::steady_clock::now();
    std::unordered_set<KernelNode> nodes = watched();
    auto pause = std::min(kPauseFactor * (std::chrono::steady_clock::now() - began), kMostPause);
    if (dropped > 0 && !nodes.empty()) {
      service_.log_limited(
          consensus::LogLevel::kWarning,
          fmt::format("too many changes to tell inotify of: {} were left out after {}", dropped,
                      batch.size()));
    }
    for (const ReplayOp& op : batch) {
      bool wanted = nodes.contains(op.parent) || nodes.contains(op.self) ||
                    (op.to_parent != 0 && nodes.contains(op.to_parent));
      if (wanted && !execute(op)) return give_up();
      settle(op);
    }
    MutexLock lock(mutex_);
    auto end = std::chrono::steady_clock::now() + pause;
    while (!stopping_ && arrived_.wait_until(mutex_, end)) {
    }
  }
}

void Replayer::give_up() {
  {
    MutexLock lock(mutex_);
    if (!std::exchange(stopping_, true)) {
      spdlog::error(
          "the inotify helper ended: changes of other nodes are not told to inotify any "
          "more, until zabfsd is started again");
    }
  }
  forget();
}

void Replayer::forget() {
  takes_ = false;
  MutexLock lock(mutex_);
  queue_.clear();
  last_.clear();
  pending_.clear();
  pending_count_ = 0;
  current_.reset();
}

bool Replayer::execute(const ReplayOp& op) {
  {
    MutexLock lock(mutex_);
    if (stopping_) return false;
    current_ = op;
  }
  std::string message = encode(op);
  char done = 0;
  if (::send(socket_, message.data(), message.size(), MSG_NOSIGNAL) < 0) return false;
  while (::recv(socket_, &done, 1, 0) < 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    MutexLock lock(mutex_);
    if (stopping_) return false;
  }
  return true;
}

std::unordered_set<KernelNode> Replayer::watched() const {
  std::unordered_set<KernelNode> nodes;
  for (const std::string& pid : names_in("/proc")) {
    std::string directory = "/proc/" + pid;
    for (const std::string& fd : names_in(directory + "/fd")) {
      std::string target = link_target(directory + "/fd/" + fd);
      if (target != "anon_inode:inotify" && target != "anon_inode:[fanotify]") continue;
      std::ifstream in(directory + "/fdinfo/" + fd);
      std::string line;
      while (std::getline(in, line)) {
        if (hex_after(line, "sdev:", 0) != device_) continue;
        if (std::optional<KernelNode> node = node_of(line)) nodes.insert(*node);
      }
    }
  }
  return nodes;
}

}  // namespace zabfs::fsd
