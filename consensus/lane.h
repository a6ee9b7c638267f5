// A thread for work that blocks: jobs run in order, one at a time.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace zabfs::consensus {

class Lane {
 public:
  explicit Lane(const std::string& name);
  ~Lane() { stop(); }

  void post(std::function<void()> job);
  // Finishes the job under way, drops the others.
  void stop();

 private:
  void run();

  std::mutex mutex_;  // guards all below but the thread
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  bool stopped_ = false;
  std::thread thread_;
};

}  // namespace zabfs::consensus
