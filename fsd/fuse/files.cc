#include "fsd/fuse/files.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "fsd/fuse/callers.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr int kTruncateTries = 20;

struct ReleaseRequest {  // as the kernel writes it
  fuse_in_header head;
  fuse_release_in body;
};

std::string_view part_of(std::string_view data, size_t size, off_t offset) {
  return data.substr(std::min(static_cast<size_t>(offset), data.size()), size);
}

// What the rename makes of a path; none if it leaves that alone.
std::optional<std::string> path_after(const RenameSeen& rename, const std::string& path) {
  if (tree::is_within(path, rename.from)) return rename.to + path.substr(rename.from.size());
  bool is_other = rename.is_exchange() && tree::is_within(path, rename.to);
  if (is_other) return rename.from + path.substr(rename.to.size());
  return std::nullopt;
}

}  // namespace

// ---- open

Files::FilePtr Files::make(const Node& node, const fuse_file_info& info, const Asker& by,
                           const tree::ZNode& znode, bool is_new) {
  // Readable through this handle even if the znode goes.
  auto file = std::make_shared<OpenFile>(znode.data);
  file->number = parts_.numbers.next();
  file->node = node.id;
  file->opener = by.pid;
  file->user = {by.uid};
  bool truncates = (info.flags & O_TRUNC) != 0 && !is_new;
  file->writable = (info.flags & O_ACCMODE) != O_RDONLY || truncates;
  if (!file->writable) return file;
  const ClientSession::Actor& asking = parts_.writes.session().actor();  // has just been looked up
  file->user.program = asking.uid == by.uid ? asking.program : program_name(by.pid);
  file->written = WriteBuffer(info.flags, is_new, znode.stat.czxid,
                              {znode.data, znode.stat.version}, max_file_bytes());
  file->mark = parts_.turns.mark_writer(node.id);
  return file;
}

void Files::open(const RequestPtr& request, const Node& node, fuse_file_info info) {
  bool only_reads = (info.flags & O_ACCMODE) == O_RDONLY && (info.flags & O_TRUNC) == 0;
  if (only_reads) return open_znode(request, node, info);
  parts_.writes.when_writable(request, [this, request, node, info] {
    truncate_for_appends(request, node.id, info, [this, request, node, info] {
      parts_.turns.before_writing(node.id,
                                  [this, request, node, info] { open_znode(request, node, info); });
    });
  });
}

// O_APPEND with O_TRUNC: what is written through the handle are appends, which others' appends come
// between. So the truncation is committed by itself, before.
void Files::truncate_for_appends(const RequestPtr& request, KernelNode id,
                                 const fuse_file_info& info, std::function<void()> then) {
  bool does = (info.flags & O_TRUNC) != 0 && (info.flags & O_APPEND) != 0;
  if (!does) return then();
  if (id == 0) return static_cast<void>(request->reply(ESTALE));  // the kernel looks it up, then
  if (parts_.reader.data_of(id).value_or(tree::Bytes()).view().empty()) return then();
  truncate(request, id, 0, kTruncateTries, std::move(then));
}

void Files::open_znode(const RequestPtr& request, const Node& node, fuse_file_info info) {
  Asker by = request->asker();
  PageCache::Use use = PageCache::Use::kDirect;
  FilePtr file = parts_.reader.read([&](const tree::Tree& tree) -> FilePtr {
    Node now;
    const tree::ZNode* znode = parts_.reader.znode_of(tree, node.id, now);
    if (znode == nullptr) return nullptr;
    FilePtr made = make(now, info, by, *znode, false);
    if (!made->writable) use = parts_.turns.open(tree, now, *znode, *made);
    return made;
  });
  if (!file) return static_cast<void>(request->reply(ESTALE));
  info.fh = file->number;
  parts_.open.add(file);
  if (file->written.is_only_truncated()) parts_.commits.note(*file);
  info.direct_io = use == PageCache::Use::kDirect;
  info.keep_cache = use == PageCache::Use::kWarm;
  info.noflush = is_unheard_at_close(*file);
  if (file->writable) parts_.turns.kernel_wrote(node.id, file->opener);  // a truncation
  if (request->reply_opened(info) == 0) return;
  // The opener was killed meanwhile: nothing was truncated.
  if (file->written.cancel_truncation()) parts_.commits.note(*file);
  parts_.open.take(info.fh);
}

