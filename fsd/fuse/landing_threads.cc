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

std::set<pid_t> LandingThreads::take() {
  if (is_empty_) return {};
  MutexLock lock(mutex_);
  is_empty_ = true;
  return std::exchange(threads_, {});
}

}  // namespace zabfs::fsd
