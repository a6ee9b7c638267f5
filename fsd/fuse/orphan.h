// The contents of a file that is open and has no name any more, because it was removed, or because
// another one was renamed over it.
//
// They are what was committed last, and what the handles had written. They stay on this node, and
// go with the last handle. Nothing of them is committed, and they never touch a file that has the
// name now. An example is a temporary file of a program: it makes the file, removes the name, and
// goes on with the handle.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "consensus/mutex.h"
#include "fsd/view/file_error.h"
#include "tree/bytes.h"

namespace zabfs::fsd {

// Memory that all of a mount's orphans share. Thread-safe.
class OrphanSpace {
 public:
  static constexpr size_t kMaxBytes = 64u << 20;

  // `max_file_bytes`: of one of them.
  explicit OrphanSpace(size_t max_file_bytes) : max_file_bytes_(max_file_bytes) {}

  size_t max_file_bytes() const { return max_file_bytes_; }
  // False if there is not so much left.
  bool take(size_t bytes);
  // What was in memory before, elsewhere.
  void add(size_t bytes) { used_ += bytes; }
  void give_back(size_t bytes) { used_ -= bytes; }

 private:
  const size_t max_file_bytes_;
  std::atomic<size_t> used_{0};
};

class Orphan {
 public:
  Orphan(tree::Bytes committed, OrphanSpace& space)
      : space_(space), committed_(std::move(committed)) {}
  ~Orphan();
  Orphan(const Orphan&) = delete;
  Orphan& operator=(const Orphan&) = delete;

  size_t size() const;
  std::string read(size_t size, size_t offset) const;
  tree::Bytes contents() const;
  // kTooLarge past the size of a file, kNoSpace if the space is used up.
  FileError write(std::string_view bytes, size_t offset);
  FileError append(std::string_view bytes);
  FileError resize(size_t size);
  // By what a handle had written and not committed.
  void replace(std::string contents);

 private:
  std::string_view view() const REQUIRES(mutex_);
  FileError resize_locked(size_t size) REQUIRES(mutex_);

  OrphanSpace& space_;
  mutable Mutex mutex_;
  tree::Bytes committed_ GUARDED_BY(mutex_);
  std::optional<std::string> written_ GUARDED_BY(mutex_);  // once it was written to
};

// The orphan of one handle; null as long as its file has a name. Thread-safe.
class OrphanSlot {
 public:
  std::shared_ptr<Orphan> load() const {
    MutexLock lock(mutex_);
    return orphan_;
  }
  void store(std::shared_ptr<Orphan> orphan) {
    MutexLock lock(mutex_);
    orphan_ = std::move(orphan);
  }

 private:
  mutable Mutex mutex_;
  std::shared_ptr<Orphan> orphan_ GUARDED_BY(mutex_);
};

}  // namespace zabfs::fsd
