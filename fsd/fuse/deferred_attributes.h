// Owner, group, mode and time of files that a program has set and that are not committed yet,
// because they go with data that is not committed yet (`WriteBuffer`).
//
// The program was told that they are set, so all programs of this node are shown them at once.
// Other nodes are shown them from the commit on. WriteBuffer decides what is deferred. This is what
// FileCommits has published of that, for the threads that answer the kernel.
//
// A file is found by its inode number, because that goes along when the file is renamed.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "consensus/mutex.h"
#include "fsd/view/view.h"
#include "tree/posix.h"
#include "tree/request.h"

namespace zabfs::fsd {

class DeferredAttributes {
 public:
  // What is deferred of a file; none: nothing. Its time is shown while the file has the version
  // `change->base.mtime_version`.
  void set(uint64_t inode, const std::optional<tree::PosixChange>& change);
  // `view` is a file as it is committed, in that version. It becomes what this node shows.
  void apply(View& view, int32_t version) const;

 private:
  std::atomic<size_t> count_{0};  // of `changes_`: mostly there are none
  mutable Mutex mutex_;
  std::unordered_map<uint64_t, tree::PosixChange> changes_ GUARDED_BY(mutex_);  // by inode number
};

}  // namespace zabfs::fsd
