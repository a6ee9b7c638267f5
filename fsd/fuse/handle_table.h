// What is open, by the number that the kernel names it with. Thread-safe; no lock is taken under a
// table's own, and `for_each` runs its body under it.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace zabfs::fsd {

template <class Open>
class HandleTable {
 public:
  using Ptr = std::shared_ptr<Open>;

  void add(uint64_t number, Ptr open) {
    std::lock_guard lock(mutex_);
    open_[number] = std::move(open);
  }
  // Null if there is none.
  Ptr find(uint64_t number) const {
    std::lock_guard lock(mutex_);
    auto place = open_.find(number);
    return place == open_.end() ? nullptr : place->second;
  }
  // The same, and it is not in the table any more.
  Ptr take(uint64_t number) {
    std::lock_guard lock(mutex_);
    auto node = open_.extract(number);
    return node.empty() ? nullptr : std::move(node.mapped());
  }
  template <class Body>
  void for_each(const Body& body) const {
    std::lock_guard lock(mutex_);
    for (const auto& [number, open] : open_) body(*open);
  }

 private:
  mutable std::mutex mutex_;  // guards open_
  std::unordered_map<uint64_t, Ptr> open_;
};

}  // namespace zabfs::fsd
