// What the kernel is told of a node, and how long it may keep that: names with attributes
// (entries), and attributes alone.
//
// Thread-safe. Under the tree's lock the node table registers what is given out, so that no commit
// slips in between.
#pragma once

#include <optional>
#include <string>

#include "fsd/fuse/kernel_cache.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/open_files.h"
#include "fsd/fuse/page_turns.h"
#include "fsd/fuse/replay.h"
#include "fsd/fuse/request.h"

namespace zabfs::fsd {

class NodeAnswers {
 public:
  NodeAnswers(NodeTable& nodes, const OpenFiles& open, const NodeReader& reader, KernelCache& cache,
              PageTurns& turns, const Replayer& replayer)
      : nodes_(nodes),
        open_(open),
        reader_(reader),
        cache_(cache),
        turns_(turns),
        replayer_(replayer) {}

  // Under the tree's lock. False if there is no such znode. Counts one look-up of the node.
  // `is_fresh`: the answer is to a request that made or changed it, which the kernel doesn't order
  // against notifications. `must_wait`: the attributes are to be told later.
  bool fill_entry(const tree::Tree& tree, const std::string& path, bool is_fresh,
                  fuse_entry_param& entry, bool* must_wait = nullptr);
  // The same, of a file or directory of a control room. `parent` is its directory, or one of the
  // room's.
  bool fill_control_entry(const Node& parent, Control control, const std::string& name,
                          fuse_entry_param& entry);
  // False if the kernel was told of an error, or nothing.
  bool reply_entry(const RequestPtr& request, const std::string& path, bool is_fresh,
                   int error_if_absent);

  void reply_attributes(const RequestPtr& request, KernelNode id, bool may_cache);
  // On the strand: as a handle shows them that has written. `written`: bytes that are not committed
  // make the file so long.
  void reply_writers_attributes(const RequestPtr& request, KernelNode id,
                                std::optional<size_t> written);

 private:
  const tree::ZNode* shown_znode(const tree::Tree& tree, KernelNode id, Node& node,
                                 struct stat& st) const;
  void reply_without_znode(const RequestPtr& request, const Node& node);

  NodeTable& nodes_;
  const OpenFiles& open_;
  const NodeReader& reader_;
  KernelCache& cache_;
  PageTurns& turns_;
  const Replayer& replayer_;
};

}  // namespace zabfs::fsd
