// How what was written through a handle is committed: by the first close, fsync or O_SYNC write
// after it (DESIGN.md, "Reads and writes"; FUSE.md, "Shell writes").
#include <cerrno>
#include <cstring>
#include <utility>

#include "fsd/fuse/mount.h"

namespace zabfs::fsd {

using tree::OpCode;
using tree::Outcome;

namespace {

constexpr uint32_t kFuseRelease = 18;

// The head of a request as the kernel writes it (linux/fuse.h: fuse_in_header, fuse_release_in).
struct ReleaseRequest {
  uint32_t length, opcode;
  uint64_t unique, node;
  uint32_t uid, gid, pid, padding;
  uint64_t handle;
};

}  // namespace

void Mount::commit_file(const FilePtr& file, std::function<void(int)> done) {
  if (file->written.is_committing()) {
    // What is under way first; then what was written since, if anything.
    auto answered = std::make_shared<bool>(false);
    uint64_t number = writer_.expect([done, answered] {
      *answered = true;
      done(EIO);
    });
    file->after_commit.push_back([this, file, done, answered, number](int error) {
      writer_.settled(number);
      if (std::exchange(*answered, true)) return;
      if (error == 0 && file->written.is_dirty()) return commit_file(file, done);
      done(error == 0 ? file->written.dropped_error() : error);
    });
    return;
  }
  if (!file->written.has_uncommitted()) return done(file->written.error());
  file->after_commit.push_back(std::move(done));
  begin_commit(file);
}

void Mount::begin_commit(const FilePtr& file) {
  std::optional<Node> node = nodes_.find(file->node);
  if (!node || node->gone) file->written.lose();
  std::optional<WriteBuffer::Commit> begun = file->written.begin_commit(
      node && node->control != Control::kData ? node->czxid : file->written.czxid());
  note_written(file);
  if (!begun) return commit_over(file, file->written.error());
  send_commit(file, *node, std::move(*begun));
}

void Mount::send_commit(const FilePtr& file, const Node& node, WriteBuffer::Commit begun) {
  // Without an answer in time it is unknown what became of it. Who waits is told so; the commit
  // itself goes on, and the next fsync or close waits for it again.
  auto answered = [this, file](const Outcome& outcome) { commit_answered(file, outcome); };
  if (begun.appends) {
    tree::ExtAppend append{node.path, begun.czxid, std::move(begun.data)};
    commit(OpCode::kExtAppend, encode(append), answered, answered, {}, begun.session);
    return;
  }
  tree::ExtWrite write{node.path, begun.czxid, begun.version, std::move(begun.data), std::nullopt};
  const tree::Tree& tree = service_.replica().tree();
  const tree::ZNode* znode = tree.find(node.path);
  bool lacks_posix =
      znode != nullptr && node.control == Control::kData && !tree::find_posix(tree.acl_of(*znode));
  if (znode != nullptr && (begun.mtime || lacks_posix)) {
    tree::PosixChange change;
    change.base = posix_of(view(tree, *znode, node.path));
    change.mtime = begun.mtime;
    write.posix = change;
  }
  commit(OpCode::kExtWrite, encode(write), answered, answered, {}, begun.session);
}

void Mount::commit_answered(const FilePtr& file, const Outcome& outcome) {
  WriteBuffer::Answer answer = file->written.commit_ended(outcome, committed(file->node));
  note_written(file, answer);
  if (answer.again) return begin_commit(file);
  commit_over(file, answer.error);
}

void Mount::commit_over(const FilePtr& file, int error) {
  for (auto& waiter : std::exchange(file->after_commit, {})) waiter(error);
}

// An append may have been refused since, when nobody waited for its commit.
void Mount::commit_and_tell(const FilePtr& file, std::function<void(int)> tell) {
  commit_file(file, [file, tell = std::move(tell)](int error) {
    tell(file->written.take_append_error(error));
  });
}

void Mount::flush(fuse_req_t req, fuse_ino_t id, const fuse_file_info* info) {
  pid_t pid = fuse_req_ctx(req)->pid;
  FileLocks::Key owner{FileLocks::Owner::kProcess, info->lock_owner, id};
  RequestPtr request = hold(req);
  if (ControlPtr control = find_control(info)) {
    return on_strand([this, request, control, owner] {
      file_locks_.unlock(owner, [] {});  // POSIX locks end with any close by their owner
      control->handle->flush([request](int error) { request->reply(error); });
    });
  }
  FilePtr file = files_.find(info->fh);
  on_strand([this, request, file, pid, owner] {
    auto reply = [this, request, owner](int error) {
      file_locks_.unlock(owner, [request, error] { request->reply(error); });
    };
    if (!file) return reply(0);
    if (file->written.waits_at_flush(pid == file->opener)) return reply(0);
    commit_and_tell(file, reply);
  });
}

void Mount::fsync(fuse_req_t req, fuse_ino_t id, const fuse_file_info* info) {
  static_cast<void>(id);
  if (ControlPtr control = find_control(info)) {
    return on_strand([request = hold(req), control] {
      control->handle->flush([request](int error) { request->reply(error); });
    });
  }
  FilePtr file = files_.find(info->fh);
  if (!file || !file->writable) return barrier(req);
  on_strand([this, request = hold(req), file] {
    commit_and_tell(file, [request](int error) { request->reply(error); });
  });
}

// ---- release

void Mount::note_release(const void* request, size_t size) {
  ReleaseRequest release;
  if (size < sizeof(release)) return;
  std::memcpy(&release, request, sizeof(release));
  if (release.opcode != kFuseRelease) return;
  FilePtr file = files_.find(release.handle);
  if (!file || !file->is_only_truncated) return;
  std::optional<Node> node = nodes_.find(file->node);
  if (!node) return;
  file->release_noted = node->path;  // its RELEASE, which alone reads this, comes after
  releases_.close(node->path);
}

void Mount::release(fuse_req_t req, fuse_ino_t id, const fuse_file_info* info) {
  uint64_t number = info->fh;
  on_strand([this, request = hold(req), id, number] {
    release_control(number);
    FilePtr file = files_.take(number);
    auto unlock = [this, id, number] { file_locks_.unlock_handle(number, id); };
    if (file) {
      commit_file(file, [this, file, unlock](int) {
        if (!file->release_noted.empty()) releases_.open(file->release_noted);
        unlock();
      });
    } else {
      unlock();
    }
    request->reply(0);
  });
}

}  // namespace zabfs::fsd
