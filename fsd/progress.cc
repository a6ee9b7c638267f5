#include "fsd/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace zabfs::fsd {
namespace {

constexpr auto kEvery = std::chrono::milliseconds(200);
constexpr double kMegabyte = 1e6;

}  // namespace

Progress::Progress() : is_shown_(::isatty(STDERR_FILENO) != 0) {}

Progress::~Progress() { clear(); }

void Progress::begin(const std::string& what, uint64_t total) {
  clear();
  what_ = what;
  total_ = total;
  bytes_ = 0;
  began_ = shown_ = Clock::now();
}

void Progress::at(uint64_t bytes) {
  bytes_ = bytes;
  Clock::time_point now = Clock::now();
  if (!is_shown_ || now - shown_ < kEvery) return;
  shown_ = now;
  clear();
  fmt::print(stderr, "{}", text(std::chrono::duration<double>(now - began_).count()));
  std::fflush(stderr);
  has_line_ = true;
}

std::string Progress::text(double seconds) const {
  auto bytes = static_cast<double>(bytes_);
  double rate = bytes / std::max(seconds, 0.001);
  std::string line =
      fmt::format("{}: {:.0f} MB, {:.0f} MB/s", what_, bytes / kMegabyte, rate / kMegabyte);
  if (total_ == 0 || bytes_ > total_) return line;
  auto total = static_cast<double>(total_);
  return line +
         fmt::format(", {:.0f} %, {:.0f} s left", 100 * bytes / total, (total - bytes) / rate);
}

void Progress::clear() {
  if (has_line_) fmt::print(stderr, "\r\033[K");
  has_line_ = false;
}

}  // namespace zabfs::fsd
