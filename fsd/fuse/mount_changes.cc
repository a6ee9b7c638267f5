// Changes of names and attributes: each is one commit, answered when it is durable on a quorum.
#include <fcntl.h>
#include <linux/fs.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include "fsd/fuse/mount.h"
#include "fsd/view/contenders.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr int kTruncateTries = 20;

tree::Time now_time() {
  timespec time;
  ::clock_gettime(CLOCK_REALTIME, &time);
  return {time.tv_sec, static_cast<int32_t>(time.tv_nsec)};
}

int rename_errno(Error error) { return error == Error::kTooLarge ? EXDEV : to_errno(error); }

}  // namespace

void Mount::make_znode(const RequestPtr& request, const std::string& path, std::string_view data,
                       const tree::AclList& acl) {
  commit(OpCode::kCreate2, tree::create_body(path, data, acl, tree::kCreatePersistent),
         [this, request, path](const Outcome& outcome) {
           if (outcome.error == Error::kOk) return reply_entry(request->hand_over(), path, true);
           request->reply(to_errno(outcome.error));
         });
}

void Mount::make_node(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  if (!S_ISREG(mode)) return static_cast<void>(fuse_reply_err(req, EPERM));
  if (is_helper(req)) return replay_made(req, parent, name);
  std::optional<std::string> path = child_path(req, parent, name);
  if (!path) return;
  const fuse_ctx* context = fuse_req_ctx(req);
  uint32_t group = handed_down_group(nodes_.find(parent)->path).value_or(context->gid);
  tree::AclList acl = acl_for_new(tree::Kind::kFile, mode & 07777, context->uid, group);
  RequestPtr request = hold(req);
  when_writable(request,
                [this, request, path = *path, acl] { make_znode(request, path, "", acl); });
}

std::optional<uint32_t> Mount::handed_down_group(const std::string& directory) const {
  return service_.replica().read([&](const tree::Tree& tree) -> std::optional<uint32_t> {
    const tree::ZNode* znode = tree.find(directory);
    if (znode == nullptr) return std::nullopt;
    return fsd::handed_down_group(view(tree, *znode, directory));
  });
}

void Mount::mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  if (is_helper(req)) return replay_made(req, parent, name);
  std::optional<Node> room = find_node(parent);
  if (room && !room->gone && room->control == Control::kTxn)
    return make_staging(req, *room, name, mode);
  std::optional<std::string> path = child_path(req, parent, name);
  if (!path) return;
  std::string directory = nodes_.find(parent)->path;
  const fuse_ctx* context = fuse_req_ctx(req);
  std::optional<uint32_t> group = handed_down_group(directory);
  uint32_t bits = (mode & 07777) | (group ? uint32_t{S_ISGID} : 0);  // the bit goes with it
  tree::AclList acl =
      acl_for_new(tree::Kind::kDirectory, bits, context->uid, group.value_or(context->gid));
  RequestPtr request = hold(req);
  when_writable(request,
                [this, request, path = *path, acl] { make_znode(request, path, "", acl); });
}

void Mount::symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  if (is_helper(req)) return replay_made(req, parent, name);
  std::optional<std::string> path = child_path(req, parent, name);
  if (!path) return;
  const fuse_ctx* context = fuse_req_ctx(req);
  // Shown as 0777, as links are; but others' w would let any client change where it leads.
  tree::AclList acl =
      acl_for_new(tree::Kind::kSymlink, 0755, context->uid,
                  handed_down_group(nodes_.find(parent)->path).value_or(context->gid));
  RequestPtr request = hold(req);
  when_writable(request, [this, request, path = *path, acl, target = std::string(target)] {
    make_znode(request, path, target, acl);
  });
}

void Mount::remove(fuse_req_t req, fuse_ino_t parent, const char* name, bool directory) {
  if (is_helper(req)) {
    std::optional<ReplayOp> op = replay_of(parent, name);
    bool is_it = op && op->type == Replay::kDelete;
    return static_cast<void>(fuse_reply_err(req, is_it ? 0 : EPERM));
  }
  std::optional<Node> room = find_node(parent);
  if (room && !room->gone && room->control == Control::kTxn)
    return remove_staging(req, *room, name, directory);
  std::optional<std::string> path = child_path(req, parent, name);
  if (!path) return;
  RequestPtr request = hold(req);
  when_writable(
      request, [this, request, path = *path, directory] { remove_path(request, path, directory); });
}

