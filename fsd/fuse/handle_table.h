// What is open, by the number that the kernel names it with. Thread-safe.
// `for_each` runs its body under the table's lock; the node table's may be taken in it.
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
  }
  // Null if there is none.
  Ptr find(uint64_t number) const {
    MutexLock lock(mutex_);
    auto found = open_.find(number);
    return found == open_.end() ? nullptr : found->second;
  }
  // The same, and it is not in the table any more.
  Ptr take(uint64_t number) {
    MutexLock lock(mutex_);
    auto node = open_.extract(number);
    return node.empty() ? nullptr : std::move(node.mapped());
  }
  template <class Body>
  void for_each(const Body& body) const {
    MutexLock lock(mutex_);
    for (const auto& [number, open] : open_) body(*open);
  }

 private:
  mutable Mutex mutex_;
  std::unordered_map<uint64_t, Ptr> open_ GUARDED_BY(mutex_);
};

}  // namespace zabfs::fsd
