// What the tree has of a node that the kernel holds.
//
// The node table says which znode a node stands for, and the tree has the znode. Between two looks
// a rename or a removal may have changed both, so each function here looks at both under one hold
// of the tree's lock.
//
// Thread-safe, but for functions that take a tree: these are called under the tree's lock or on the
// strand.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "consensus/replica.h"
#include "consensus/service.h"
#include "fsd/fuse/deferred_attributes.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/request.h"
#include "fsd/view/view.h"
#include "tree/bytes.h"
#include "tree/tree.h"

namespace zabfs::fsd {

class NodeReader {
 public:
  NodeReader(consensus::Service& service, const NodeTable& nodes,
             const DeferredAttributes& deferred, ViewOptions options)
      : service_(service), nodes_(nodes), deferred_(deferred), options_(options) {}

  template <class Read>
  auto read(const Read& body) const {
    return service_.replica().read(body);
  }

  // A file of the control room is gone with its directory.
  std::optional<Node> find(KernelNode id) const;
  // The same, of a node that is not gone. None: the request is answered with ESTALE.
  std::optional<Node> live(const RequestPtr& request, KernelNode id) const;
  // What a node stands for at this moment, and its znode; null if that is gone.
  const tree::ZNode* znode_of(const tree::Tree& tree, KernelNode id, Node& node) const;
  // How this node shows a znode, and how all nodes do, without what is deferred here.
  View view(const tree::Tree& tree, const tree::ZNode& znode, const std::string& path) const {
    View shown = committed_view(tree, znode, path);
    deferred_.apply(shown, znode.stat.version);
    return shown;
  }
  View committed_view(const tree::Tree& tree, const tree::ZNode& znode,
                      const std::string& path) const {
    return view_of(tree, znode, path, options_);
  }
  // The contents of a file; none if it is gone.
  std::optional<tree::Bytes> data_of(KernelNode id) const;
  // How a file or directory of a control room looks. None if the room's directory is gone.
  std::optional<View> control_view(const Node& node) const;
  // The group of a file that is made there, if its directory is setgid.
  std::optional<uint32_t> handed_down_group(const std::string& path) const;

 private:
  consensus::Service& service_;
  const NodeTable& nodes_;
  const DeferredAttributes& deferred_;
  const ViewOptions options_;
};

}  // namespace zabfs::fsd
