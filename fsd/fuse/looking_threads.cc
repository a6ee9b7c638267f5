#include "fsd/fuse/looking_threads.h"

#include <signal.h>

#include <cerrno>

namespace zabfs::fsd {

namespace {

constexpr size_t kMany = 10'000;

}  // namespace

void LookingThreads::add(pid_t thread, const std::string& path) {
  MutexLock lock(mutex_);
  if (names_.size() >= kMany) {
    std::erase_if(names_,
                  [](const auto& entry) { return ::kill(entry.first, 0) != 0 && errno == ESRCH; });
  }
  names_[thread] = path;
  is_empty_ = false;
}

void LookingThreads::landed(pid_t thread) {
  if (is_empty_) return;
  MutexLock lock(mutex_);
  names_.erase(thread);
  is_empty_ = names_.empty();
}

std::vector<pid_t> LookingThreads::take(const std::set<std::string>& names) {
  if (is_empty_) return {};
  MutexLock lock(mutex_);
  std::vector<pid_t> threads;
  for (auto entry = names_.begin(); entry != names_.end();) {
    if (names.contains(entry->second)) {
      threads.push_back(entry->first);
      entry = names_.erase(entry);
    } else {
      ++entry;
    }
  }
  is_empty_ = names_.empty();
  return threads;
}

}  // namespace zabfs::fsd
