// What the mount is told in zoo.cfg; in comments, the keys.
#pragma once

#include <cstdint>
#include <string>

namespace zabfs::fsd {

struct MountConfig {
  std::string point;          // empty: nothing is mounted
  uint32_t uid = 0, gid = 0;  // of znodes without a posix entry
  uint32_t root_mode = 0755;  // of a new tree's root, which is root's
  int64_t quorum_grace_ms = 5'000;
  int64_t commit_timeout_ms = 30'000;
  int32_t session_timeout_ms = 6'000;
  bool allow_other = true;
  bool protects_point = true;  // nothing is written to the directory while it is not mounted
  bool inotify = true;         // tell inotify of what other nodes do
  // What was appended, or written to a file that its handle made, is committed while the file is
  // open, within so long; 0: only by close, fsync and writes with O_SYNC.
  int64_t commit_after_ms = 1'000;
  // Contents that did not change for so long are read through the kernel's page cache; 0: never.
  int64_t cache_after_ms = 1'000;
};

}  // namespace zabfs::fsd
