// What a replica gives to those who use it: the daemon's mount, client port and sessions. In
// production a `Host`, in the simulator one of its nodes: the same sessions and locks run in both.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "consensus/environment.h"

namespace zabfs::consensus {

class Replica;

class Service {
 public:
  virtual ~Service() = default;

  // Runs `event` on the replica's strand, perhaps right here. On any thread.
  virtual void post(std::function<void()> event) = 0;
  // Runs `event` on the strand that much later. On any thread.
  virtual void post_after(int64_t delay_ms, std::function<void()> event) = 0;
  // Monotonic, and goes on while the machine sleeps. On any thread.
  virtual int64_t now_ms() = 0;
  // On any thread.
  virtual uint64_t random() = 0;
  // One line. On any thread.
  virtual void log(LogLevel level, const std::string& line) = 0;
  // As Environment's. On any thread.
  virtual void log_limited(LogLevel level, const std::string& line) { log(level, line); }
  // To be used on the strand only, but for Replica::read.
  virtual Replica& replica() = 0;
};

}  // namespace zabfs::consensus
