// A log for what strangers can cause: a few lines an interval, then one line with the number of
// those that were left out. One thread's.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <functional>
#include <string>

#include "consensus/environment.h"

namespace zabfs::consensus {

class SpareLog {
 public:
  using Logger = std::function<void(LogLevel, const std::string&)>;
  explicit SpareLog(Logger log) : log_(std::move(log)) {}

  void warn(const std::string& line) {
    auto now = std::chrono::steady_clock::now();
    if (now >= window_end_) {
      window_end_ = now + kWindow;
      in_window_ = 0;
    }
    if (++in_window_ > kLines) {
      ++dropped_;
      return;
    }
    std::string note = dropped_ == 0 ? "" : fmt::format(" ({} more such lines before)", dropped_);
    dropped_ = 0;
    log_(LogLevel::kWarning, line + note);
  }

 private:
  static constexpr auto kWindow = std::chrono::seconds(10);
  static constexpr int kLines = 10;
  Logger log_;
  std::chrono::steady_clock::time_point window_end_;
  int in_window_ = 0;
  size_t dropped_ = 0;
};

}  // namespace zabfs::consensus
