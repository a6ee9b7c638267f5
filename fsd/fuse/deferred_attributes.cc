#include "fsd/fuse/deferred_attributes.h"

namespace zabfs::fsd {

void DeferredAttributes::set(uint64_t inode, const std::optional<tree::PosixChange>& change) {
  if (!change && count_ == 0) return;
  MutexLock lock(mutex_);
  if (change) {
    changes_[inode] = *change;
  } else {
    changes_.erase(inode);
  }
  count_ = changes_.size();
}

void DeferredAttributes::apply(View& view, int32_t version) const {
  if (count_ == 0) return;
  MutexLock lock(mutex_);
  auto found = changes_.find(view.ino);
  if (found == changes_.end()) return;
  tree::PosixChange change = still_holding(found->second, posix_of(view));
  view.mode = change.mode.value_or(view.mode);
  view.uid = change.uid.value_or(view.uid);
  view.gid = change.gid.value_or(view.gid);
  if (!change.mtime || change.base.mtime_version != version) return;
  view.mtime = *change.mtime;
  view.has_set_mtime = true;
}

}  // namespace zabfs::fsd
