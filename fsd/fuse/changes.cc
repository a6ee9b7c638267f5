#include "fsd/fuse/changes.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include "fsd/fuse/callers.h"
#include "fsd/fuse/errno.h"
#include "fsd/view/contenders.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr int64_t kNoteMs = 1'000;  // between two lines of the log
constexpr size_t kNoteBytes = 100;  // of somebody's data in one

tree::Time now_time() {
  timespec time;
  ::clock_gettime(CLOCK_REALTIME, &time);
  return {time.tv_sec, static_cast<int32_t>(time.tv_nsec)};
}

int rename_errno(Error error) {
  if (error == Error::kStale) return ENOENT;
  return error == Error::kTooLarge ? EXDEV : to_errno(file_error_of(error));
}

}  // namespace

// ---- names

void Changes::make_znode(const RequestPtr& request, const std::string& path, std::string_view data,
                         const tree::AclList& acl) {
  writes_.commit(
      OpCode::kCreate2, tree::create_body(path, data, acl, tree::kCreatePersistent),
      [this, request, path](const Outcome& outcome) {
        if (outcome.error != Error::kOk) {
          return static_cast<void>(request->reply(file_error_of(outcome.error)));
        }
        // Else the kernel may go on to believe that there is no such name.
        if (!answers_.reply_entry(request, path, true, ESTALE)) cache_.forget_names();
      },
      nullptr, LocalChange{{path}, request->asker().pid});
}

void Changes::make(const RequestPtr& request, const std::string& path, const std::string& data,
                   const tree::AclList& acl) {
  writes_.when_writable(request,
                        [this, request, path, data, acl] { make_znode(request, path, data, acl); });
}

void Changes::make_node(const RequestPtr& request, const std::string& path, tree::Kind kind,
                        mode_t mode) {
  Asker asker = request->asker();
  uint32_t group = reader_.handed_down_group(path).value_or(asker.gid);
  make(request, path, "", acl_for_new(kind, mode & 07777, asker.uid, group));
}

void Changes::make_directory(const RequestPtr& request, const std::string& path, mode_t mode) {
  Asker asker = request->asker();
  std::optional<uint32_t> group = reader_.handed_down_group(path);
  uint32_t bits = (mode & 07777) | (group ? uint32_t{S_ISGID} : 0);  // the bit goes with it
  make(request, path, "",
       acl_for_new(tree::Kind::kDirectory, bits, asker.uid, group.value_or(asker.gid)));
}

void Changes::make_link(const RequestPtr& request, const std::string& path,
                        const std::string& target) {
  Asker asker = request->asker();
  uint32_t group = reader_.handed_down_group(path).value_or(asker.gid);
  // Shown as 0777, as links are; but others' w would let any client change where it leads.
  make(request, path, target, acl_for_new(tree::Kind::kSymlink, 0755, asker.uid, group));
}

void Changes::remove(const RequestPtr& request, const std::string& path, bool is_directory) {
  writes_.when_writable(
      request, [this, request, path, is_directory] { remove_path(request, path, is_directory); });
}

void Changes::remove_path(const RequestPtr& request, const std::string& path, bool is_directory,
                          int tries) {
  const tree::ZNode* znode = service_.replica().tree().find(path);
  if (znode == nullptr) return static_cast<void>(request->reply(ENOENT));
  if (is_contender(*znode)) return static_cast<void>(request->reply(EBUSY));
  if (is_directory && has_only_unlisted(service_.replica().tree(), *znode)) {
    if (tries > 0) {
      return service_.post_after(kLeavingMs, [this, request, path, tries] {
        remove_path(request, path, true, tries - 1);
      });
    }
    note_contenders(path, *znode);
    return static_cast<void>(request->reply(EBUSY));
  }
  tree::ExtRemove op{path, znode->stat.czxid, is_directory};
  auto answered = [request](const Outcome& outcome) {
    // Another one took its place meanwhile: the one that was named is gone.
    request->reply(outcome.error == Error::kStale ? FileError::kNoEntry
                                                  : file_error_of(outcome.error));
  };
  writes_.commit(OpCode::kExtRemove, encode(op), answered, nullptr,
                 LocalChange{{path}, request->asker().pid});
}

