// Requests on a file that wait for a truncation which its handle's RELEASE commits.
//
// A program may be told that its close succeeded before the mount has read the RELEASE, and its
// next request must see what the close did:
//
//   1. `: > f` opens f with O_TRUNC and closes it. The truncation is committed by the RELEASE.
//   2. A thread of the mount reads the RELEASE. Before it does anything else, it closes the gate of
//   f
//      (`close`).
//   3. `stat f` comes in on another thread. It waits at the gate (`holds`).
//   4. The truncation is committed. The gate opens (`open`), and `stat` is answered anew.
//
// A path may have several such handles; its gate opens with the last. Thread-safe. What waits runs
// on the thread that opens the gate, without a lock.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "consensus/mutex.h"

namespace zabfs::fsd {

class ReleaseGate {
 public:
  using Again = std::function<void()>;

  void close(const std::string& path);
  // True if the path's gate is closed: then `again` runs once it is open. Nearly always no gate is
  // closed, and nothing is made of `again`.
  template <class Body>
  bool holds(const std::string& path, const Body& again) {
    return closed_ > 0 && hold(path, again);
  }
  // The same for any path's gate.
  bool holds_any(Again again);
  void open(const std::string& path);

 private:
  struct Gate {
    int handles = 0;
    std::vector<Again> waiting;
  };
  bool hold(const std::string& path, Again again);

  std::atomic<size_t> closed_{0};
  Mutex mutex_;
  std::map<std::string, Gate> gates_ GUARDED_BY(mutex_);
};

}  // namespace zabfs::fsd
