#include "fsd/fuse/caller_threads.h"

#include <chrono>
#include <thread>

#include "fsd/fuse/reader_threads.h"

namespace zabfs::fsd {

namespace {

constexpr auto kWait = std::chrono::milliseconds(20);
constexpr auto kPause = std::chrono::microseconds(20);

}  // namespace

bool ProcCallerThreads::may_change_names(pid_t thread) { return fsd::may_change_names(thread); }

bool ProcCallerThreads::may_look_up(pid_t thread) { return fsd::may_look_up(thread); }

bool ProcCallerThreads::wait_until(const std::function<bool()>& condition) {
  auto end = std::chrono::steady_clock::now() + kWait;
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= end) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

}  // namespace zabfs::fsd
