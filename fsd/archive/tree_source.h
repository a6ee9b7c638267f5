// The entries of a subtree of a tree in memory, as of a backup. Who reads it may read all.
#pragma once

#include <cstdint>
#include <string>

#include "fsd/archive/ends.h"
#include "fsd/transfer/subtree.h"
#include "tree/tree.h"

namespace zabfs::archive {

class TreeSource : public Source {
 public:
  // The znode at `path` is there; the tree outlives this.
  TreeSource(const tree::Tree& tree, const std::string& path);

  Taken next() override;
  uint64_t done() const override { return read_; }
  uint64_t total() const override { return total_; }
  // Sockets, symlinks that lead nowhere and names that are too long for a file, until now.
  uint64_t left_out() const { return left_out_; }

 private:
  const fsd::ViewOptions options_;
  const fsd::Caller root_;
  const fsd::Subtree subtree_;
  transfer::Decoder decoder_{kMaxFileBytes};
  uint64_t read_ = 0, total_ = 0, left_out_ = 0;
};

}  // namespace zabfs::archive
