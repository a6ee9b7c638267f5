// inotify for what other nodes do (replay.h): which changes the helper does once more, and how the
// mount answers the helper while it does them.
//
// An example. Node 2 makes `a`, and a program on this node watches its directory:
//
//   1. The txn comes. Before it is in the tree, `note` keeps that the kernel holds the directory.
//   2. It is in the tree: `queue` gives "create a" to the replayer.
//   3. The helper does mknod(a). The kernel looks `a` up first, and is told that there is none
//      (`lookup`). Then it asks for the mknod, and is told of the file that is there (`made`). It
//      tells the watcher that `a` was created.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "consensus/service.h"
#include "fsd/fuse/node_answers.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/own_writes.h"
#include "fsd/fuse/replay.h"
#include "fsd/fuse/request.h"
#include "fsd/fuse/txn_view.h"

namespace zabfs::fsd {

class ReplayFeed {
 public:
  ReplayFeed(consensus::Service& service, NodeTable& nodes, const NodeReader& reader,
             const OwnWrites& writes, NodeAnswers& answers, Replayer& replayer, bool is_on)
      : service_(service),
        nodes_(nodes),
        reader_(reader),
        writes_(writes),
        answers_(answers),
        replayer_(replayer),
        is_on_(is_on) {}

  // ---- on the strand
  // Before the txn is in the tree: deleted znodes are still there, created ones are not. `rename`,
  // if it is one that moves something.
  void note(const tree::Txn& txn, const std::optional<RenameSeen>& rename);
  // All that was noted is in the tree.
  void queue();

  // ---- requests of the helper, on FUSE workers
  bool is_helper(const Asker& who) const { return replayer_.is_helper(who.pid, who.uid, who.gid); }
  // The names of the operation under way are as they were before it. True if answered.
  bool lookup(const RequestPtr& request, const std::string& path);
  // mknod, mkdir and symlink: what is there already.
  void made(const RequestPtr& request, KernelNode parent, const std::string& name);
  void removed(const RequestPtr& request, KernelNode parent, const std::string& name) {
    confirm(request, Replay::kDelete, parent, name);
  }
  void renamed(const RequestPtr& request, KernelNode parent, const std::string& name) {
    confirm(request, Replay::kRename, parent, name);
  }

 private:
  void note_op(Replay type, std::string_view path);
  void note_again(Replay type, std::string_view path, size_t size);
  void note_own(const tree::Txn& txn);
  void note_rename(const RenameSeen& rename);
  bool hold(ReplayOp& op) const;
  std::optional<ReplayOp> current(KernelNode parent, const std::string& name) const;
  void confirm(const RequestPtr& request, Replay type, KernelNode parent, const std::string& name);
  void reply_gone(const RequestPtr& request, const ReplayOp& op, KernelNode before);
  void reply_replayed(const RequestPtr& request, const ReplayOp& op, const std::string& path);

  consensus::Service& service_;
  NodeTable& nodes_;
  const NodeReader& reader_;
  const OwnWrites& writes_;
  NodeAnswers& answers_;
  Replayer& replayer_;
  const bool is_on_;
  std::vector<ReplayOp> ops_;  // of the batch in progress
};

}  // namespace zabfs::fsd
