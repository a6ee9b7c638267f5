// The process that tells inotify: it does on the mount, one at a time, what its daemon sends.
//
// It works in directories that every user writes to, with root's rights to them. So it can name
// nothing else: its root is a detached copy of the mount, without what is mounted on top, and paths
// are resolved by `open_beneath` with the device checked. It has a user and a group that nobody
// else has, two capabilities, and the system calls that it needs.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "fsd/fuse/replay.h"

namespace zabfs::fsd {

inline constexpr int kReplaySocket = 3;
inline constexpr const char* kReplayArgument = "--replay-changes";

// What it sends first, with its credentials, which are the kernel's word.
struct ReplayReady {
  uint64_t device = 0;            // of the mount, as the kernel writes it in fdinfo
  std::array<char, 200> error{};  // why it can't; empty if it can
};

std::string encode(const ReplayOp& op);

// Its main: does what comes on that socket until it closes or the mount is gone.
int run_replay_process(const std::string& mount_point);

}  // namespace zabfs::fsd
