// Where a caller may put files: what the kernel would say if the caller copied each of them there
// by hand. `@/txn` and `@/import` ask it before they write as the tree's superuser.
//
// Pure: it looks at the tree as it is now, and is made anew for each look.
#pragma once

#include <string>

#include "fsd/view/view.h"
#include "tree/tree.h"

namespace zabfs::fsd {

class Placing {
 public:
  Placing(const tree::Tree& tree, const ViewOptions& options, const Caller& caller)
      : tree_(tree), options_(options), caller_(caller) {}

  const tree::Tree& tree() const { return tree_; }
  const Caller& caller() const { return caller_; }
  const tree::ZNode* find(const std::string& path) const { return tree_.find(path); }
  View view(const tree::ZNode& node, const std::string& path) const {
    return view_of(tree_, node, path, options_);
  }

  // Search permission on a directory and all above it. kStale: it is not there.
  FileError may_enter(const std::string& directory) const;
  // A new name in a directory.
  bool may_make_in(const View& directory) const {
    return may(directory, caller_, kMayWrite | kMaySearch);
  }
  // A file, symlink or FIFO in the place of one that is there; `around` is the directory.
  FileError may_put_over(tree::Kind kind, const View& around, const View& there) const;
  // A directory where one is there already.
  FileError may_fill(const View& there) const;
  // Owner and root change mode, owner and ACL.
  bool owns(const View& view) const { return caller_.uid == 0 || caller_.uid == view.uid; }
  // The mode of a file when this caller has written to it: a write by others than root takes setuid
  // and setgid away.
  uint32_t mode_when_written(const View& there) const;

 private:
  const tree::Tree& tree_;
  const ViewOptions& options_;
  const Caller& caller_;
};

}  // namespace zabfs::fsd
