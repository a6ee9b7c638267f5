// flock and whole-file fcntl locks, cluster-wide; `flock` on `@/lock` is the directory's mutex.
#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>

#include <cerrno>
#include <fstream>
#include <utility>

#include "fsd/fuse/mount.h"
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

void Mount::flock(fuse_req_t req, fuse_ino_t id, const fuse_file_info* info, int operation) {
  std::optional<Node> node = live_node(req, id);
  if (!node) return;
  FileLocks::Key key{FileLocks::Owner::kHandle, info->fh, id};
  bool wait = (operation & LOCK_NB) == 0;
  std::optional<LockMode> mode;
  if ((operation & LOCK_EX) != 0) mode = LockMode::kExclusive;
  if ((operation & LOCK_SH) != 0) mode = LockMode::kShared;
  lock(req, *node, key, info->fh, mode, wait);
}

void Mount::setlk(fuse_req_t req, fuse_ino_t id, const fuse_file_info* info,
                  const struct flock* wanted, bool wait) {
  std::optional<Node> node = live_node(req, id);
  if (!node) return;
  FileLocks::Key key{FileLocks::Owner::kProcess, info->lock_owner, id};
  has_posix_locks_ = true;
  bool whole = wanted->l_start == 0 && wanted->l_len == 0;
  if (wanted->l_type != F_UNLCK && !whole) {
    spdlog::warn(
        "{}: process {} asked for a byte-range lock, which only this node would know: "
        "refused with ENOLCK; lock the whole file",
        node->path, fuse_req_ctx(req)->pid);
    return static_cast<void>(fuse_reply_err(req, ENOLCK));
  }
  std::optional<LockMode> mode;
  if (wanted->l_type == F_RDLCK) mode = LockMode::kShared;
  if (wanted->l_type == F_WRLCK) mode = LockMode::kExclusive;
  lock(req, *node, key, info->fh, mode, wait);
}

// Who holds it may be on another node, whose pids mean nothing here: then the pid is 0.
void Mount::getlk(fuse_req_t req, fuse_ino_t id, const fuse_file_info* info,
                  const struct flock* wanted) {
  std::optional<Node> node = live_node(req, id);
  if (!node) return;
  FileLocks::Key key{FileLocks::Owner::kProcess, info->lock_owner, id};
  on_strand([this, request = hold(req), node = *node, key, answer = *wanted]() mutable {
    LockTable::Ask ask = ask_for(node);
    ask.mode = answer.l_type == F_RDLCK ? LockMode::kShared : LockMode::kExclusive;
    std::optional<LockTable::Conflict> conflict = file_locks_.conflict(key, ask);
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

void Mount::lock(fuse_req_t req, const Node& node, const FileLocks::Key& key, uint64_t handle,
                 std::optional<LockMode> mode, bool wait) {
  if (node.control != Control::kNone && !is_lock(node.control)) {
    return static_cast<void>(fuse_reply_err(req, EOPNOTSUPP));
  }
  if (!mode) {
    return on_strand([this, request = hold(req), key, handle] {
      give_up(key, handle, [request] { request->reply(0); });
    });
  }
  if (is_lock(node.control)) {
    // Taking the lock needs the directory's w, whatever the handle was opened for.
    std::optional<View> shown = control_view(node);
    if (!shown) return static_cast<void>(fuse_reply_err(req, ESTALE));
    if (!may(*shown, caller_of(req), kMayWrite)) {
      return static_cast<void>(fuse_reply_err(req, EACCES));
    }
  }
  RequestPtr request = hold(req);
  when_writable(request, [this, request, node, key, handle, mode = *mode, wait] {
    // A conversion gives up the old lock first, as flock(2) says it may.
    give_up(key, handle, [this, request, node, key, handle, mode, wait] {
      take_lock(request, node, key, handle, mode, wait);
    });
  });
}

void Mount::take_lock(const RequestPtr& request, const Node& node, const FileLocks::Key& key,
                      uint64_t handle, LockMode mode, bool wait) {
  LockTable::Ask ask = ask_for(node);
  ask.mode = mode;
  ask.wait = wait;
  const fuse_ctx* asker = fuse_req_ctx(request->unanswered());
  ask.pid = asker->pid;
  ask.uid = asker->uid;
  ask.program = program_name(ask.pid);
  request->on_interrupt(interrupts_, [this, key] { file_locks_.cancel(key); });
  file_locks_.take(key, handle, std::move(ask),
                   [request](int error) { return request->reply(error) == 0; });
}

// What was written through the handle under its lock is there for who gets the lock next. An error
// is for its close to tell.
void Mount::give_up(const FileLocks::Key& key, uint64_t handle, std::function<void()> done) {
  FilePtr file = file_locks_.has(key) ? files_.find(handle) : nullptr;
  if (!file) return file_locks_.unlock(key, std::move(done));
  commit_file(file, [this, key, done = std::move(done)](int) { file_locks_.unlock(key, done); });
}

void Mount::lock_granted(uint64_t handle) {
  FilePtr file = files_.find(handle);
  if (!file || !file->writable) return;
  file->written.lock_taken(session_.id(), committed(file->node));
}

void Mount::lock_given_up(uint64_t handle) {
  if (FilePtr file = files_.find(handle)) file->written.lock_given_up();
}

// What a handle held is lost: it says so from now on.
void Mount::lock_lost(uint64_t handle) {
  if (ControlPtr control = controls_.find(handle)) control->handle->lose();
  FilePtr file = files_.find(handle);
  if (!file) return;
  file->lost = true;
  file->written.lose();
  // Who reads pages asks again, and is told.
  if (file->cached) kernel_.forget_attributes(file->node);
}

}  // namespace zabfs::fsd
