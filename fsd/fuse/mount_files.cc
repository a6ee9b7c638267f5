// Contents: open, read, write (DESIGN.md, "Reads and writes"; FUSE.md, "Shell writes").
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fsd/fuse/mount.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr int64_t kAppendFlushMs = 800;  // appended data is committed unasked within a second

std::string_view part_of(std::string_view data, size_t size, off_t offset) {
  return data.substr(std::min(static_cast<size_t>(offset), data.size()), size);
}

}  // namespace

// ---- open

Mount::FilePtr Mount::make_file(const Node& node, const fuse_file_info& info, pid_t pid,
                                const tree::ZNode& znode, bool is_new) {
  auto file = std::make_shared<OpenFile>();
  file->number = next_handle_++;
  file->node = node.id;
  file->opener = pid;
  bool truncates = (info.flags & O_TRUNC) != 0 && !is_new;
  file->writable = (info.flags & O_ACCMODE) != O_RDONLY || truncates;
  file->shown = znode.data;  // readable through this handle even if the znode goes
  if (!file->writable) return file;
  file->written =
      WriteBuffer(info.flags, is_new, znode.stat.czxid, {znode.data, znode.stat.version});
  file->mark = mark_writer(node.id);
  return file;
}

void Mount::open(fuse_req_t req, fuse_ino_t id, const fuse_file_info* given) {
  std::optional<Node> node = live_node(req, id);
  if (!node) return;
  fuse_file_info info = *given;
  if (is_helper(req)) {  // writes nothing
    info.fh = next_handle_++;
    info.direct_io = 1;
    info.noflush = 1;
    return static_cast<void>(fuse_reply_open(req, &info));
  }
  if (node->control != Control::kNone && node->control != Control::kData) {
    return open_control(req, *node, info);
  }
  if (releases_.holds(node->path, [this, req, id, info] { open(req, id, &info); })) return;
  if ((info.flags & O_ACCMODE) == O_RDONLY && (info.flags & O_TRUNC) == 0) {
    return open_znode(hold(req), *node, info);
  }
  RequestPtr request = hold(req);
  when_writable(request, [this, request, node = *node, info] {
    before_writing(node.id, [this, request, node, info] { open_znode(request, node, info); });
  });
}

void Mount::open_znode(const RequestPtr& request, const Node& node, fuse_file_info info) {
  pid_t pid = fuse_req_ctx(request->unanswered())->pid;
  PageCache::Use use = PageCache::Use::kDirect;
  FilePtr file = service_.replica().read([&](const tree::Tree& tree) -> FilePtr {
    Node now;
    const tree::ZNode* znode = znode_of(tree, node.id, now);
    if (znode == nullptr) return nullptr;
    FilePtr made = make_file(now, info, pid, *znode, false);
    if (!made->writable) use = open_pages(tree, now, *znode, made);
    return made;
  });
  if (!file) return static_cast<void>(request->reply(ESTALE));
  info.fh = file->number;
  files_.add(info.fh, file);
  if (file->written.is_only_truncated()) note_written(file);
  info.direct_io = use == PageCache::Use::kDirect;
  info.keep_cache = use == PageCache::Use::kWarm;
  info.noflush = !file->writable && !has_posix_locks_;
  bool opened = request->reply_opened(info) == 0;
  if (file->writable) kernel_wrote(node.id);  // a truncation
  if (opened) return;
  // The opener was killed meanwhile: nothing was truncated.
  if (file->written.cancel_truncation()) note_written(file);
  files_.take(info.fh);
}

