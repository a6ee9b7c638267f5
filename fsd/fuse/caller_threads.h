// Threads of programs, as the strand sees them when it waits for them to get to their answers.
// /proc tells it in the daemon; a model of the kernel does it in a test. Thread-safe.
#pragma once

#include <sys/types.h>

#include <functional>

namespace zabfs::fsd {

class CallerThreads {
 public:
  virtual ~CallerThreads() = default;

  // Whether it may be in the middle of a call that makes, removes or renames a file.
  virtual bool may_change_names(pid_t thread) = 0;
  // Whether it may be in the middle of a call that looks a name up.
  virtual bool may_look_up(pid_t thread) = 0;
  // Lets them run until the condition is true, for a short time. False if it is not true then.
  virtual bool wait_until(const std::function<bool()>& condition) = 0;
};

class ProcCallerThreads final : public CallerThreads {
 public:
  bool may_change_names(pid_t thread) override;
  bool may_look_up(pid_t thread) override;
  // For 20 ms at most. It takes microseconds where there are CPUs for all.
  bool wait_until(const std::function<bool()>& condition) override;
};

}  // namespace zabfs::fsd
