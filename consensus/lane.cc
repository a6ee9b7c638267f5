#include "consensus/lane.h"

#include <pthread.h>

#include <utility>

namespace zabfs::consensus {

Lane::Lane(const std::string& name) : thread_([this] { run(); }) {
  pthread_setname_np(thread_.native_handle(), name.c_str());
}

void Lane::post(std::function<void()> job) {
  {
    MutexLock lock(mutex_);
    if (stopped_) return;
    jobs_.push_back(std::move(job));
  }
  wake_.notify_one();
}

void Lane::stop() {
  {
    MutexLock lock(mutex_);
    stopped_ = true;
    jobs_.clear();
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Lane::run() {
  while (std::function<void()> job = next()) job();
}

std::function<void()> Lane::next() {
  MutexLock lock(mutex_);
  while (!stopped_ && jobs_.empty()) wake_.wait(mutex_);
  if (stopped_) return nullptr;
  std::function<void()> job = std::move(jobs_.front());
  jobs_.pop_front();
  return job;
}

}  // namespace zabfs::consensus
