#include "fsd/fuse/looking_threads.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>

namespace zabfs::fsd {

namespace {

constexpr size_t kMany = 10'000;

}  // namespace

void LookingThreads::add(pid_t thread, NodeTable::HeldName name) {
  MutexLock lock(mutex_);
  if (names_.size() >= kMany) {
    std::erase_if(names_,
                  [](const auto& entry) { return ::kill(entry.first, 0) != 0 && errno == ESRCH; });
  }
  names_[thread] = std::move(name);
  is_empty_ = false;
}

void LookingThreads::landed(pid_t thread) {
  if (is_empty_) return;
  MutexLock lock(mutex_);
  names_.erase(thread);
  is_empty_ = names_.empty();
}

std::vector<LookingThreads::Looking> LookingThreads::among(
    const std::vector<NodeTable::HeldName>& names) const {
  if (is_empty_) return {};
  MutexLock lock(mutex_);
  std::vector<Looking> found;
  for (const auto& [thread, name] : names_) {
    if (std::find(names.begin(), names.end(), name) != names.end())
      found.emplace_back(thread, name);
  }
  return found;
}

bool LookingThreads::contains(const Looking& looking) const {
  MutexLock lock(mutex_);
  auto found = names_.find(looking.first);
  return found != names_.end() && found->second == looking.second;
}

}  // namespace zabfs::fsd
