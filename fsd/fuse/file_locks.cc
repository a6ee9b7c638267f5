#include "fsd/fuse/file_locks.h"

#include <memory>
#include <utility>
#include <vector>

namespace zabfs::fsd {

void FileLocks::take(const Key& key, uint64_t handle, LockTable::Ask ask,
                     std::function<bool(FileError error)> answer) {
  if (key.kind == Owner::kProcess) expect_process_locks();
  // Another thread's conversion may have begun while this one's old lock was being given up.
  unlock(key, [] {});
  auto is_answered = std::make_shared<bool>(false);
  ask.lost = [this, handle] { events_.lost(handle); };
  LockTicket ticket = table_.acquire(std::move(ask), [this, key, handle, is_answered,
                                                      answer = std::move(answer)](FileError error) {
    *is_answered = true;
    if (error != FileError::kOk) {
      // One that was lost is a contender until its owner leaves.
      auto waited = held_.extract(key);
      if (!waited.empty()) table_.release(waited.mapped().ticket, error, [] {});
      answer(error);
      return;
    }
    events_.granted(handle);
    if (!answer(FileError::kOk)) unlock(key, [] {});
  });
  if (!*is_answered) held_[key] = {ticket, handle};
}

void FileLocks::cancel(const Key& key) {
  auto found = held_.find(key);
  if (found != held_.end()) table_.release(found->second.ticket, FileError::kInterrupted, [] {});
}

void FileLocks::unlock(const Key& key, std::function<void()> done) {
  auto found = held_.find(key);
  if (found == held_.end()) return done();
  auto [ticket, handle] = found->second;
  held_.erase(found);
  events_.given_up(handle);
  // Only what was held has to be gone; without a quorum that is when its session is lost.
  if (table_.is_held(ticket))
    return table_.release(ticket, FileError::kInterrupted, std::move(done));
  table_.release(ticket, FileError::kInterrupted, [] {});
  done();
}

// A process's locks end at FLUSH; but a reader's handle has none if it is older than the first of
// these locks.
void FileLocks::unlock_handle(uint64_t handle, KernelNode node) {
  unlock({Owner::kHandle, handle, node}, [] {});
  if (!has_process_locks_) return;
  std::vector<Key> keys;
  for (const auto& [key, held] : held_) {
    if (held.handle == handle) keys.push_back(key);
  }
  for (const Key& key : keys) unlock(key, [] {});
}

std::optional<LockTable::Conflict> FileLocks::conflict(const Key& key,
                                                       const LockTable::Ask& ask) const {
  auto own = held_.find(key);
  return table_.conflict(ask, own == held_.end() ? 0 : own->second.ticket);
}

}  // namespace zabfs::fsd
