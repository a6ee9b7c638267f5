#include "fsd/fuse/replay.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
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

extern char** environ;

namespace zabfs::fsd {
namespace {

constexpr size_t kMaxMessage = 16'384;
constexpr int kTries = 5;
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

// Fields of a message, each ended by a zero byte: type, kind, size, path, to.
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

int make(const std::string& path, tree::Kind kind) {
  switch (kind) {
    case tree::Kind::kFile:
      return ::mknod(path.c_str(), S_IFREG | 0600, 0);
    case tree::Kind::kDirectory:
      return ::mkdir(path.c_str(), 0700);
    case tree::Kind::kSymlink:
      return ::symlink("-", path.c_str());
  }
  return -1;
}

int modify(const std::string& path, uint64_t size) {
  int fd = ::open(path.c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return -1;
  int result = ::ftruncate(fd, static_cast<off_t>(size));
  ::close(fd);
  return result;
}

int replay(const ReplayOp& op, const std::string& mount_point) {
  std::string path = mount_point + op.path;
  switch (op.type) {
    case Replay::kCreate:
      return make(path, op.kind);
    case Replay::kDelete:
      return op.kind == tree::Kind::kDirectory ? ::rmdir(path.c_str()) : ::unlink(path.c_str());
    case Replay::kModify:
      return modify(path, op.size);
    case Replay::kCommit:
      return ::truncate(path.c_str(), static_cast<off_t>(op.size));
    case Replay::kAttributes:
      return ::utimensat(AT_FDCWD, path.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
    case Replay::kRename:
      return ::rename(path.c_str(), (mount_point + op.to).c_str());
  }
  return -1;
}

}  // namespace

int run_replay_helper(int socket, const std::string& mount_point) {
  ::prctl(PR_SET_NAME, "zabfs-inotify");
  // It ends with its daemon, not before: whoever stops both signals both.
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) ::signal(signal, SIG_IGN);
  std::vector<char> buffer(kMaxMessage);
  while (true) {
    ssize_t size = ::recv(socket, buffer.data(), buffer.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) return 0;
    if (std::optional<ReplayOp> op = decode({buffer.data(), static_cast<size_t>(size)})) {
      // The names are as the operation needs them; but others look them up at the same moment, and
      // may bring back what is there now. What fails for good is told of by a later operation.
      for (int tries = 0; tries < kTries && replay(*op, mount_point) != 0; ++tries) {
      }
    }
    char done = 1;
    if (::send(socket, &done, 1, MSG_NOSIGNAL) != 1) return 0;
  }
}

Replayer::~Replayer() { stop(); }

std::string Replayer::start(const std::string& mount_point) {
  struct stat st = {};
  if (::stat(mount_point.c_str(), &st) != 0) return std::strerror(errno);
  // As the kernel itself writes it, in fdinfo.
  device_ = uint64_t{major(st.st_dev)} << 20 | minor(st.st_dev);
  mount_point_ = mount_point;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return std::strerror(errno);
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], kReplayHelperSocket);
  posix_spawn_file_actions_addclosefrom_np(&actions, kReplayHelperSocket + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  std::string name = "zabfsd", argument = kReplayHelperArgument, point = mount_point;
  char* argv[] = {name.data(), argument.data(), point.data(), nullptr};
  pid_t helper = 0;
  int error = ::posix_spawn(&helper, "/proc/self/exe", &actions, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    return std::strerror(error);
  }
  socket_ = ends[0];
  timeval wait = {kAnswerWait.count(), 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  helper_ = helper;
  thread_ = std::thread([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "zabfs-inotify");
  return {};
}

void Replayer::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_all();
  pid_t helper = helper_.exchange(0);
  if (helper == 0) return;
  ::shutdown(socket_, SHUT_RDWR);  // ends a wait for its answer, and the helper
  ::kill(helper, SIGKILL);
  ::waitpid(helper, nullptr, 0);
  if (thread_.joinable()) thread_.join();
  ::close(socket_);
}

void Replayer::queue(ReplayOp op) {
  if (helper_ == 0) return;
  std::lock_guard lock(mutex_);
  if (stopping_) return;
  auto place = last_.find(op.path);
  if (is_repeatable(op.type) && place != last_.end() && place->second->type == op.type &&
      place->second->self == op.self && place->second->parent == op.parent) {
    place->second->size = op.size;
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
  std::lock_guard lock(mutex_);
  auto place = last_.find(op.path);
  // One that the kernel didn't hold then may be watched by now.
  if (place != last_.end() && place->second->type == op.type && place->second->self != 0) {
    place->second->size = op.size;
    return true;
  }
  if (queue_.size() < kMaxQueued) return false;
  ++dropped_;
  return true;
}

void Replayer::settle(const ReplayOp& op) {
  std::lock_guard lock(mutex_);
  current_.reset();
  for (const std::string& path : {op.path, op.to}) {
    auto place = pending_.find(path);
    if (place != pending_.end() && --place->second == 0) pending_.erase(place);
  }
  pending_count_ = pending_.size();
}

bool Replayer::is_pending(const std::string& path) const {
  if (pending_count_ == 0) return false;
  std::lock_guard lock(mutex_);
  return pending_.contains(path);
}

std::optional<ReplayOp> Replayer::current(const std::string& path) const {
  std::lock_guard lock(mutex_);
  if (current_ && (current_->path == path || current_->to == path)) return current_;
  return std::nullopt;
}

void Replayer::run() {
  while (true) {
    std::deque<ReplayOp> batch;
    size_t dropped = 0;
    {
      std::unique_lock lock(mutex_);
      waiting_ = true;
      arrived_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
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
      spdlog::warn("too many changes to tell inotify of: {} were left out after {}", dropped,
                   batch.size());
    }
    for (const ReplayOp& op : batch) {
      bool wanted = nodes.contains(op.parent) || nodes.contains(op.self) ||
                    (op.to_parent != 0 && nodes.contains(op.to_parent));
      if (wanted && !execute(op)) return give_up();
      settle(op);
    }
    std::unique_lock lock(mutex_);
    arrived_.wait_for(lock, pause, [this] { return stopping_; });
  }
}

void Replayer::give_up() {
  std::lock_guard lock(mutex_);
  if (!std::exchange(stopping_, true)) {
    spdlog::error(
        "the inotify helper ended: changes of other nodes are not told to inotify any "
        "more, until zabfsd is started again");
  }
  queue_.clear();
  last_.clear();
  pending_.clear();
  pending_count_ = 0;
  current_.reset();
}

bool Replayer::execute(const ReplayOp& op) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return false;
    current_ = op;
  }
  std::string message = encode(op);
  char done = 0;
  if (::send(socket_, message.data(), message.size(), MSG_NOSIGNAL) < 0) return false;
  while (::recv(socket_, &done, 1, 0) < 0) {
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    std::lock_guard lock(mutex_);
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