// The user sees an empty directory and EBUSY. The log says why, once a while.
void Changes::note_contenders(const std::string& path, const tree::ZNode& directory) {
  int64_t now_ms = service_.now_ms();
  if (now_ms < next_note_ms_) return;
  next_note_ms_ = now_ms + kNoteMs;
  std::string first;
  size_t count = 0;
  service_.replica().tree().for_each_child(directory, [&](const tree::ZNode& child) {
    if (!is_contender(child) || count++ > 0) return;
    first = fmt::format("{} (node, process and program: {})", child.name.view(),
                        child.data.view().substr(0, kNoteBytes));
  });
  service_.log(consensus::LogLevel::kInfo,
               fmt::format("rmdir {} is refused: {} contenders of a lock or another recipe are in "
                           "it, one of them {}; {}/@/holders has them all",
                           path, count, first, path));
}

void Changes::rename(const RequestPtr& request, const std::string& from, const std::string& to,
                     unsigned flags) {
  writes_.when_writable(
      request, [this, request, from, to, flags] { rename_path(request, from, to, flags); });
}

void Changes::rename_path(const RequestPtr& request, const std::string& from, const std::string& to,
                          unsigned flags) {
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
  if (!op.exchange) local = {{from, to}, request->asker().pid};
  auto answered = [request](const Outcome& outcome) {
    request->reply(rename_errno(outcome.error));
  };
  writes_.commit(OpCode::kExtRename, encode(op), answered, nullptr, std::move(local));
}

// ---- attributes

void Changes::set_attributes(const RequestPtr& request, KernelNode id, const struct stat& wanted,
                             int set, uint64_t handle) {
  auto refuse = [this, request, set, handle](FileError error) {
    if ((set & FUSE_SET_ATTR_SIZE) != 0) files_.resize_refused(handle, error);
    request->reply(error);
  };
  auto body = [this, request, actor = actor_of(*request), id, wanted, set, handle] {
    ClientSession::Acting as(writes_.session(), actor);
    this->set(request, id, wanted, set, handle);
  };
  writes_.when_writable(std::move(body), std::move(refuse));
}

void Changes::set(const RequestPtr& request, KernelNode id, struct stat wanted, int set,
                  uint64_t handle) {
  std::optional<Node> node = reader_.live(request, id);
  if (!node) return;
  if ((set & FUSE_SET_ATTR_SIZE) != 0) {
    // The size first; what comes with it (a truncation by others than root takes setuid away) then.
    // The time of the new data is its commit's.
    int rest = set & ~(FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME_NOW);
    if ((set & FUSE_SET_ATTR_MTIME_NOW) != 0) rest &= ~FUSE_SET_ATTR_MTIME;
    auto then = [this, request, id, wanted, rest, handle] {
      this->set(request, id, wanted, rest, handle);
    };
    return files_.resize(request, id, wanted.st_size, handle, then);
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

void Changes::set_posix(const RequestPtr& request, KernelNode id, tree::PosixChange change) {
  std::optional<Node> node = reader_.live(request, id);
  if (!node) return;
  const tree::Tree& tree = service_.replica().tree();
  const tree::ZNode* znode = tree.find(node->path);
  if (znode == nullptr) return static_cast<void>(request->reply(ESTALE));
  change.base = posix_of(reader_.committed_view(tree, *znode, node->path));
  // tar and cp set attributes before they close: they go with the data that is still to be
  // committed.
  change = files_.defer(*node, change);
  if (change.is_empty()) return answers_.reply_attributes(request, id, false);
  tree::ExtSetPosix op{node->path, znode->stat.czxid, change};
  writes_.commit(OpCode::kExtSetPosix, encode(op), [this, request, id](const Outcome& outcome) {
    std::optional<Node> now = reader_.find(id);
    if (outcome.error != Error::kOk || !now) {
      return static_cast<void>(
          request->reply(now ? file_error_of(outcome.error) : FileError::kStale));
    }
    // The kernel doesn't order this answer against notifications: it is not cached.
    answers_.reply_attributes(request, id, false);
  });
}

}  // namespace zabfs::fsd
