// A node's history as a whole, while the node does not run: read out of its files, and put into new
// ones. For what comes from Apache ZooKeeper, and goes there.
//
// Threading: uses the disks on the calling thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "consensus/disk.h"
#include "consensus/messages.h"
#include "tree/status.h"
#include "tree/tree.h"

namespace zabfs::consensus {

struct WholeHistory {
  std::unique_ptr<tree::Tree> tree;  // at the end of the log, or in front of `tail`
  uint32_t current_epoch = 0, accepted_epoch = 0;
  // The number of an ensemble that begins with this history (ZabState::ensemble); 0: none.
  int64_t ensemble = 0;
  std::deque<LogTxn> tail{};  // empty unless it was asked for
};

// What is read next, and of about how many bytes; and then how many of them were.
struct ReadingHistory {
  std::function<void(const std::string& what, uint64_t bytes)> begins = [](const std::string&,
                                                                           uint64_t) {};
  std::function<void(uint64_t bytes)> at = [](uint64_t) {};
};

// Whether the tail is in the tree, or is kept apart: the txns of the last 16 MiB of the log behind
// the snapshot, or more. What is not known to be committed is among them.
enum class Tail { kInTree, kApart };

// All that the node has, also what it does not know to be committed: so the next leader may find
// it. Changes nothing. Fails if something is damaged; the node itself may be able to mend that.
// Memory: the tree, and 16 MiB of the log; with the tail apart 48 MiB.
StatusOr<WholeHistory> read_history(Disk& log_disk, Disk& snapshot_disk,
                                    const ReadingHistory& reading = {}, Tail tail = Tail::kInTree);

// The files of a node with a vote, to which a leader of that epoch has sent the tree: it shows the
// tree once a leader, which it may be itself, has what is in it. Both directories are empty before.
// `written` is told how many bytes there are so far.
DiskStatus write_history(Disk& log_disk, Disk& snapshot_disk, WholeHistory& history,
                         const std::function<void(uint64_t bytes)>& written);

}  // namespace zabfs::consensus
