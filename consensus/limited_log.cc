#include "consensus/limited_log.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

namespace zabfs::consensus {

namespace {

int64_t steady_ms() {
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

}  // namespace

void LimitedLog::log(LogLevel level, const std::string& line) {
  if (tells_all_()) return log_(level, line);
  std::vector<LineLimiter::Line> lines;
  int64_t due_ms = INT64_MAX;
  bool is_sooner = false;  // than what the timer waits for
  {
    MutexLock lock(mutex_);
    lines = limiter_.note(level, line, steady_ms());
    due_ms = limiter_.next_due_ms();
    is_sooner = due_ms < armed_for_ms_;
    if (is_sooner) armed_for_ms_ = due_ms;
  }
  tell(lines);
  if (is_sooner) boost::asio::post(io_, [this, due_ms] { arm(due_ms); });
}

void LimitedLog::close() {
  std::vector<LineLimiter::Line> lines;
  {
    MutexLock lock(mutex_);
    lines = limiter_.rest(steady_ms());
  }
  tell(lines);
}

void LimitedLog::tell(const std::vector<LineLimiter::Line>& lines) const {
  for (const LineLimiter::Line& line : lines) log_(line.level, line.text);
}

void LimitedLog::arm(int64_t due_ms) {
  timer_.expires_after(std::chrono::milliseconds(std::max<int64_t>(0, due_ms - steady_ms())));
  timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled) on_timer();
  });
}

void LimitedLog::on_timer() {
  std::vector<LineLimiter::Line> lines;
  int64_t due_ms = INT64_MAX;
  {
    MutexLock lock(mutex_);
    lines = limiter_.due(steady_ms());
    due_ms = limiter_.next_due_ms();
    armed_for_ms_ = due_ms;
  }
  tell(lines);
  if (due_ms != INT64_MAX) arm(due_ms);
}

}  // namespace zabfs::consensus