void Mount::remove_path(const RequestPtr& request, const std::string& path, bool directory) {
  const tree::ZNode* znode = service_.replica().tree().find(path);
  if (znode == nullptr) return static_cast<void>(request->reply(ENOENT));
  if (is_contender(*znode)) return static_cast<void>(request->reply(EBUSY));
  tree::ExtRemove op{path, znode->stat.czxid, directory};
  commit(
      OpCode::kExtRemove, encode(op),
      [request](const Outcome& outcome) {
        // Another one took its place meanwhile: the one that was named is gone.
        request->reply(outcome.error == Error::kStale ? ENOENT : to_errno(outcome.error));
      },
      nullptr, LocalChange{{path}, fuse_req_ctx(request->unanswered())->pid});
}

void Mount::rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                   const char* new_name, unsigned flags) {
  if (is_helper(req)) {
    std::optional<ReplayOp> op = replay_of(parent, name);
    bool is_it = op && op->type == Replay::kRename;
    return static_cast<void>(fuse_reply_err(req, is_it ? 0 : EPERM));
  }
  if ((flags & ~unsigned{RENAME_NOREPLACE | RENAME_EXCHANGE}) != 0) {
    return static_cast<void>(fuse_reply_err(req, EINVAL));
  }
  std::optional<Node> room = find_node(parent);
  if (room && !room->gone && room->control == Control::kTxn && parent == new_parent) {
    return commit_staging(req, *room, name, new_name);
  }
  std::optional<std::string> from = child_path(req, parent, name);
  if (!from) return;
  std::optional<std::string> to = child_path(req, new_parent, new_name);
  if (!to) return;
  RequestPtr request = hold(req);
  when_writable(request, [this, request, from = *from, to = *to, flags] {
    const tree::Tree& tree = service_.replica().tree();
    const tree::ZNode* source = tree.find(from);
    if (source == nullptr) return static_cast<void>(request->reply(ENOENT));
    const tree::ZNode* target = tree.find(to);
    if (is_contender(*source) || (target != nullptr && is_contender(*target))) {
      return static_cast<void>(request->reply(EBUSY));
    }
    tree::ExtRename op;
    op.from = from;
    op.to = to;
    op.from_czxid = source->stat.czxid;
    if ((flags & RENAME_NOREPLACE) != 0) op.to_czxid = tree::kAbsent;
    op.exchange = (flags & RENAME_EXCHANGE) != 0;
    // The kernel moves its own entries, but for an exchange, which this node treats as foreign.
    LocalChange local;
    if (!op.exchange) local = {{from, to}, fuse_req_ctx(request->unanswered())->pid};
    commit(
        OpCode::kExtRename, encode(op),
        [request](const Outcome& outcome) {
          request->reply(outcome.error == Error::kStale ? ENOENT : rename_errno(outcome.error));
        },
        nullptr, std::move(local));
  });
}

// ---- attributes

void Mount::setattr(fuse_req_t req, fuse_ino_t id, const struct stat* attributes, int set,
                    const fuse_file_info* info) {
  std::optional<Node> node = live_node(req, id);
  if (!node) return;
  if (is_helper(req)) return reply_attributes(req, id, nullptr, false);
  if (node->control != Control::kNone && node->control != Control::kData) {
    return setattr_control(req, *node, *attributes, set, info);
  }
  uint64_t handle = info != nullptr ? info->fh : 0;
  struct stat wanted = *attributes;
  RequestPtr request = hold(req);
  auto refuse = [this, request, set, handle](int error) {
    FilePtr file = (set & FUSE_SET_ATTR_SIZE) != 0 ? files_.find(handle) : nullptr;
    if (file && file->writable) note_written(file, file->written.refuse(false, error));
    request->reply(error);
  };
  auto body = [this, request, id, wanted, set, handle] {
    set_attributes(request, id, wanted, set, handle);
  };
  on_strand([this, body, refuse] { writer_.when_writable(body, refuse); });
}

void Mount::set_attributes(const RequestPtr& request, fuse_ino_t id, struct stat wanted, int set,
                           uint64_t handle) {
  std::optional<Node> node = live_node(request, id);
  if (!node) return;
  if ((set & FUSE_SET_ATTR_SIZE) != 0) {
    // The size first; what comes with it (a truncation by others than root takes setuid away) then.
    // The time of the new data is its commit's.
    int rest = set & ~(FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME_NOW);
    if ((set & FUSE_SET_ATTR_MTIME_NOW) != 0) rest &= ~FUSE_SET_ATTR_MTIME;
    return set_size(request, id, wanted.st_size, handle, [this, request, id, wanted, rest, handle] {
      set_attributes(request, id, wanted, rest, handle);
    });
  }
  tree::PosixChange change;
  if ((set & FUSE_SET_ATTR_MODE) != 0) change.mode = wanted.st_mode & 07777;
  if ((set & FUSE_SET_ATTR_UID) != 0) change.uid = wanted.st_uid;
  if ((set & FUSE_SET_ATTR_GID) != 0) change.gid = wanted.st_gid;
  if ((set & FUSE_SET_ATTR_MTIME_NOW) != 0) {
    change.mtime = now_time();
  } else if ((set & FUSE_SET_ATTR_MTIME) != 0) {
    change.mtime = tree::Time{wanted.st_mtim.tv_sec, static_cast<int32_t>(wanted.st_mtim.tv_nsec)};
  }
  set_posix(request, id, change);
}

