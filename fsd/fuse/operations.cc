#include "fsd/fuse/operations.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <utility>

#include "fsd/view/control.h"
#include "tree/path.h"

namespace zabfs::fsd {
namespace {

std::optional<tree::Kind> kind_made_by_mknod(mode_t mode) {
  if (S_ISREG(mode)) return tree::Kind::kFile;
  if (S_ISFIFO(mode)) return tree::Kind::kFifo;
  if (S_ISSOCK(mode)) return tree::Kind::kSocket;
  return std::nullopt;  // a device of one machine means nothing on the others
}

}  // namespace

void Operations::init(fuse_conn_info* connection) {
  // Requests are looked at before they are handled, so they must be in memory.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ);
  // The kernel takes names out of a READDIRPLUS answer as of the epoch when it gets to them, not of
  // the request's: one that crosses a change would leave a name that is gone in its cache.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
  connection->max_write = 1u << 20;
  connection->max_background = 64;
}

void Operations::interrupted(uint64_t number) {
  parts_.service.post([this, number] { parts_.interrupts.interrupt(number); });
}

std::optional<std::string> Operations::child_path(const RequestPtr& request, KernelNode parent,
                                                  const std::string& name) const {
  std::optional<Node> node = parts_.reader.find(parent);
  int error = 0;
  std::string path;
  if (!node || node->gone) {
    error = ENOENT;
  } else if (node->control != Control::kNone) {
    error = is_of_the_past(node->control) ? EROFS : EPERM;
  } else if (name.size() > tree::kMaxNameBytes) {
    error = ENAMETOOLONG;
  } else if (!tree::is_valid_name(name) || name == kHidden) {
    error = EINVAL;
  } else {
    path = tree::join_path(node->path, name);
    if (path.size() > tree::kMaxPathBytes) error = ENAMETOOLONG;
  }
  if (error == 0) return path;
  request->reply(error);
  return std::nullopt;
}

std::optional<Node> Operations::staging_room(KernelNode id) const {
  std::optional<Node> node = parts_.reader.find(id);
  bool is_it = node && !node->gone && node->control == Control::kTxn;
  return is_it ? node : std::nullopt;
}

std::optional<Node> Operations::past_node(KernelNode id) const {
  std::optional<Node> node = parts_.reader.find(id);
  bool is_it = node && !node->gone && is_of_the_past(node->control);
  return is_it ? node : std::nullopt;
}

// ---- names and attributes

void Operations::getattr(const RequestPtr& request, KernelNode id, const fuse_file_info* info) {
  parts_.names.attributes(request, id, info != nullptr ? parts_.files.find(info->fh) : nullptr);
}

void Operations::setattr(const RequestPtr& request, KernelNode id, const struct stat& wanted,
                         int set, const fuse_file_info* info) {
  std::optional<Node> node = parts_.reader.find(id);
  bool is_gone = !node || node->gone, by_helper = is_helper(request);
  if (is_gone && !by_helper && parts_.orphans.set_attributes(request, id, wanted, set)) return;
  if (is_gone) return static_cast<void>(request->reply(ESTALE));
  if (by_helper) return parts_.answers.reply_attributes(request, id, false);  // nothing is set
  uint64_t handle = info != nullptr ? info->fh : 0;
  if (is_of_the_past(node->control)) return static_cast<void>(request->reply(EROFS));
  if (node->control != Control::kNone && node->control != Control::kData) {
    return parts_.control.set_attributes(request, *node, wanted, set, handle);
  }
  parts_.changes.set_attributes(request, id, wanted, set, handle);
}

void Operations::mknod(const RequestPtr& request, KernelNode parent, const std::string& name,
                       mode_t mode) {
  std::optional<tree::Kind> kind = kind_made_by_mknod(mode);
  if (!kind) return static_cast<void>(request->reply(EPERM));
  if (is_helper(request)) return parts_.replays.made(request, parent, name);
  std::optional<std::string> path = child_path(request, parent, name);
  if (path) parts_.changes.make_node(request, *path, *kind, mode);
}

void Operations::mkdir(const RequestPtr& request, KernelNode parent, const std::string& name,
                       mode_t mode) {
  if (is_helper(request)) return parts_.replays.made(request, parent, name);
  if (std::optional<Node> room = staging_room(parent)) {
    return parts_.staging.make(request, *room, name, mode);
  }
  std::optional<std::string> path = child_path(request, parent, name);
  if (path) parts_.changes.make_directory(request, *path, mode);
}

void Operations::symlink(const RequestPtr& request, const std::string& target, KernelNode parent,
                         const std::string& name) {
  if (is_helper(request)) return parts_.replays.made(request, parent, name);
  std::optional<std::string> path = child_path(request, parent, name);
  if (path) parts_.changes.make_link(request, *path, target);
}

void Operations::remove(const RequestPtr& request, KernelNode parent, const std::string& name,
                        bool is_directory) {
  if (is_helper(request)) return parts_.replays.removed(request, parent, name);
  if (std::optional<Node> room = staging_room(parent)) {
    return parts_.staging.remove(request, *room, name, is_directory);
  }
  std::optional<std::string> path = child_path(request, parent, name);
  if (path) parts_.changes.remove(request, *path, is_directory);
}

void Operations::rename(const RequestPtr& request, KernelNode parent, const std::string& name,
                        KernelNode new_parent, const std::string& new_name, unsigned flags) {
  if (is_helper(request)) return parts_.replays.renamed(request, parent, name);
  if ((flags & ~unsigned{RENAME_NOREPLACE | RENAME_EXCHANGE}) != 0) {
    return static_cast<void>(request->reply(EINVAL));
  }
  std::optional<Node> room = parent == new_parent ? staging_room(parent) : std::nullopt;
  if (room) return parts_.staging.rename(request, *room, name, new_name);
  std::optional<std::string> from = child_path(request, parent, name);
  if (!from) return;
  std::optional<std::string> to = child_path(request, new_parent, new_name);
  if (to) parts_.changes.rename(request, *from, *to, flags);
}

void Operations::statfs(const RequestPtr& request) {
  struct statvfs st;
  if (::statvfs(parts_.data_dir.c_str(), &st) != 0) {
    return static_cast<void>(request->reply(errno));
  }
  st.f_namemax = tree::kMaxNameBytes;
  st.f_files = parts_.reader.read([](const tree::Tree& tree) { return tree.node_count(); });
  st.f_ffree = st.f_favail = 0;
  request->reply_filesystem(st);
}

// ---- listings, extended attributes

void Operations::open_directory(const RequestPtr& request, KernelNode id,
                                const fuse_file_info& info) {
  if (std::optional<Node> past = past_node(id)) {
    return parts_.past.open_directory(request, *past, info);
  }
  parts_.directories.open(request, id, info);
}

void Operations::read_directory(const RequestPtr& request, KernelNode id, size_t size, off_t offset,
                                uint64_t handle) {
  if (parts_.past.read_directory(request, handle, size, offset)) return;
  parts_.directories.read(request, id, size, offset, handle);
}

void Operations::close_directory(const RequestPtr& request, uint64_t handle) {
  if (parts_.past.close(handle)) return static_cast<void>(request->reply(0));
  parts_.directories.close(request, handle);
}

void Operations::get_xattr(const RequestPtr& request, KernelNode id, std::string_view name,
                           size_t size) {
  constexpr std::string_view kPrefix = "user.zabfs.";
  std::optional<Node> past = past_node(id);
  if (past && name.starts_with(kPrefix)) {
    return parts_.past.attribute(request, *past, std::string(name.substr(kPrefix.size())), size);
  }
  parts_.xattrs.get(request, id, name, size);
}

// ---- contents

void Operations::create(const RequestPtr& request, KernelNode parent, const std::string& name,
                        mode_t mode, const fuse_file_info& info) {
  std::optional<Node> directory = parts_.reader.find(parent);
  if (directory && is_of_the_past(directory->control)) {
    return static_cast<void>(request->reply(EROFS));
  }
  if (directory && directory->control != Control::kNone) {
    return parts_.control.create(request, *directory, name, mode, info);
  }
  std::optional<std::string> path = child_path(request, parent, name);
  if (path) parts_.files.create(request, *path, mode, info);
}

void Operations::open(const RequestPtr& request, KernelNode id, fuse_file_info info) {
  std::optional<Node> node = parts_.reader.find(id);
  bool is_gone = !node || node->gone, by_helper = is_helper(request);
  if (is_gone && !by_helper && parts_.orphans.open(request, id, info)) return;
  if (is_gone) return static_cast<void>(request->reply(ESTALE));
  if (by_helper) {  // writes nothing
    info.fh = parts_.numbers.next();
    info.direct_io = 1;
    info.noflush = 1;
    return static_cast<void>(request->reply_opened(info));
  }
  if (is_of_the_past(node->control)) return parts_.past.open(request, *node, info);
  if (node->control != Control::kNone && node->control != Control::kData) {
    return parts_.control.open(request, *node, info);
  }
  auto again = [this, request, id, info] { open(request, id, info); };
  if (!parts_.gate.holds(node->path, again)) parts_.files.open(request, *node, info);
}

void Operations::read(const RequestPtr& request, KernelNode id, size_t size, off_t offset,
                      const fuse_file_info& info) {
  bool waits = (info.flags & O_NONBLOCK) == 0;
  if (parts_.past.read(request, info.fh, size, offset)) return;
  if (parts_.control.read(request, info.fh, size, offset, waits)) return;
  parts_.files.read(request, id, size, offset, info);
}

void Operations::write(const RequestPtr& request, KernelNode id, std::string_view bytes,
                       off_t offset, const fuse_file_info& info) {
  if (parts_.control.write(request, info.fh, bytes, offset, info.flags)) return;
  parts_.files.write(request, id, std::string(bytes), offset, info);
}

void Operations::flush(const RequestPtr& request, KernelNode id, const fuse_file_info& info) {
  // A process's locks end with any close by it.
  FileLocks::Key owner{FileLocks::Owner::kProcess, info.lock_owner, id};
  parts_.service.post([this, request, owner, handle = info.fh, by = request->asker().pid] {
    auto unlock = [this, owner](std::function<void()> then) {
      parts_.locks.unlock(owner, std::move(then));
    };
    if (parts_.control.flush(request, handle)) return unlock([] {});
    parts_.files.flush(handle, by, [request, unlock](FileError error) {
      unlock([request, error] { request->reply(error); });
    });
  });
}

void Operations::release(const RequestPtr& request, KernelNode id, uint64_t handle) {
  if (parts_.past.close(handle)) return static_cast<void>(request->reply(0));
  parts_.service.post([this, request, id, handle] {
    parts_.control.release(handle);
    parts_.files.release(handle, [this, id, handle] { parts_.locks.unlock_handle(handle, id); });
    request->reply(0);
  });
}

void Operations::fsync(const RequestPtr& request, uint64_t handle) {
  if (parts_.control.flush(request, handle) || parts_.files.fsync(request, handle)) return;
  barrier(request);
}

void Operations::barrier(const RequestPtr& request) {
  // A truncation whose handle was closed before this call counts as begun before it.
  if (parts_.gate.holds_any([this, request] { barrier(request); })) return;
  parts_.service.post([this, request] {
    // The kernel lets nobody look into a directory meanwhile. So it does not wait long in vain.
    uint64_t number = parts_.writer.expect_while_writable(
        [this, request] { request->reply(parts_.writer.is_read_only() ? EROFS : EIO); });
    parts_.service.replica().sync(tree::SessionId{}, [this, request, number](const tree::Outcome&) {
      parts_.writer.settled(number);
      parts_.cache.catch_up();
      if (!request->is_answered()) request->reply(0);
    });
  });
}

// ---- the table for libfuse

namespace {

Operations& of(fuse_req_t req) { return *static_cast<Operations*>(fuse_req_userdata(req)); }
using Kind = MountTimes::Kind;
RequestPtr held(fuse_req_t req, Kind kind) { return of(req).request(req, kind); }

fuse_lowlevel_ops make_table() {
  fuse_lowlevel_ops ops = {};
  ops.init = [](void*, fuse_conn_info* connection) { Operations::init(connection); };
  ops.lookup = [](fuse_req_t req, fuse_ino_t parent, const char* name) {
    of(req).names().lookup(held(req, Kind::kLookup), parent, name);
  };
  ops.forget = [](fuse_req_t req, fuse_ino_t node, uint64_t lookups) {
    of(req).names().forget(node, lookups);
    fuse_reply_none(req);
  };
  ops.forget_multi = [](fuse_req_t req, size_t count, fuse_forget_data* forgets) {
    for (size_t i = 0; i < count; ++i) of(req).names().forget(forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
  };
  ops.getattr = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info) {
    of(req).getattr(held(req, Kind::kGetattr), node, info);
  };
  ops.setattr = [](fuse_req_t req, fuse_ino_t node, struct stat* attributes, int set,
                   fuse_file_info* info) {
    of(req).setattr(held(req, Kind::kSetattr), node, *attributes, set, info);
  };
  ops.readlink = [](fuse_req_t req, fuse_ino_t node) {
    of(req).names().link(held(req, Kind::kLookup), node);
  };
  ops.mknod = [](fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t) {
    of(req).mknod(held(req, Kind::kMake), parent, name, mode);
  };
  ops.mkdir = [](fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
    of(req).mkdir(held(req, Kind::kMake), parent, name, mode);
  };
  ops.symlink = [](fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
    of(req).symlink(held(req, Kind::kMake), target, parent, name);
  };
  ops.link = [](fuse_req_t req, fuse_ino_t, fuse_ino_t, const char*) {
    held(req, Kind::kOther)->reply(EPERM);
  };
  ops.unlink = [](fuse_req_t req, fuse_ino_t parent, const char* name) {
    of(req).remove(held(req, Kind::kRemove), parent, name, false);
  };
  ops.rmdir = [](fuse_req_t req, fuse_ino_t parent, const char* name) {
    of(req).remove(held(req, Kind::kRemove), parent, name, true);
  };
  ops.rename = [](fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                  const char* new_name, unsigned flags) {
    of(req).rename(held(req, Kind::kRename), parent, name, new_parent, new_name, flags);
  };
  ops.create = [](fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
                  fuse_file_info* info) {
    of(req).create(held(req, Kind::kMake), parent, name, mode, *info);
  };
  ops.open = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info) {
    of(req).open(held(req, Kind::kOpen), node, *info);
  };
  ops.read = [](fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* info) {
    of(req).read(held(req, Kind::kRead), node, size, offset, *info);
  };
  ops.write = [](fuse_req_t req, fuse_ino_t node, const char* bytes, size_t size, off_t offset,
                 fuse_file_info* info) {
    of(req).write(held(req, Kind::kWrite), node, {bytes, size}, offset, *info);
  };
  ops.flush = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info) {
    of(req).flush(held(req, Kind::kFlush), node, *info);
  };
  ops.release = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info) {
    of(req).release(held(req, Kind::kRelease), node, info->fh);
  };
  ops.fsync = [](fuse_req_t req, fuse_ino_t, int, fuse_file_info* info) {
    of(req).fsync(held(req, Kind::kFsync), info->fh);
  };
  ops.opendir = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info) {
    of(req).open_directory(held(req, Kind::kList), node, *info);
  };
  ops.readdir = [](fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                   fuse_file_info* info) {
    of(req).read_directory(held(req, Kind::kList), node, size, offset, info->fh);
  };
  ops.releasedir = [](fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
    of(req).close_directory(held(req, Kind::kList), info->fh);
  };
  ops.fsyncdir = [](fuse_req_t req, fuse_ino_t, int, fuse_file_info*) {
    of(req).barrier(held(req, Kind::kFsync));
  };
  ops.statfs = [](fuse_req_t req, fuse_ino_t) { of(req).statfs(held(req, Kind::kOther)); };
  ops.setxattr = [](fuse_req_t req, fuse_ino_t, const char*, const char*, size_t, int) {
    held(req, Kind::kXattr)->reply(EOPNOTSUPP);
  };
  ops.getxattr = [](fuse_req_t req, fuse_ino_t node, const char* name, size_t size) {
    of(req).get_xattr(held(req, Kind::kXattr), node, name, size);
  };
  ops.listxattr = [](fuse_req_t req, fuse_ino_t, size_t size) {
    Xattrs::list(held(req, Kind::kXattr), size);
  };
  ops.removexattr = [](fuse_req_t req, fuse_ino_t, const char*) {
    held(req, Kind::kXattr)->reply(EOPNOTSUPP);
  };
  ops.flock = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info, int operation) {
    of(req).locks().flock(held(req, Kind::kLock), node, *info, operation);
  };
  ops.setlk = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info, struct flock* lock,
                 int wait) {
    of(req).locks().set(held(req, Kind::kLock), node, *info, *lock, wait != 0);
  };
  ops.getlk = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info, struct flock* lock) {
    of(req).locks().get(held(req, Kind::kLock), node, *info, *lock);
  };
  ops.poll = [](fuse_req_t req, fuse_ino_t, fuse_file_info* info, fuse_pollhandle* handle) {
    of(req).control().poll(held(req, Kind::kPoll), info->fh, handle);
  };
  return ops;
}

}  // namespace

const fuse_lowlevel_ops& Operations::table() {
  static const fuse_lowlevel_ops kTable = make_table();
  return kTable;
}

}  // namespace zabfs::fsd