void Mount::reply_created(const RequestPtr& request, const std::string& path, fuse_file_info info,
                          bool is_new) {
  pid_t pid = fuse_req_ctx(request->unanswered())->pid;
  fuse_entry_param entry = {};
  int error = 0;
  // The kernel has checked who may create, and not who may open what is there.
  Caller opener = is_new ? Caller{} : caller_of(request->unanswered());
  FilePtr file = service_.replica().read([&](const tree::Tree& tree) -> FilePtr {
    const tree::ZNode* znode = tree.find(path);
    if (znode == nullptr || !may(view(tree, *znode, path), opener, wanted_by(info.flags))) {
      error = znode == nullptr ? ESTALE : EACCES;
      return nullptr;
    }
    fill_entry(tree, path, true, entry);
    return make_file(*nodes_.find(entry.ino), info, pid, *znode, is_new);
  });
  if (!file) return static_cast<void>(request->reply(error));
  info.fh = file->number;
  files_.add(info.fh, file);
  if (file->written.is_only_truncated()) note_written(file);
  info.direct_io = 1;
  info.noflush = !file->writable && !has_posix_locks_;
  request->reply_created(entry, info);
}

void Mount::create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
                   const fuse_file_info* given) {
  std::optional<Node> directory = find_node(parent);
  fuse_file_info info = *given;
  if (directory && directory->control != Control::kNone) {
    return create_control(req, *directory, name, mode, info);
  }
  std::optional<std::string> path = child_path(req, parent, name);
  if (!path) return;
  const fuse_ctx* context = fuse_req_ctx(req);
  RequestPtr request = hold(req);
  when_writable(request, [this, request, path = *path, mode, info, directory = directory->path,
                          uid = context->uid, gid = context->gid] {
    uint32_t group = handed_down_group(directory).value_or(gid);
    tree::AclList acl = acl_for_new(tree::Kind::kFile, mode & 07777, uid, group);
    commit(OpCode::kCreate2, tree::create_body(path, "", acl, tree::kCreatePersistent),
           [this, request, path, info](const Outcome& outcome) {
             if (outcome.error == Error::kOk) return reply_created(request, path, info, true);
             if (outcome.error != Error::kNodeExists || (info.flags & O_EXCL) != 0) {
               return static_cast<void>(request->reply(to_errno(outcome.error)));
             }
             // Somebody else made it in between: without O_EXCL that is what is opened.
             KernelNode held = nodes_.held(path);
             before_writing(held, [this, request, path, info, held] {
               reply_created(request, path, info, false);
               kernel_wrote(held);
             });
           });
  });
}

// ---- read

std::optional<WriteBuffer::Committed> Mount::committed(KernelNode id) const {
  std::optional<Node> node = nodes_.find(id);
  if (!node || node->gone) return std::nullopt;
  const tree::ZNode* znode = service_.replica().tree().find(node->path);
  if (znode == nullptr) return std::nullopt;
  // One txn may have removed it and made another one of the name.
  if (node->control == Control::kNone && znode->stat.czxid != node->czxid) return std::nullopt;
  return WriteBuffer::Committed{znode->data, znode->stat.version};
}

tree::Bytes Mount::data_of(KernelNode id) const {
  return service_.replica().read([&](const tree::Tree& tree) {
    Node node;
    const tree::ZNode* znode = znode_of(tree, id, node);
    return znode == nullptr ? tree::Bytes() : znode->data;
  });
}

void Mount::read(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                 const fuse_file_info* info) {
  if (ControlPtr control = find_control(info)) {
    return read_control(req, control, size, offset, (info->flags & O_NONBLOCK) == 0);
  }
  FilePtr file = files_.find(info->fh);
  if (!file) return static_cast<void>(fuse_reply_err(req, EBADF));
  if (file->lost) return static_cast<void>(fuse_reply_err(req, ESTALE));
  std::optional<Node> node = nodes_.find(id);
  auto reply = [req, size, offset](std::string_view data) {
    std::string_view part = part_of(data, size, offset);
    fuse_reply_buf(req, part.data(), part.size());
  };
  if (info->lock_owner == 0) {  // for the page cache, not for a read
    if (std::optional<tree::Bytes> data = pages_shown(id, info->fh)) return reply(data->view());
    // A short answer sets the size that the kernel has: not to another one than committed.
    if (file->writable) {
      kernel_.forget_attributes(id);
    } else if (node && !node->gone) {
      return reply(data_of(id).view());
    }
  }
  if (file->writable) {
    return on_strand([this, request = hold(req), file, id, size, offset] {
      std::string image = file->written.image(committed(id));
      request->reply_bytes(part_of(image, size, offset));
    });
  }
  if (node && releases_.holds(node->path, [this, req, id, size, offset, given = *info] {
        read(req, id, size, offset, &given);
      })) {
    return;
  }
  // One version a pass over the file: looked up anew at its start, and past its end, for `tail -f`,
  // but only once the end was told; else the pass would go on in another version.
  std::lock_guard lock(file->shown_mutex);
  bool at_end = static_cast<size_t>(offset) >= file->shown.size();
  if (offset == 0 || (at_end && file->end_told)) {
    service_.replica().read([&](const tree::Tree& tree) {
      Node now;
      if (const tree::ZNode* znode = znode_of(tree, id, now)) file->shown = znode->data;
    });
  }
  file->end_told = static_cast<size_t>(offset) >= file->shown.size();
  reply(file->shown.view());
}