void Mount::set_size(const RequestPtr& request, fuse_ino_t id, off_t size, uint64_t handle,
                     std::function<void()> then) {
  std::optional<Node> node = live_node(request, id);
  if (!node) return;
  auto bytes = static_cast<size_t>(size);  // a negative one is too large, too
  FilePtr file = files_.find(handle);
  if (!file || !file->writable) {
    if (bytes > tree::kMaxDataBytes) return static_cast<void>(request->reply(EFBIG));
    return truncate_path(request, id, size, kTruncateTries, then);
  }
  // ftruncate: one more write of this handle's.
  WriteBuffer::Answer answer =
      file->written.resize(bytes, committed(id).value_or(WriteBuffer::Committed{}));
  note_written(file, answer);
  if (answer.error != 0) return static_cast<void>(request->reply(answer.error));
  then();
}

void Mount::drop_setuid(const std::string& path) {
  const tree::Tree& tree = service_.replica().tree();
  const tree::ZNode* znode = tree.find(path);
  if (znode == nullptr) return;
  View shown = view(tree, *znode, path);
  uint32_t dropped = shown.mode & S_ISUID;
  if ((shown.mode & S_IXGRP) != 0) dropped |= shown.mode & S_ISGID;
  if (dropped == 0) return;
  tree::PosixChange change;
  change.base = posix_of(shown);
  change.mode = shown.mode & ~dropped;
  commit(OpCode::kExtSetPosix, encode(tree::ExtSetPosix{path, znode->stat.czxid, change}),
         [](const Outcome&) {});
}

void Mount::set_posix(const RequestPtr& request, fuse_ino_t id, const tree::PosixChange& wanted) {
  std::optional<Node> node = live_node(request, id);
  if (!node) return;
  tree::PosixChange change = wanted;
  if (change.mtime) {
    // tar and cp set the time before they close: it goes with the data that is still to be
    // committed, and holds for it.
    bool deferred = false;
    files_.for_each([&](OpenFile& file) {
      if (file.node == id) deferred |= file.written.defer_mtime(*change.mtime);
    });
    if (deferred) change.mtime.reset();
  }
  if (!change.mode && !change.uid && !change.gid && !change.mtime) {
    return reply_attributes(request->hand_over(), id, nullptr, false);
  }
  const tree::Tree& tree = service_.replica().tree();
  const tree::ZNode* znode = tree.find(node->path);
  if (znode == nullptr) return static_cast<void>(request->reply(ESTALE));
  change.base = posix_of(view(tree, *znode, node->path));
  tree::ExtSetPosix op{node->path, znode->stat.czxid, change};
  commit(OpCode::kExtSetPosix, encode(op), [this, request, id](const Outcome& outcome) {
    std::optional<Node> now = nodes_.find(id);
    if (outcome.error != Error::kOk || !now) {
      return static_cast<void>(request->reply(now ? to_errno(outcome.error) : ESTALE));
    }
    // The kernel doesn't order this answer against invalidations: it is not cached.
    reply_attributes(request->hand_over(), id, nullptr, false);
  });
}

// truncate(2): read, cut or extend, and commit if nobody else wrote in between; else again.
void Mount::truncate_path(const RequestPtr& request, fuse_ino_t id, off_t size, int tries,
                          std::function<void()> then) {
  std::optional<Node> node = live_node(request, id);
  if (!node) return;
  const tree::Tree& tree = service_.replica().tree();
  const tree::ZNode* znode = tree.find(node->path);
  if (znode == nullptr) return static_cast<void>(request->reply(ESTALE));
  tree::ExtWrite write;
  write.path = node->path;
  write.czxid = znode->stat.czxid;
  write.version = znode->stat.version;
  write.data = znode->data.view();
  write.data.resize(static_cast<size_t>(size), '\0');
  commit(OpCode::kExtWrite, encode(write),
         [this, request, id, size, tries, then = std::move(then)](const Outcome& outcome) mutable {
           if (outcome.error == Error::kStale && tries > 0) {
             return truncate_path(request, id, size, tries - 1, std::move(then));
           }
           if (outcome.error == Error::kOk) return then();
           request->reply(to_errno(outcome.error));
         });
}

}  // namespace zabfs::fsd
