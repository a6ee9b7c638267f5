#include "fsd/fuse/landing_threads.h"

#include <utility>

namespace zabfs::fsd {

void LandingThreads::add(pid_t thread) {
  MutexLock lock(mutex_);
  threads_.insert(thread);
  is_empty_ = false;
}

void LandingThreads::landed(pid_t thread) {
  if (is_empty_) return;
  MutexLock lock(mutex_);
  threads_.erase(thread);
  is_empty_ = threads_.empty();
}

bool LandingThreads::are_any(const std::function<bool(pid_t)>& may_be_on_its_way) {
  if (is_empty_) return false;
  MutexLock lock(mutex_);
  std::erase_if(threads_, [&](pid_t thread) { return !may_be_on_its_way(thread); });
  is_empty_ = threads_.empty();
  return !threads_.empty();
}

void LandingThreads::clear() {
  MutexLock lock(mutex_);
  threads_.clear();
  is_empty_ = true;
}

}  // namespace zabfs::fsd
