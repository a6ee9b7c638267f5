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
// So before 2 is visible the mount asks whether thread 1 may still be on its way. Thread-safe.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "consensus/mutex.h"

namespace zabfs::fsd {

class LookingThreads {
 public:
  // The answer is about to be given to it. One that has died is dropped when there are many.
  void add(pid_t thread, const std::string& path);
  // It asks for something else: it has got to what it was answered.
  void landed(pid_t thread);
  // Those that were answered one of these names. They are forgotten.
  std::vector<pid_t> take(const std::set<std::string>& names);
  bool is_empty() const { return is_empty_; }

 private:
  Mutex mutex_;
  std::map<pid_t, std::string> names_ GUARDED_BY(mutex_);  // of each its last
  std::atomic<bool> is_empty_{true};
};

}  // namespace zabfs::fsd