bool Files::reply_created(const RequestPtr& request, const std::string& path, fuse_file_info info,
                          bool is_new) {
  Asker by = request->asker();
  fuse_entry_param entry = {};
  int error = 0;
  // The kernel has checked who may create, and not who may open what is there.
  Caller opener = is_new ? Caller{} : caller_of(*request);
  FilePtr file = parts_.reader.read([&](const tree::Tree& tree) -> FilePtr {
    const tree::ZNode* znode = tree.find(path);
    bool is_allowed = znode != nullptr &&
                      may(parts_.reader.view(tree, *znode, path), opener, wanted_by(info.flags));
    if (!is_allowed) {
      error = znode == nullptr ? ESTALE : EACCES;
      return nullptr;
    }
    parts_.answers.fill_entry(tree, path, true, entry);
    FilePtr made = make(*parts_.nodes.find(entry.ino), info, by, *znode, is_new);
    if (is_new) made->made_inode = entry.attr.st_ino;
    return made;
  });
  if (!file) {
    request->reply(error);
    return false;
  }
  info.fh = file->number;
  parts_.open.add(file);
  if (file->written.is_only_truncated()) parts_.commits.note(*file);
  info.direct_io = 1;
  info.noflush = is_unheard_at_close(*file);
  if (request->reply_created(entry, info) == 0) return true;
  // The opener was killed meanwhile: nothing was truncated.
  if (file->written.cancel_truncation()) parts_.commits.note(*file);
  parts_.open.take(info.fh);
  return false;
}

void Files::create(const RequestPtr& request, const std::string& path, mode_t mode,
                   fuse_file_info info) {
  parts_.writes.when_writable(request, [this, request, path, mode, info] {
    Asker asker = request->asker();
    uint32_t group = parts_.reader.handed_down_group(path).value_or(asker.gid);
    tree::AclList acl = acl_for_new(tree::Kind::kFile, mode & 07777, asker.uid, group);
    auto made = [this, request, path, info](const Outcome& outcome) {
      if (outcome.error == Error::kOk) {
        // Else the kernel may go on to believe that there is no such name.
        if (!reply_created(request, path, info, true)) parts_.notifications.forget_names();
        return;
      }
      if (outcome.error != Error::kNodeExists || (info.flags & O_EXCL) != 0) {
        return static_cast<void>(request->reply(file_error_of(outcome.error)));
      }
      KernelNode held = parts_.nodes.held(path);
      auto open = [this, request, path, info, held] {
        parts_.turns.kernel_wrote(held, request->asker().pid);
        reply_created(request, path, info, false);
      };
      truncate_for_appends(request, held, info,
                           [this, held, open] { parts_.turns.before_writing(held, open); });
    };
    parts_.writes.commit(OpCode::kCreate2,
                         tree::create_body(path, "", acl, tree::kCreatePersistent), made, nullptr,
                         LocalChange{{path}, asker.pid});
  });
}

// ---- read

void Files::read(const RequestPtr& request, KernelNode id, size_t size, off_t offset,
                 const fuse_file_info& info) {
  FilePtr file = parts_.open.find(info.fh);
  if (!file) return static_cast<void>(request->reply(EBADF));
  if (file->lost) return static_cast<void>(request->reply(ESTALE));
  std::optional<Node> node = parts_.nodes.find(id);
  bool is_page = info.lock_owner == 0;  // for the page cache, not for a read
  if (is_page) {
    if (std::optional<tree::Bytes> data = parts_.turns.shown(id, info.fh)) {
      request->reply_bytes(part_of(data->view(), size, offset));
      return parts_.turns.shown_answered(id);
    }
    // A short answer sets the size that the kernel has: not to another one than committed.
    if (file->writable) {
      parts_.notifications.forget_attributes(id);
    } else if (std::optional<tree::Bytes> data = parts_.reader.data_of(id)) {
      return static_cast<void>(request->reply_bytes(part_of(data->view(), size, offset)));
    }  // else it is gone, perhaps just now: it has what this handle has of it
  }
  if (std::shared_ptr<Orphan> orphan = file->orphan.load()) {
    bool has_pass = !file->writable && !is_page;  // pages are the same for all handles
    if (has_pass) return read_in_one_version(request, id, *file, size, offset);
    return static_cast<void>(request->reply_bytes(orphan->read(size, static_cast<size_t>(offset))));
  }
  if (file->writable) {
    return parts_.service.post([this, request, file, id, size, offset] {
      std::string image = file->written.image(parts_.commits.committed(id));
      request->reply_bytes(part_of(image, size, offset));
    });
  }
  bool waits = node && parts_.gate.holds(node->path, [this, request, id, size, offset, info] {
    read(request, id, size, offset, info);
  });
  if (!waits) read_in_one_version(request, id, *file, size, offset);
}

