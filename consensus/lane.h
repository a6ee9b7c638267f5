// A thread for work that blocks: jobs run in order, one at a time.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <thread>

#include "consensus/mutex.h"

namespace zabfs::consensus {

class Lane {
 public:
  explicit Lane(const std::string& name);
  ~Lane() { stop(); }

  void post(std::function<void()> job) EXCLUDES(mutex_);
  // Finishes the job under way, drops the others.
  void stop() EXCLUDES(mutex_);

 private:
  void run() EXCLUDES(mutex_);
  // Waits for it; null: the lane was stopped.
  std::function<void()> next() EXCLUDES(mutex_);

  Mutex mutex_;  // no job runs under it
  ConditionVariable wake_;
  std::deque<std::function<void()>> jobs_ GUARDED_BY(mutex_);
  bool stopped_ GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace zabfs::consensus
