// The mount: a replica's tree as a filesystem.
//
// FUSE workers read on their own thread, under the tree's shared lock; everything that writes runs
// on the replica's strand and is answered from there, when it is committed. No worker waits.
//
// The mount is put together from parts, each with its own header. A request goes this way:
//
//   Kernel -> Operations -> Names, Directories, Xattrs      what is read of the tree
//                        -> Files -> FileCommits            contents
//                        -> Changes, Staging                names and attributes that change
//                        -> ControlFiles -> recipes/        the control room
//                        -> PastFiles -> history/           what files were before
//                        -> LockRequests -> FileLocks       locks
//
// and a commit this way: ReplicaListener (here) -> KernelCache, ReplayFeed, Room. This class owns
// the parts, and begins and ends them.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "consensus/replica.h"
#include "consensus/service.h"
#include "fsd/audit/audit_log.h"
#include "fsd/fuse/changes.h"
#include "fsd/fuse/config.h"
#include "fsd/fuse/control_files.h"
#include "fsd/fuse/deferred_attributes.h"
#include "fsd/fuse/directories.h"
#include "fsd/fuse/file_commits.h"
#include "fsd/fuse/file_locks.h"
#include "fsd/fuse/files.h"
#include "fsd/fuse/handle_table.h"
#include "fsd/fuse/kernel.h"
#include "fsd/fuse/kernel_cache.h"
#include "fsd/fuse/lock_requests.h"
#include "fsd/fuse/names.h"
#include "fsd/fuse/new_root.h"
#include "fsd/fuse/node_answers.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/open_files.h"
#include "fsd/fuse/operations.h"
#include "fsd/fuse/orphans.h"
#include "fsd/fuse/own_writes.h"
#include "fsd/fuse/page_turns.h"
#include "fsd/fuse/past_files.h"
#include "fsd/fuse/release_gate.h"
#include "fsd/fuse/replay.h"
#include "fsd/fuse/replay_feed.h"
#include "fsd/fuse/request.h"
#include "fsd/fuse/staging.h"
#include "fsd/fuse/xattrs.h"
#include "fsd/recipes/room.h"
#include "fsd/session/session.h"
#include "fsd/session/writer.h"
#include "tree/status.h"

namespace zabfs::fsd {

class Mount : public consensus::ReplicaListener {
 public:
  // Its facts go to the registry, as long as it lives.
  // `audit` may be null.
  Mount(consensus::Service& service, MountConfig config, std::string data_dir,
        const std::string& log_dir, Registry& registry, audit::AuditLog* audit);
  ~Mount() override;

  Status mount();
  // Follows the replica from here on, and gives a new tree's root its mode.
  void attach();
  // Starts to serve; `on_end` runs when somebody unmounts it. Before that it waits, for seconds at
  // most, until it is known which of the txns in a crashed node's log were committed, and a new
  // tree's root has its mode.
  void start(std::function<void()> on_end);
  // Closes the session (so that locks and ephemerals go at once), unmounts, joins.
  void stop();

  // ReplicaListener, on the strand.
  void before_publish(const std::vector<tree::Txn>& txns) override;
  void publishing(std::span<const tree::Change> changes) override;
  void published(const std::vector<tree::Change>& changes) override;
  void before_replace() override;
  void tree_replaced() override;
  void standing_changed() override;

 private:
  void lock_lost(uint64_t handle);

  consensus::Service& service_;
  const MountConfig config_;
  Kernel kernel_;
  std::shared_ptr<Replies> replies_;  // requests that outlive the mount are not answered
  Interrupts interrupts_;
  NodeTable nodes_;
  DeferredAttributes deferred_;
  OpenFiles open_;
  ReleaseGate gate_;
  HandleNumbers numbers_;
  Replayer replayer_;
  ClientSession session_;
  Writer writer_;
  Room room_;
  NewRoot root_;
  NodeReader reader_;
  OwnWrites writes_;
  FileLocks locks_;
  PageTurns turns_;
  NameForgetterThreads forgetter_;
  ProcCallerThreads callers_;
  KernelCache cache_;
  NodeAnswers answers_;
  ReplayFeed replays_;
  FileCommits commits_;
  Orphans orphans_;
  Files files_;
  Changes changes_;
  ControlFiles control_;
  Staging staging_;
  LockRequests lock_requests_;
  Directories directories_;
  Xattrs xattrs_;
  Past past_;
  PastFiles past_files_;
  Names names_;
  Operations operations_;
};

}  // namespace zabfs::fsd
