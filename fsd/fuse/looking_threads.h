// Threads that were answered a name which the kernel had already, and is to keep; and which may not
// have got to the answer.
//
// The kernel asks for a name again without the lock of its directory. So such an answer can be
// overtaken by a change of the name, and be kept after it:
//
//   1. Thread 1 asks for d/a, which the kernel has and may not use unasked. It is answered: d/a is
//      there, keep it. Thread 1 has not run since.
//   2. Another node's removal of d/a is committed. The kernel is told that it may not use d/a
//      unasked.
//   3. Thread 1 runs: the kernel keeps d/a.
//
// So before the kernel is told in 2, the mount waits for thread 1. From then on d/a is answered to
// be kept by nobody. Thread-safe.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <map>
#include <utility>
#include <vector>

#include "consensus/mutex.h"
#include "fsd/fuse/node_table.h"

namespace zabfs::fsd {

class LookingThreads {
 public:
  using Looking = std::pair<pid_t, NodeTable::HeldName>;

  // The answer is about to be given to it. One that has died is dropped when there are many.
  void add(pid_t thread, NodeTable::HeldName name);
  // It asks for something else: it has got to what it was answered.
  void landed(pid_t thread);
  // Those that were answered one of these names.
  std::vector<Looking> among(const std::vector<NodeTable::HeldName>& names) const;
  // Whether it has not landed since.
  bool contains(const Looking& looking) const;
  bool is_empty() const { return is_empty_; }

 private:
  mutable Mutex mutex_;
  std::map<pid_t, NodeTable::HeldName> names_ GUARDED_BY(mutex_);  // of each its last
  std::atomic<bool> is_empty_{true};
};

}  // namespace zabfs::fsd
