// Directories in which both programs of this node and other nodes have made, removed or moved names
// of late. The kernel is to keep no name there (FUSE.md, "Notifications"). Thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "consensus/mutex.h"

namespace zabfs::fsd {

class SharedDirectories {
 public:
  using Time = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::minutes kRemembered{5};
  static constexpr size_t kMax = 10'000;  // what is too many is taken to be shared for kRemembered

  enum class By { kThisKernel, kOthers };
  void note_change(std::string_view directory, By whom, Time now);
  bool is_shared(std::string_view directory, Time now) const;

 private:
  struct Changes {
    std::optional<Time> here;
    std::optional<Time> elsewhere;
  };
  static bool are_both_recent(const Changes& changes, Time now);

  mutable Mutex mutex_;
  std::unordered_map<std::string, Changes> directories_ GUARDED_BY(mutex_);
  Changes of_others_ GUARDED_BY(mutex_);  // of those that are not in there
};

}  // namespace zabfs::fsd
