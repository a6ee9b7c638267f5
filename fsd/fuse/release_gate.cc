#include "fsd/fuse/release_gate.h"

#include <utility>

namespace zabfs::fsd {

void ReleaseGate::close(const std::string& path) {
  MutexLock lock(mutex_);
  ++gates_[path].handles;
  closed_ = gates_.size();
}

bool ReleaseGate::hold(const std::string& path, Again again) {
  MutexLock lock(mutex_);
  auto gate = gates_.find(path);
  if (gate == gates_.end()) return false;
  gate->second.waiting.push_back(std::move(again));
  return true;
}

bool ReleaseGate::holds_any(Again again) {
  MutexLock lock(mutex_);
  if (gates_.empty()) return false;
  gates_.begin()->second.waiting.push_back(std::move(again));
  return true;
}

void ReleaseGate::open(const std::string& path) {
  std::vector<Again> waiting;
  {
    MutexLock lock(mutex_);
    auto gate = gates_.find(path);
    if (gate == gates_.end() || --gate->second.handles > 0) return;
    waiting = std::move(gate->second.waiting);
    gates_.erase(gate);
    closed_ = gates_.size();
  }
  for (const Again& again : waiting) again();
}

}  // namespace zabfs::fsd
