// Threads whose change of a name was committed and answered, and that may have to hear of it yet.
//
// The kernel changes a name that it makes, removes or moves only when the thread that asked gets to
// the answer. Until then others see the old name through the kernel's cache:
//
//   1. Thread 1 asks to unlink `a`. That is committed, and answered. Thread 1 has not run since.
//   2. A change of `b` is committed, after that of `a`.
//   3. Somebody sees the new `b`, and then `a`, from the cache.
//
// So before 2 becomes visible the mount asks whether a thread of 1 may still be on its way
// (`reader_threads.h`). If so, it waits a moment for it, and then makes the kernel forget all
// names. Thread-safe.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <set>

#include "consensus/mutex.h"

namespace zabfs::fsd {

class LandingThreads {
 public:
  // The answer is about to be given to it.
  void add(pid_t thread);
  // It asks for something else: it has got to what it was answered.
  void landed(pid_t thread);
  // Drops those of which that is false; whether there are others.
  bool are_any(const std::function<bool(pid_t)>& may_be_on_its_way);
  void clear();
  bool is_empty() const { return is_empty_; }

 private:
  Mutex mutex_;
  std::set<pid_t> threads_ GUARDED_BY(mutex_);
  std::atomic<bool> is_empty_{true};
};

}  // namespace zabfs::fsd
