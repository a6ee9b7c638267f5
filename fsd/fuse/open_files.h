// The open files of a mount, by the number of their handle and by their node. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "consensus/mutex.h"
#include "fsd/fuse/open_file.h"

namespace zabfs::fsd {

class OpenFiles {
 public:
  using Ptr = std::shared_ptr<OpenFile>;

  void add(Ptr file) {
    MutexLock lock(mutex_);
    by_node_.emplace(file->node, file);
    uint64_t number = file->number;
    by_number_[number] = std::move(file);
  }
  // Null if there is none.
  Ptr find(uint64_t number) const {
    MutexLock lock(mutex_);
    auto found = by_number_.find(number);
    return found == by_number_.end() ? nullptr : found->second;
  }
  // The same, and it is not in the table any more.
  Ptr take(uint64_t number) {
    MutexLock lock(mutex_);
    auto taken = by_number_.extract(number);
    if (taken.empty()) return nullptr;
    auto [begin, end] = by_node_.equal_range(taken.mapped()->node);
    for (auto file = begin; file != end; ++file) {
      if (file->second != taken.mapped()) continue;
      by_node_.erase(file);
      break;
    }
    return std::move(taken.mapped());
  }
  std::vector<Ptr> of(KernelNode node) const {
    MutexLock lock(mutex_);
    std::vector<Ptr> files;
    auto [begin, end] = by_node_.equal_range(node);
    for (auto file = begin; file != end; ++file) files.push_back(file->second);
    return files;
  }
  // What an open file of that node has that has no name any more; null if there is none.
  std::shared_ptr<Orphan> orphan_of(KernelNode node) const {
    MutexLock lock(mutex_);
    auto file = by_node_.find(node);
    return file == by_node_.end() ? nullptr : file->second->orphan.load();
  }
  // Runs `body` under the table's lock; the node table's may be taken in it.
  template <class Body>
  void for_each(const Body& body) const {
    MutexLock lock(mutex_);
    for (const auto& [number, file] : by_number_) body(*file);
  }

 private:
  mutable Mutex mutex_;
  std::unordered_map<uint64_t, Ptr> by_number_ GUARDED_BY(mutex_);
  std::unordered_multimap<KernelNode, Ptr> by_node_ GUARDED_BY(mutex_);
};

}  // namespace zabfs::fsd