// One version a pass over the file: looked up anew at its start, and past its end, for `tail -f`,
// but only once the end was told; else the pass would go on in another version.
void Files::read_in_one_version(const RequestPtr& request, KernelNode id, OpenFile& file,
                                size_t size, off_t offset) {
  MutexLock lock(file.shown_mutex);
  bool at_end = static_cast<size_t>(offset) >= file.shown.size();
  if (offset == 0 || (at_end && file.end_told)) {
    if (std::shared_ptr<Orphan> orphan = file.orphan.load()) {
      file.shown = orphan->contents();
    } else if (std::optional<tree::Bytes> now = parts_.reader.data_of(id)) {
      file.shown = *now;
    }
  }
  file.end_told = static_cast<size_t>(offset) >= file.shown.size();
  request->reply_bytes(part_of(file.shown.view(), size, offset));
}

// ---- write

void Files::write(const RequestPtr& request, KernelNode id, std::string bytes, off_t offset,
                  const fuse_file_info& info) {
  FilePtr file = parts_.open.find(info.fh);
  if (!file) return static_cast<void>(request->reply(EBADF));
  Asker asker = request->asker();
  ClientSession::Actor by{asker.uid, {}};
  if (!file->has_writer.exchange(true)) by.program = program_name(asker.pid);
  auto refuse = [this, request, file, appends = (info.flags & O_APPEND) != 0](FileError error) {
    parts_.commits.note(*file, file->written.refuse(appends, error));
    request->reply(error);
  };
  auto shared = std::make_shared<const std::string>(std::move(bytes));
  auto body = [this, request, file, id, by, shared, offset, flags = info.flags]() mutable {
    if (!by.program.empty() && by.uid == file->user.uid) file->user.program = by.program;
    if (by.uid == file->user.uid) by.program = file->user.program;
    bool by_root = by.uid == 0U;
    ClientSession::Acting as(parts_.writes.session(), std::move(by));
    auto then = [this, request, file, id, shared, offset, flags] {
      parts_.turns.apart_from_reads(id, [this, request, file, shared, offset, flags] {
        write_to(request, file, *shared, offset, flags);
      });
    };
    // Data written by others than root takes setuid and setgid away, before it is committed.
    std::optional<Node> node = by_root ? std::nullopt : parts_.nodes.find(id);
    if (!node || node->gone) return then();
    drop_setuid(*node, std::move(then));
  };
  parts_.writes.when_writable(std::move(body), std::move(refuse));
}

void Files::write_to(const RequestPtr& request, const FilePtr& file, const std::string& bytes,
                     off_t offset, int flags) {
  WriteBuffer& written = file->written;
  if (file->orphan.load()) return parts_.orphans.write(request, *file, bytes, offset, flags);
  std::optional<WriteBuffer::Committed> there = parts_.commits.committed(file->node);
  if (!there) written.lose();
  WriteBuffer::Committed now = there.value_or(WriteBuffer::Committed{});
  WriteBuffer::Answer answer = (flags & O_APPEND) != 0
                                   ? written.append(bytes, now)
                                   : written.write(bytes, static_cast<size_t>(offset), now);
  parts_.commits.note(*file, answer);
  if (answer.error != FileError::kOk) return static_cast<void>(request->reply(answer.error));
  if (written.commits_unasked()) parts_.commits.commit_soon(file);
  auto tell_written = [this, request, node = file->node, size = bytes.size()] {
    parts_.turns.kernel_wrote(node, request->asker().pid);
    request->reply_written(size);
  };
  if ((flags & (O_SYNC | O_DSYNC)) == 0) return tell_written();
  parts_.commits.commit_and_tell(file, [request, tell_written](FileError error) {
    if (error != FileError::kOk) return static_cast<void>(request->reply(error));
    tell_written();
  });
}

