// What is open, by the number that the kernel names it with. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>

#include "consensus/mutex.h"

namespace zabfs::fsd {

// Numbers of handles. Those of files, directories and the control room differ, as they come from
// one of these. Thread-safe.
class HandleNumbers {
 public:
  uint64_t next() { return next_++; }

 private:
  std::atomic<uint64_t> next_{1};
};

template <class Open>
class HandleTable {
 public:
  using Ptr = std::shared_ptr<Open>;

  void add(uint64_t number, Ptr open) {
    MutexLock lock(mutex_);
    open_[number] = std::move(open);
    has_any_ = true;
  }
  // Null if there is none. Each read of a file asks tables that mostly have nothing: without any
  // lock then.
  Ptr find(uint64_t number) const {
    if (!has_any_) return nullptr;
    MutexLock lock(mutex_);
    auto found = open_.find(number);
    return found == open_.end() ? nullptr : found->second;
  }
  // The same, and it is not in the table any more.
  Ptr take(uint64_t number) {
    if (!has_any_) return nullptr;
    MutexLock lock(mutex_);
    auto node = open_.extract(number);
    has_any_ = !open_.empty();
    return node.empty() ? nullptr : std::move(node.mapped());
  }

 private:
  mutable Mutex mutex_;
  std::atomic<bool> has_any_{false};  // changes with `open_`
  std::unordered_map<uint64_t, Ptr> open_ GUARDED_BY(mutex_);
};

}  // namespace zabfs::fsd
