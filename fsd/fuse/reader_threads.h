// What a thread that uses a file of a mount is doing at this moment, as far as proc(5) tells.
//
// The kernel serves reads from the page cache without a word to the mount. So it does not say when
// such a read is over, and the mount looks at the thread itself.
#pragma once

#include <sys/types.h>

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace zabfs::fsd {

// What a thread that has asked something of the mount is doing.
struct Asking {
  // It was not asleep yet. On a busy machine it may be long until it is: what it does is only known
  // then.
  bool is_awake = false;
  // Where in its file it reads; nothing if that can't be known or it does something else.
  std::optional<uint64_t> reads_at;
};
// Thread-safe.
Asking asking(pid_t thread);

// Whether it may be in the middle of a call that makes, removes or renames a file. Thread-safe.
bool may_change_names(pid_t thread);

// Whether it may be in the middle of a call that looks a name up. Thread-safe.
bool may_look_up(pid_t thread);

// A thread, and which of the mount's answers it was given last. What it ran before that answer says
// nothing of what it does with it: a program that reads a file in small pieces asks before each.
struct AnsweredThread {
  AnsweredThread(pid_t its_id, uint64_t its_answer = 0) : id(its_id), answer(its_answer) {}
  auto operator<=>(const AnsweredThread&) const = default;
  pid_t id;
  uint64_t answer;
};

// A wait for threads that may have found a size and pages, and not have copied them yet. Used by
// one thread at a time.
class ThreadWait {
 public:
  explicit ThreadWait(int64_t since_us) : since_us_(since_us) {}
  int64_t since_us() const { return since_us_; }
  // Whether one of them may still be copying. A thread does not count if it is stopped, sleeps
  // outside a read of one of `inodes`, or has run, since this was first asked of that answer, for
  // longer than a copy takes. The wait is bounded.
  bool is_on(const std::vector<AnsweredThread>& threads, const std::set<uint64_t>& inodes,
             int64_t now_us);
  // Whether a thread that was answered may still wait for a CPU. One that sleeps has got to the
  // answer, or has stopped behind it.
  bool may_land(const AnsweredThread& thread, int64_t now_us);

 private:
  bool may_run(const AnsweredThread& thread);

  int64_t since_us_;
  std::map<AnsweredThread, int64_t> ran_us_;  // when first asked
};

}  // namespace zabfs::fsd
