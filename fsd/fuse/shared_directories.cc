#include "fsd/fuse/shared_directories.h"

namespace zabfs::fsd {

void SharedDirectories::note_change(std::string_view directory, By whom, Time now) {
  MutexLock lock(mutex_);
  auto found = directories_.find(std::string(directory));
  if (found == directories_.end()) {
    if (directories_.size() >= kMax) {
      directories_.clear();
      of_others_ = {now, now};
    }
    found = directories_.try_emplace(std::string(directory), of_others_).first;
  }
  (whom == By::kThisKernel ? found->second.here : found->second.elsewhere) = now;
}

bool SharedDirectories::is_shared(std::string_view directory, Time now) const {
  MutexLock lock(mutex_);
  auto found = directories_.find(std::string(directory));
  return are_both_recent(found == directories_.end() ? of_others_ : found->second, now);
}

bool SharedDirectories::are_both_recent(const Changes& changes, Time now) {
  return changes.here && now - *changes.here < kRemembered && changes.elsewhere &&
         now - *changes.elsewhere < kRemembered;
}

}  // namespace zabfs::fsd
