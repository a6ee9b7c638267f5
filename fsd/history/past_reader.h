// Reads the past out of a node's log and snapshots, with what is kept of them (kept_history.h): the
// tree as it was at a zxid, and the versions that files had.
//
// Everything is found by replay: a snapshot is loaded, and the committed txns behind it are applied
// to it. Where the log has a gap, the replay ends and begins anew at the next snapshot; the gap is
// told of. A replay that disagrees with the digests in the txns is a gap, too.
//
// Limits: a replay has a whole tree in memory, as large as the tree was then, and a segment of the
// log. A `DirectoryPast` has at most kMaxVersions versions and kMaxDataBytes of contents: of the
// child that has most, the oldest go. A `SubtreePast` has at most kMaxChanges changes.
//
// Threading: one thread at a time. It takes as long as the disks and the log's length ask for;
// `is_cancelled` is asked meanwhile.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "consensus/disk.h"
#include "consensus/kept_files.h"
#include "fsd/history/version.h"
#include "tree/status.h"
#include "tree/tree.h"

namespace zabfs::fsd {

class PastReader {
 public:
  static constexpr size_t kMaxVersions = 100'000;
  static constexpr size_t kMaxDataBytes = 64u << 20;
  static constexpr size_t kMaxChanges = 50'000;

  using TreePtr = std::shared_ptr<tree::Tree>;

  PastReader(consensus::Disk& log_disk, consensus::Disk& snapshot_disk, ViewOptions options)
      : log_(log_disk), snapshots_(snapshot_disk), options_(options) {}

  void set_is_cancelled(std::function<bool()> is_cancelled) {
    is_cancelled_ = std::move(is_cancelled);
  }

  // The tree after the last txn at or before `zxid`. `committed` is a zxid that this node has
  // applied; nothing behind it is read.
  StatusOr<TreePtr> tree_at(tree::Zxid zxid, tree::Zxid committed);
  // The zxid of the last txn that was made at that time, or before it.
  StatusOr<tree::Zxid> zxid_at(int64_t time_ms, tree::Zxid committed);

  // All that the children of a directory were. With `past` of an earlier call only what came since
  // is added, and `tree`, one that an earlier call ended with, spares reading a snapshot: it is
  // changed. In the end `tree` is the one at `past.through`; null if the log ends in a gap.
  Status read_children(const std::string& directory, tree::Zxid committed, DirectoryPast& past,
                       TreePtr& tree);
  // The contents of one version that had no room.
  StatusOr<tree::Bytes> data_of(const std::string& path, tree::Zxid version, tree::Zxid committed);
  // What was changed at and below a directory, as that caller could see it then. Whether he may now
  // is the caller's to ask.
  Status read_below(const std::string& directory, const Caller& caller, tree::Zxid committed,
                    SubtreePast& past);

 private:
  // Of what is older than that, in words: from where on there is something.
  Status too_old(tree::Zxid committed);
  Status read_children_from(const std::string& directory, tree::Zxid committed, DirectoryPast& past,
                            TreePtr& tree, tree::Zxid start);

  consensus::KeptFiles log_, snapshots_;
  const ViewOptions options_;
  std::function<bool()> is_cancelled_ = [] { return false; };
};

}  // namespace zabfs::fsd
