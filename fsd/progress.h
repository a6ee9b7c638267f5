// How far a long command is: a line on a terminal, and nothing elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace zabfs::fsd {

class Progress {
 public:
  Progress();
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Of `total` bytes; 0 if that is not known.
  void begin(const std::string& what, uint64_t total);
  void at(uint64_t bytes);
  // The line goes, so that something else can be said.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;
  std::string text(double seconds) const;

  const bool is_shown_;
  std::string what_;
  uint64_t total_ = 0, bytes_ = 0;
  Clock::time_point began_, shown_;
  bool has_line_ = false;
};

}  // namespace zabfs::fsd
