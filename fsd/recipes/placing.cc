#include "fsd/recipes/placing.h"

#include "tree/path.h"

namespace zabfs::fsd {

FileError Placing::may_enter(const std::string& directory) const {
  std::string path = directory;
  while (true) {
    const tree::ZNode* node = tree_.find(path);
    if (node == nullptr) return FileError::kStale;
    if (!may(view(*node, path), caller_, kMaySearch)) return FileError::kNoAccess;
    if (path == "/") return FileError::kOk;
    path = std::string(tree::parent_path(path));
  }
}

FileError Placing::may_fill(const View& there) const {
  if (there.kind != tree::Kind::kDirectory) return FileError::kNotDirectory;
  return may(there, caller_, kMaySearch) ? FileError::kOk : FileError::kNoAccess;
}

FileError Placing::may_put_over(tree::Kind kind, const View& around, const View& there) const {
  if (there.kind == tree::Kind::kDirectory) return FileError::kIsDirectory;
  if (there.kind != kind) return FileError::kExists;
  if (kind == tree::Kind::kFile) {
    return may(there, caller_, kMayWrite) ? FileError::kOk : FileError::kNoAccess;
  }
  return may_remove(around, there, caller_);  // nothing writes to one: another one takes its place
}

uint32_t Placing::mode_when_written(const View& there) const {
  if (caller_.uid == 0 || there.kind != tree::Kind::kFile) return there.mode;
  uint32_t dropped = S_ISUID;
  if ((there.mode & S_IXGRP) != 0) dropped |= S_ISGID;
  return there.mode & ~dropped;
}

}  // namespace zabfs::fsd
