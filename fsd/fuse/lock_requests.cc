#include "fsd/fuse/lock_requests.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <utility>

#include "fsd/fuse/callers.h"
#include "tree/path.h"

namespace zabfs::fsd {

namespace {

bool is_lock(Control control) {
  return control == Control::kLock || control == Control::kReadWriteLock;
}

// The lock that a node stands for: a directory's, or that of a file by its name.
LockTable::Ask ask_for(const Node& node) {
  LockTable::Ask ask;
  if (is_lock(node.control)) {
    ask.queue = node.control == Control::kLock ? Queue::kMutex : Queue::kReadWrite;
    ask.directory = node.path;
  } else {
    ask.queue = Queue::kFile;
    ask.directory = tree::parent_path(node.path);
    ask.file = tree::base_name(node.path);
  }
  return ask;
}

}  // namespace

// A file without a name is locked as those of its name are: programs that lock a file, and then
// look whether it is still the one of that name, find that it is not, and unlock it.
std::optional<Node> LockRequests::lockable(const RequestPtr& request, KernelNode id) const {
  std::optional<Node> node = parts_.reader.find(id);
  if (node && (!node->gone || node->control == Control::kNone)) return node;
  request->reply(ESTALE);
  return std::nullopt;
}

void LockRequests::flock(const RequestPtr& request, KernelNode id, const fuse_file_info& info,
                         int operation) {
  std::optional<Node> node = lockable(request, id);
  if (!node) return;
  FileLocks::Key key{FileLocks::Owner::kHandle, info.fh, id};
  bool wait = (operation & LOCK_NB) == 0;
  std::optional<LockMode> mode;
  if ((operation & LOCK_EX) != 0) mode = LockMode::kExclusive;
  if ((operation & LOCK_SH) != 0) mode = LockMode::kShared;
  lock(request, *node, key, info.fh, mode, wait);
}

void LockRequests::set(const RequestPtr& request, KernelNode id, const fuse_file_info& info,
                       const struct flock& wanted, bool wait) {
  std::optional<Node> node = lockable(request, id);
  if (!node) return;
  FileLocks::Key key{FileLocks::Owner::kProcess, info.lock_owner, id};
  parts_.locks.expect_process_locks();
  bool whole = wanted.l_start == 0 && wanted.l_len == 0;
  if (wanted.l_type != F_UNLCK && !whole) {
    parts_.service.log_limited(
        consensus::LogLevel::kWarning,
        fmt::format("a byte-range lock, which only this node would know, is refused with ENOLCK: "
                    "process {} is to lock the whole file \"{}\"",
                    request->asker().pid, node->path));
    return static_cast<void>(request->reply(ENOLCK));
  }
  std::optional<LockMode> mode;
  if (wanted.l_type == F_RDLCK) mode = LockMode::kShared;
  if (wanted.l_type == F_WRLCK) mode = LockMode::kExclusive;
  lock(request, *node, key, info.fh, mode, wait);
}

void LockRequests::get(const RequestPtr& request, KernelNode id, const fuse_file_info& info,
                       const struct flock& wanted) {
  std::optional<Node> node = lockable(request, id);
  if (!node) return;
  FileLocks::Key key{FileLocks::Owner::kProcess, info.lock_owner, id};
  parts_.service.post([this, request, node = *node, key, answer = wanted]() mutable {
    LockTable::Ask ask = ask_for(node);
    ask.mode = answer.l_type == F_RDLCK ? LockMode::kShared : LockMode::kExclusive;
    std::optional<LockTable::Conflict> conflict = parts_.locks.conflict(key, ask);
    answer.l_type = F_UNLCK;
    if (conflict) {
      answer.l_type = conflict->mode == LockMode::kShared ? F_RDLCK : F_WRLCK;
      answer.l_whence = SEEK_SET;
      answer.l_start = answer.l_len = 0;
      answer.l_pid = conflict->pid;
    }
    request->reply_lock(answer);
  });
}

void LockRequests::lock(const RequestPtr& request, const Node& node, const FileLocks::Key& key,
                        uint64_t handle, std::optional<LockMode> mode, bool wait) {
  if (node.control != Control::kNone && !is_lock(node.control)) {
    return static_cast<void>(request->reply(EOPNOTSUPP));
  }
  if (!mode) {
    return parts_.service.post(
        [this, request, key, handle] { give_up(key, handle, [request] { request->reply(0); }); });
  }
  if (is_lock(node.control)) {
    // Taking the lock needs the directory's w, whatever the handle was opened for.
    std::optional<View> shown = parts_.reader.control_view(node);
    if (!shown) return static_cast<void>(request->reply(ESTALE));
    if (!may(*shown, caller_of(*request), kMayWrite)) {
      return static_cast<void>(request->reply(EACCES));
    }
  }
  parts_.writes.when_writable(request, [this, request, node, key, handle, mode = *mode, wait] {
    // A conversion gives up the old lock first, as flock(2) says it may.
    give_up(key, handle, [this, request, node, key, handle, mode, wait] {
      take(request, node, key, handle, mode, wait);
    });
  });
}

void LockRequests::take(const RequestPtr& request, const Node& node, const FileLocks::Key& key,
                        uint64_t handle, LockMode mode, bool wait) {
  LockTable::Ask ask = ask_for(node);
  ask.mode = mode;
  ask.wait = wait;
  Asker asker = request->asker();
  ask.pid = asker.pid;
  ask.uid = asker.uid;
  ask.program = program_name(ask.pid);
  request->on_interrupt(parts_.interrupts, [this, key] { parts_.locks.cancel(key); });
  parts_.locks.take(key, handle, std::move(ask),
                    [request](FileError error) { return request->reply(error) == 0; });
}

void LockRequests::give_up(const FileLocks::Key& key, uint64_t handle, std::function<void()> done) {
  if (!parts_.locks.has(key)) return parts_.locks.unlock(key, std::move(done));
  parts_.files.commit(handle,
                      [this, key, done = std::move(done)] { parts_.locks.unlock(key, done); });
}

}  // namespace zabfs::fsd
