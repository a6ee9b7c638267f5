// An Environment whose lanes and clock are the test's: nothing runs before the test says so.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "consensus/environment.h"

namespace zabfs::consensus {

class HandLanes : public Environment {
 public:
  struct Work {
    std::function<void()> job, done;
  };
  using Lane = std::deque<Work>;

  // The next of a lane: on the lane alone, or with what the strand hears of it.
  static void run_job(Lane& lane) {
    std::exchange(lane.front().job, [] {})();
  }
  static void run_one(Lane& lane) {
    Work work = std::move(lane.front());
    lane.pop_front();
    work.job();
    work.done();
  }
  void run_all() {
    while (!io_.empty() || !background_.empty()) run_one(io_.empty() ? background_ : io_);
  }

  int64_t now_ms() override { return now_ms_; }
  int64_t wall_ms() override { return now_ms_; }
  uint64_t random() override { return 7; }
  void wake_at(int64_t) override {}
  void run_io(std::function<void()> job, std::function<void()> done) override {
    io_.push_back({std::move(job), std::move(done)});
  }
  void run_background(std::function<void()> job, std::function<void()> done) override {
    background_.push_back({std::move(job), std::move(done)});
  }
  void log(LogLevel, const std::string& line) override { lines_.push_back(line); }
  void die(const std::string& why) override { deaths_.push_back(why); }

  Lane io_, background_;
  int64_t now_ms_ = 10'000;
  std::vector<std::string> lines_, deaths_;
};

}  // namespace zabfs::consensus
