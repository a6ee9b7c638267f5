// One thing at a time, on whichever thread brings it: the replica's strand.
//
// `post` runs the event at once if nobody is running one, else leaves it to the thread that is. So
// an event costs no wake-up of another thread, which here would be 30 to 50 us. After the queued
// events of a round, `after_batch` runs once.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "consensus/mutex.h"

namespace zabfs::consensus {

class Strand {
 public:
  // Before the first event.
  void set_after_batch(std::function<void()> after_batch) { after_batch_ = std::move(after_batch); }

  void post(std::function<void()> event) EXCLUDES(mutex_) {
    if (!add(std::move(event))) return;
    std::vector<std::function<void()>> batch;
    while (take(batch)) {
      for (std::function<void()>& next : batch) next();
      if (after_batch_) after_batch_();
      batch.clear();
    }
  }

  // Events posted from here on are dropped; one that is running is not waited for.
  void stop() EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    stopped_ = true;
    queue_.clear();
  }

 private:
  // True: nobody runs events, so the caller is to.
  bool add(std::function<void()> event) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (stopped_) return false;
    queue_.push_back(std::move(event));
    return !std::exchange(running_, true);
  }
  // The events of a round; false: there are none, and the caller runs no more of them.
  bool take(std::vector<std::function<void()>>& batch) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    batch.swap(queue_);
    running_ = !batch.empty();
    return running_;
  }

  Mutex mutex_;  // no event runs under it
  std::vector<std::function<void()>> queue_ GUARDED_BY(mutex_);
  bool running_ GUARDED_BY(mutex_) = false;
  bool stopped_ GUARDED_BY(mutex_) = false;
  std::function<void()> after_batch_;
};

}  // namespace zabfs::consensus