void Files::drop_setuid(const Node& node, std::function<void()> then) {
  const tree::Tree& tree = parts_.service.replica().tree();
  const tree::ZNode* znode = tree.find(node.path);
  if (znode == nullptr) return then();
  View shown = parts_.reader.view(tree, *znode, node.path);
  uint32_t dropped = shown.mode & S_ISUID;
  if ((shown.mode & S_IXGRP) != 0) dropped |= shown.mode & S_ISGID;
  if (dropped == 0) return then();
  tree::PosixChange change;
  change.base = posix_of(parts_.reader.committed_view(tree, *znode, node.path));
  change.mode = shown.mode & ~dropped;
  change = defer(node, change);
  if (change.is_empty()) return then();
  parts_.writes.commit(OpCode::kExtSetPosix,
                       encode(tree::ExtSetPosix{node.path, znode->stat.czxid, change}),
                       [then = std::move(then)](const Outcome&) { then(); });
}

// ---- close

void Files::flush(uint64_t handle, pid_t by, FileCommits::Done reply) {
  FilePtr file = parts_.open.find(handle);
  if (!file || file->written.waits_at_flush(by == file->opener)) return reply(FileError::kOk);
  parts_.commits.commit_and_tell(file, std::move(reply));
}

bool Files::fsync(const RequestPtr& request, uint64_t handle) {
  FilePtr file = parts_.open.find(handle);
  if (!file || !file->writable) return false;
  parts_.service.post([this, request, file] {
    parts_.commits.commit_and_tell(file, [request](FileError error) { request->reply(error); });
  });
  return true;
}

void Files::note_request(const void* request, size_t size) {
  ReleaseRequest release;
  if (size < sizeof(release)) return;
  std::memcpy(&release, request, sizeof(release));
  if (release.head.opcode != FUSE_RELEASE) return;
  FilePtr file = parts_.open.find(release.body.fh);
  if (!file || !file->is_only_truncated) return;
  std::optional<Node> node = parts_.nodes.find(file->node);
  if (!node) return;
  file->release_noted = node->path;  // its RELEASE, which alone reads this, comes after
  parts_.gate.close(node->path);
}

void Files::release(uint64_t handle, std::function<void()> done) {
  FilePtr file = parts_.open.take(handle);
  if (!file) return done();
  parts_.commits.commit(file, [this, file, done = std::move(done)](FileError) {
    if (!file->release_noted.empty()) parts_.gate.open(file->release_noted);
    done();
  });
}

// ---- sizes and attributes

void Files::resize(const RequestPtr& request, KernelNode id, off_t size, uint64_t handle,
                   std::function<void()> then) {
  auto bytes = static_cast<size_t>(size);  // a negative one is too large, too
  FilePtr file = parts_.open.find(handle);
  if (file && file->writable && file->orphan.load()) {  // it was removed just now
    FileError error = file->orphan.load()->resize(bytes);
    return error == FileError::kOk ? then() : static_cast<void>(request->reply(error));
  }
  if (!file || !file->writable) {
    if (bytes > max_file_bytes()) return static_cast<void>(request->reply(EFBIG));
    return truncate(request, id, size, kTruncateTries, std::move(then));
  }
  if (file->written.only_appends()) {  // a commit of its own, behind what was appended before
    return parts_.commits.commit(file,
                                 [this, request, id, size, then = std::move(then)](FileError) {
                                   truncate(request, id, size, kTruncateTries, then);
                                 });
  }
  auto now = parts_.commits.committed(id).value_or(WriteBuffer::Committed{});
  if (bytes == 0 && is_appended_by_others(*file, now)) {
    // As logrotate's copytruncate does: its close would come too late for a condition.
    return truncate(request, id, 0, kTruncateTries, [this, file, id, then = std::move(then)] {
      file->written.emptied(parts_.commits.committed(id));
      then();
    });
  }
  // One more write of this handle's.
  WriteBuffer::Answer answer = file->written.resize(bytes, now);
  parts_.commits.note(*file, answer);
  if (answer.error != FileError::kOk) return static_cast<void>(request->reply(answer.error));
  then();
}

