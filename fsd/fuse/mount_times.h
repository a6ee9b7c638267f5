// How long the kernel waits for answers of the mount, by kind of request: from when libfuse gives a
// request to its handler until the answer is handed to libfuse.
//
// Requests that wait by their nature are counted as long as they wait: for a lock, for a commit,
// for a file of the control room that has nothing to read yet.
//
// Threading: any thread, without a lock.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>

#include "consensus/histogram.h"
#include "fsd/facts/metric.h"

namespace zabfs::fsd {

class MountTimes {
 public:
  enum class Kind {
    kLookup,  // of names, and of where symlinks lead
    kGetattr,
    kSetattr,
    kMake,  // files, directories, links
    kRemove,
    kRename,
    kOpen,
    kRead,
    kWrite,
    kFlush,  // the commit at close
    kFsync,
    kRelease,
    kList,
    kXattr,
    kLock,
    kPoll,
    kOther,
  };

  using Clock = std::chrono::steady_clock;

  void note(Kind kind, Clock::duration time) {
    times_[static_cast<size_t>(kind)].note(
        std::chrono::duration_cast<std::chrono::microseconds>(time).count());
  }
  void add_to(Metrics& into) const {
    for (size_t kind = 0; kind < kNames.size(); ++kind) {
      consensus::Durations durations = times_[kind].durations();
      if (durations.count() == 0) continue;
      into.push_back(own_durations("mount_request", durations,
                                   "From the kernel's request to the mount's answer, by kind",
                                   {{"kind", kNames[kind]}}));
    }
  }

 private:
  static constexpr std::array<const char*, 17> kNames = {
      "lookup", "getattr", "setattr", "make",    "remove", "rename", "open", "read", "write",
      "flush",  "fsync",   "release", "readdir", "xattr",  "lock",   "poll", "other"};

  std::array<consensus::Histogram, kNames.size()> times_;
};

}  // namespace zabfs::fsd
