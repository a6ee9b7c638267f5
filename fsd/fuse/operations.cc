// The table of operations that libfuse calls: each hands its request to the Mount.
#include "fsd/fuse/mount.h"

namespace zabfs::fsd {
namespace {

Mount& mount_of(fuse_req_t req) { return *static_cast<Mount*>(fuse_req_userdata(req)); }

fuse_lowlevel_ops make_operations() {
  fuse_lowlevel_ops ops = {};
  ops.init = [](void* mount, fuse_conn_info* connection) {
    static_cast<Mount*>(mount)->init(connection);
  };
  ops.lookup = [](fuse_req_t req, fuse_ino_t parent, const char* name) {
    mount_of(req).lookup(req, parent, name);
  };
  ops.forget = [](fuse_req_t req, fuse_ino_t node, uint64_t lookups) {
    mount_of(req).forget(node, lookups);
    fuse_reply_none(req);
  };
  ops.forget_multi = [](fuse_req_t req, size_t count, fuse_forget_data* forgets) {
    for (size_t i = 0; i < count; ++i) mount_of(req).forget(forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
  };
  ops.getattr = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info) {
    mount_of(req).getattr(req, node, info);
  };
  ops.setattr = [](fuse_req_t req, fuse_ino_t node, struct stat* attributes, int set,
                   fuse_file_info* info) {
    mount_of(req).setattr(req, node, attributes, set, info);
  };
  ops.readlink = [](fuse_req_t req, fuse_ino_t node) { mount_of(req).readlink(req, node); };
  ops.mknod = [](fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t) {
    mount_of(req).make_node(req, parent, name, mode);
  };
  ops.mkdir = [](fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
    mount_of(req).mkdir(req, parent, name, mode);
  };
  ops.symlink = [](fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
    mount_of(req).symlink(req, target, parent, name);
  };
  ops.link = [](fuse_req_t req, fuse_ino_t, fuse_ino_t, const char*) {
    fuse_reply_err(req, EPERM);
  };
  ops.unlink = [](fuse_req_t req, fuse_ino_t parent, const char* name) {
    mount_of(req).remove(req, parent, name, false);
  };
  ops.rmdir = [](fuse_req_t req, fuse_ino_t parent, const char* name) {
    mount_of(req).remove(req, parent, name, true);
  };
  ops.rename = [](fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
                  const char* new_name, unsigned flags) {
    mount_of(req).rename(req, parent, name, new_parent, new_name, flags);
  };
  ops.create = [](fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
                  fuse_file_info* info) { mount_of(req).create(req, parent, name, mode, info); };
  ops.open = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info) {
    mount_of(req).open(req, node, info);
  };
  ops.read = [](fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, fuse_file_info* info) {
    mount_of(req).read(req, node, size, offset, info);
  };
  ops.write = [](fuse_req_t req, fuse_ino_t node, const char* bytes, size_t size, off_t offset,
                 fuse_file_info* info) {
    mount_of(req).write(req, node, bytes, size, offset, info);
  };
  ops.flush = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info) {
    mount_of(req).flush(req, node, info);
  };
  ops.release = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info) {
    mount_of(req).release(req, node, info);
  };
  ops.fsync = [](fuse_req_t req, fuse_ino_t node, int, fuse_file_info* info) {
    mount_of(req).fsync(req, node, info);
  };
  ops.opendir = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info) {
    mount_of(req).opendir(req, node, info);
  };
  ops.readdir = [](fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
                   fuse_file_info* info) { mount_of(req).readdir(req, node, size, offset, info); };
  ops.releasedir = [](fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
    mount_of(req).releasedir(req, info);
  };
  ops.fsyncdir = [](fuse_req_t req, fuse_ino_t, int, fuse_file_info*) {
    mount_of(req).barrier(req);
  };
  ops.statfs = [](fuse_req_t req, fuse_ino_t) { mount_of(req).statfs(req); };
  ops.setxattr = [](fuse_req_t req, fuse_ino_t, const char*, const char*, size_t, int) {
    fuse_reply_err(req, EOPNOTSUPP);
  };
  ops.getxattr = [](fuse_req_t req, fuse_ino_t node, const char* name, size_t size) {
    mount_of(req).getxattr(req, node, name, size);
  };
  ops.listxattr = [](fuse_req_t req, fuse_ino_t node, size_t size) {
    mount_of(req).listxattr(req, node, size);
  };
  ops.removexattr = [](fuse_req_t req, fuse_ino_t, const char*) {
    fuse_reply_err(req, EOPNOTSUPP);
  };
  ops.flock = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info, int operation) {
    mount_of(req).flock(req, node, info, operation);
  };
  ops.setlk = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info, struct flock* lock,
                 int wait) { mount_of(req).setlk(req, node, info, lock, wait != 0); };
  ops.getlk = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* info, struct flock* lock) {
    mount_of(req).getlk(req, node, info, lock);
  };
  ops.poll = [](fuse_req_t req, fuse_ino_t, fuse_file_info* info, fuse_pollhandle* handle) {
    mount_of(req).poll(req, info, handle);
  };
  return ops;
}

}  // namespace

const fuse_lowlevel_ops& mount_operations() {
  static const fuse_lowlevel_ops kOperations = make_operations();
  return kOperations;
}

}  // namespace zabfs::fsd