// Somebody appended since the handle was opened, or has it open here to append.
bool Files::is_appended_by_others(const OpenFile& file, const WriteBuffer::Committed& now) const {
  if (file.written.has_uncommitted() || file.written.is_committing()) return false;
  std::vector<FilePtr> open = parts_.open.of(file.node);
  bool is_open = std::any_of(open.begin(), open.end(), [&file](const FilePtr& other) {
    return other.get() != &file && other->written.only_appends();
  });
  return is_open || file.written.others_appended(now);
}

void Files::resize_refused(uint64_t handle, FileError error) {
  FilePtr file = parts_.open.find(handle);
  if (file && file->writable) parts_.commits.note(*file, file->written.refuse(false, error));
}

// Read, cut or extend, and commit if nobody else wrote in between; else again.
void Files::truncate(const RequestPtr& request, KernelNode id, off_t size, int tries,
                     std::function<void()> then) {
  std::optional<Node> node = parts_.reader.live(request, id);
  if (!node) return;
  const tree::ZNode* znode = parts_.service.replica().tree().find(node->path);
  if (znode == nullptr) return static_cast<void>(request->reply(ESTALE));
  tree::ExtWrite write;
  write.path = node->path;
  write.czxid = znode->stat.czxid;
  write.version = znode->stat.version;
  write.data = znode->data.view();
  write.data.resize(static_cast<size_t>(size), '\0');
  auto answered = [this, request, id, size, tries,
                   then = std::move(then)](const Outcome& outcome) mutable {
    if (outcome.error == Error::kStale && tries > 0) {
      return truncate(request, id, size, tries - 1, std::move(then));
    }
    if (outcome.error == Error::kOk) return then();
    request->reply(file_error_of(outcome.error));
  };
  parts_.writes.commit(OpCode::kExtWrite, encode(write), std::move(answered));
}

tree::PosixChange Files::defer(const Node& node, const tree::PosixChange& change) {
  std::vector<KernelNode> nodes{node.id};
  if (node.control == Control::kNone) nodes = parts_.nodes.all_held(node.path);
  tree::PosixChange rest = change;
  for (KernelNode id : nodes) {
    for (const FilePtr& file : parts_.open.of(id)) {
      WriteBuffer& written = file->written;
      if (change.mtime && written.defer_mtime(*change.mtime)) rest.mtime.reset();
      if (written.defer_owner_and_mode(change)) rest.mode = rest.uid = rest.gid = std::nullopt;
      parts_.commits.note(*file);
    }
  }
  return rest;
}

// ---- what happens to them

void Files::follow(std::span<const tree::Change> changes, const RenameSeen& rename) {
  std::map<std::string_view, int32_t> versions_before;
  for (const tree::Change& change : changes) {
    if (change.type == tree::ChangeType::kDeleted) versions_before[change.path] = change.version;
  }
  parts_.open.for_each([&](OpenFile& file) {
    std::optional<Node> node = file.writable ? parts_.nodes.find(file.node) : std::nullopt;
    if (!node || node->gone) return;
    std::optional<std::string> path = path_after(rename, node->path);
    auto before = versions_before.find(node->path);
    if (!path || before == versions_before.end()) return;
    file.written.renamed(before->second, node->path == rename.from ? rename.version : 0);
    parts_.commits.moved(file, *path);
  });
}

void Files::lock_granted(uint64_t handle) {
  FilePtr file = parts_.open.find(handle);
  if (!file || !file->writable) return;
  file->written.lock_taken(parts_.session.id(), parts_.commits.committed(file->node));
}

void Files::lock_given_up(uint64_t handle) {
  if (FilePtr file = parts_.open.find(handle)) file->written.lock_given_up();
}

void Files::lock_lost(uint64_t handle) {
  FilePtr file = parts_.open.find(handle);
  if (!file) return;
  file->lost = true;
  file->written.lose();
  parts_.commits.note(*file);
  // A reader of pages asks again, and is told.
  if (file->cached) parts_.notifications.forget_attributes(file->node);
}

void Files::commit(uint64_t handle, std::function<void()> done) {
  FilePtr file = parts_.open.find(handle);
  if (!file) return done();
  // An error is for its close to tell.
  parts_.commits.commit(file, [done = std::move(done)](FileError) { done(); });
}

}  // namespace zabfs::fsd
