#include "fsd/fuse/orphans.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <ctime>
#include <vector>

namespace zabfs::fsd {

void Orphans::gone(KernelNode id, const tree::Bytes& last) {
  std::vector<OpenFiles::Ptr> open = open_.of(id);
  if (open.empty()) {
    MutexLock lock(mutex_);
    lately_.emplace_back(id, last);
    if (lately_.size() > kMaxLately) lately_.pop_front();
    return;
  }
  auto orphan = std::make_shared<Orphan>(last, space_);
  for (const OpenFiles::Ptr& file : open) {
    file->orphan.store(orphan);
    if (!file->writable) continue;  // a FUSE worker may be opening it just now
    if (std::optional<std::string> contents = file->written.detach(last)) {
      orphan->replace(std::move(*contents));
    }
    commits_.note(*file);
  }
}

std::shared_ptr<Orphan> Orphans::find(KernelNode id) {
  if (std::shared_ptr<Orphan> orphan = open_.orphan_of(id)) return orphan;
  MutexLock lock(mutex_);
  for (const auto& [node, last] : lately_) {
    if (node == id) return std::make_shared<Orphan>(last, space_);
  }
  return nullptr;
}

bool Orphans::open(const RequestPtr& request, KernelNode id, const fuse_file_info& info) {
  std::shared_ptr<Orphan> orphan = find(id);
  if (!orphan) return false;
  auto file = std::make_shared<OpenFile>(orphan->contents());
  file->number = numbers_.next();
  file->node = id;
  file->opener = request->asker().pid;
  file->user = {request->asker().uid};
  file->writable = (info.flags & O_ACCMODE) != O_RDONLY;
  file->orphan.store(orphan);
  if ((info.flags & O_TRUNC) != 0) static_cast<void>(orphan->resize(0));
  open_.add(file);
  fuse_file_info answer = info;
  answer.fh = file->number;
  answer.direct_io = 1;
  if (request->reply_opened(answer) != 0) open_.take(answer.fh);
  return true;
}

bool Orphans::set_attributes(const RequestPtr& request, KernelNode id, const struct stat& wanted,
                             int set) {
  std::shared_ptr<Orphan> orphan = open_.orphan_of(id);
  if (!orphan) return false;
  FileError error = FileError::kOk;
  if ((set & FUSE_SET_ATTR_SIZE) != 0) error = orphan->resize(static_cast<size_t>(wanted.st_size));
  if (error != FileError::kOk) return request->reply(error), true;
  nodes_.change_last(id, [&](struct stat& last) {
    if ((set & FUSE_SET_ATTR_MODE) != 0) {
      last.st_mode = (last.st_mode & S_IFMT) | (wanted.st_mode & 07777);
    }
    if ((set & FUSE_SET_ATTR_UID) != 0) last.st_uid = wanted.st_uid;
    if ((set & FUSE_SET_ATTR_GID) != 0) last.st_gid = wanted.st_gid;
    if ((set & FUSE_SET_ATTR_MTIME_NOW) != 0) {
      ::clock_gettime(CLOCK_REALTIME, &last.st_mtim);
    } else if ((set & FUSE_SET_ATTR_MTIME) != 0) {
      last.st_mtim = wanted.st_mtim;
    }
  });
  answers_.reply_attributes(request, id, false);
  return true;
}

void Orphans::write(const RequestPtr& request, OpenFile& file, std::string_view bytes, off_t offset,
                    int flags) {
  FileError error = file.lost ? FileError::kStale : FileError::kOk;
  std::shared_ptr<Orphan> orphan = file.orphan.load();
  if (error == FileError::kOk) {
    error = (flags & O_APPEND) != 0 ? orphan->append(bytes)
                                    : orphan->write(bytes, static_cast<size_t>(offset));
  }
  if (error != FileError::kOk) return static_cast<void>(request->reply(error));
  turns_.kernel_wrote(file.node, request->asker().pid);
  request->reply_written(bytes.size());
}

}  // namespace zabfs::fsd