// ---- write

void Mount::note_written(const FilePtr& file, WriteBuffer::Answer answer) {
  file->is_only_truncated = file->written.is_only_truncated();
  bool dirty = file->written.has_uncommitted() || file->written.is_committing();
  if (dirty != file->marked_dirty) {
    if (dirty) {
      std::optional<Node> node = nodes_.find(file->node);
      file->dirty_path = node ? node->path : "";
      kernel_.forget_attributes(file->node);
    }
    file->marked_dirty = dirty;
    nodes_.add_dirty(file->dirty_path, dirty ? +1 : -1);
  }
  if (answer.spoils) kernel_.forget_attributes(file->node);  // it took the size of what was written
}

void Mount::write(fuse_req_t req, fuse_ino_t id, const char* bytes, size_t size, off_t offset,
                  const fuse_file_info* info) {
  if (ControlPtr control = find_control(info)) {
    return write_control(req, control, bytes, size, offset, info->flags);
  }
  FilePtr file = files_.find(info->fh);
  if (!file) return static_cast<void>(fuse_reply_err(req, EBADF));
  bool by_root = fuse_req_ctx(req)->uid == 0;
  RequestPtr request = hold(req);
  bool appends = (info->flags & O_APPEND) != 0;
  auto refuse = [this, request, file, appends](int error) {
    note_written(file, file->written.refuse(appends, error));
    request->reply(error);
  };
  auto body = [this, request, file, id, by_root, copy = std::string(bytes, size), offset,
               flags = info->flags] {
    std::optional<Node> node = by_root ? std::nullopt : nodes_.find(id);
    if (node && !node->gone) drop_setuid(node->path);
    apart_from_reads(id, [this, request, file, copy, offset, flags] {
      write_to(request, file, copy, offset, flags);
    });
  };
  on_strand([this, body = std::move(body), refuse] { writer_.when_writable(body, refuse); });
}

void Mount::flush_soon(const FilePtr& file) {
  if (std::exchange(file->flush_timer, true)) return;
  service_.post_after(kAppendFlushMs, [this, file] {
    file->flush_timer = false;
    if (file->written.is_dirty()) commit_file(file, [](int) {});
  });
}

void Mount::write_to(const RequestPtr& request, const FilePtr& file, const std::string& bytes,
                     off_t offset, int flags) {
  WriteBuffer& written = file->written;
  std::optional<WriteBuffer::Committed> there = committed(file->node);
  if (!there) written.lose();
  WriteBuffer::Committed now = there.value_or(WriteBuffer::Committed{});
  WriteBuffer::Answer answer = (flags & O_APPEND) != 0
                                   ? written.append(bytes, now)
                                   : written.write(bytes, static_cast<size_t>(offset), now);
  note_written(file, answer);
  if (answer.error != 0) return static_cast<void>(request->reply(answer.error));
  if (written.has_appended()) flush_soon(file);
  if ((flags & (O_SYNC | O_DSYNC)) == 0) {
    request->reply_written(bytes.size());
    return kernel_wrote(file->node);
  }
  commit_and_tell(file, [this, request, file, size = bytes.size()](int error) {
    if (error != 0) {
      request->reply(error);
    } else {
      request->reply_written(size);
      kernel_wrote(file->node);
    }
  });
}

}  // namespace zabfs::fsd
