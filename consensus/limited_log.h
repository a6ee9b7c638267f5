// A LineLimiter with a clock: a log for lines that somebody else can cause at will.
//
// `log` on any thread, also under a mutex of the caller's: it takes its own for a moment, and the
// log's. The timer is the io context's. `close` once the io context has ended.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "consensus/environment.h"
#include "consensus/line_limiter.h"
#include "consensus/mutex.h"

namespace zabfs::consensus {

class LimitedLog {
 public:
  using Logger = std::function<void(LogLevel, const std::string&)>;
  // True: every line is told at once, as somebody wants to see each.
  using TellsAll = std::function<bool()>;

  LimitedLog(boost::asio::io_context& io, Logger log, TellsAll tells_all)
      : io_(io), log_(std::move(log)), tells_all_(std::move(tells_all)), timer_(io) {}

  void log(LogLevel level, const std::string& line) EXCLUDES(mutex_);
  // Tells what is left.
  void close() EXCLUDES(mutex_);

 private:
  void tell(const std::vector<LineLimiter::Line>& lines) const;
  void arm(int64_t due_ms);
  void on_timer() EXCLUDES(mutex_);

  boost::asio::io_context& io_;
  const Logger log_;
  const TellsAll tells_all_;
  boost::asio::steady_timer timer_;  // on the io thread
  Mutex mutex_;
  LineLimiter limiter_ GUARDED_BY(mutex_);
  int64_t armed_for_ms_ GUARDED_BY(mutex_) = INT64_MAX;  // when the timer ends; INT64_MAX: never
};

}  // namespace zabfs::consensus
