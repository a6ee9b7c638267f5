// The open files of a mount, by the number of their handle and by their node. Thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "consensus/mutex.h"
#include "fsd/fuse/handle_table.h"
#include "fsd/fuse/open_file.h"

namespace zabfs::fsd {

class OpenFiles {
 public:
  using Ptr = std::shared_ptr<OpenFile>;

  void add(const Ptr& file) {
    by_number_.add(file->number, file);
    MutexLock lock(mutex_);
    by_node_.emplace(file->node, file);
  }
  // Null if there is none.
  Ptr find(uint64_t number) const { return by_number_.find(number); }
  // The same, and it is not in the table any more.
  Ptr take(uint64_t number) {
    Ptr taken = by_number_.take(number);
    if (!taken) return nullptr;
    MutexLock lock(mutex_);
    auto [begin, end] = by_node_.equal_range(taken->node);
    by_node_.erase(
        std::find_if(begin, end, [&](const auto& file) { return file.second == taken; }));
    return taken;
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
    for (const auto& [node, file] : by_node_) body(*file);
  }

 private:
  HandleTable<OpenFile> by_number_;
  mutable Mutex mutex_;
  std::unordered_multimap<KernelNode, Ptr> by_node_ GUARDED_BY(mutex_);
};

}  // namespace zabfs::fsd
