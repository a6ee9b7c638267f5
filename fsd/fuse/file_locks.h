// Locks that programs take through files: flock(2), and fcntl(2) of a whole file.
//
// A lock belongs to a handle (flock) or to a process (fcntl), and is one contender in the table of
// locks (session/lock.h). It goes when its owner gives it up, when it was taken through a handle
// that is released, or with the session.
//
// Two races:
//
//   - A waiter is killed while its lock is being granted. The answer finds nobody, and the lock is
//     given up again: it must not go to a ghost.
//   - A lock is given up while its contender is still being made. Nobody waits for that: without a
//     leader it could keep a close waiting for long.
//
// Everything is on the strand, but for `expect_process_locks` and `has_process_locks`.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "fsd/fuse/node_table.h"
#include "fsd/session/lock.h"

namespace zabfs::fsd {

class FileLocks {
 public:
  // By the kernel's lock owner. For flock that one won't do: it is made of an address, which the
  // next open may get while the RELEASE of who had it before is on its way.
  enum class Owner { kHandle, kProcess };
  struct Key {
    Owner kind;
    uint64_t owner;
    KernelNode node;
    auto operator<=>(const Key&) const = default;
  };
  // What becomes of a handle's lock, for what is written through the handle.
  struct Events {
    std::function<void(uint64_t handle)> granted, given_up, lost;
  };

  FileLocks(LockTable& table, Events events) : table_(table), events_(std::move(events)) {}

  // Some process uses fcntl locks: from here on closes are to be heard of. On any thread.
  void expect_process_locks() { has_process_locks_ = true; }
  bool has_process_locks() const { return has_process_locks_; }

  // `answer` runs once; it says whether whoever asked was there to hear it. An owner has one lock
  // of a node: a conversion gives up the old one first, as flock(2) says it may. If threads convert
  // it at once, the last one has it; one that still waited gets kInterrupted.
  void take(const Key& key, uint64_t handle, LockTable::Ask ask,
            std::function<bool(FileError error)> answer);
  // A signal came while it waits: its answer is kInterrupted.
  void cancel(const Key& key);
  // `done` runs when what was held is free for others, or at once.
  void unlock(const Key& key, std::function<void()> done);
  // All that was taken through a handle of that node, which is released.
  void unlock_handle(uint64_t handle, KernelNode node);
  bool has(const Key& key) const { return held_.contains(key); }
  // Whose lock would stand in the way, the owner's own aside.
  std::optional<LockTable::Conflict> conflict(const Key& key, const LockTable::Ask& ask) const;

 private:
  struct Held {
    LockTicket ticket;
    uint64_t handle;  // through which it was taken
  };
  LockTable& table_;
  Events events_;
  std::map<Key, Held> held_;  // or waited for
  std::atomic<bool> has_process_locks_{false};
};

}  // namespace zabfs::fsd
