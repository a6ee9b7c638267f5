// The moves that a txn makes: under one path it takes a file away, and under another it puts it.
//
// A mount's `mv` is one txn, of deletes and creates. No txn says that these are a move. But the
// inode number of a file that a mount made goes along (tree/posix.h), and no other file has it. So
// a copy is no move, and one that ZooKeeper's clients make out of a create and a delete is none
// either. Pure; for one replay.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fsd/history/version.h"
#include "tree/tree.h"
#include "tree/txn.h"

namespace zabfs::fsd {

class Moves {
 public:
  explicit Moves(const ViewOptions& options) : options_(options) {}

  // With the tree as it is before the txn, and then as it is behind it.
  void before(const tree::Txn& txn, const tree::Tree& tree);
  void after(const std::vector<tree::Change>& changes, const tree::Tree& tree);

  // Of the txn: where the file at that path came from, and where the one that was there went. Null:
  // it was not moved.
  std::shared_ptr<const Moved> from(const std::string& path) const;
  std::shared_ptr<const Moved> to(const std::string& path) const;
  // What was moved with a directory is not in it.
  struct Move {
    std::string from, to;
    Above above_from, above_to;
  };
  std::vector<Move> topmost() const;

 private:
  const ViewOptions& options_;
  std::map<uint64_t, Moved> taken_;  // by the inode number
  std::map<std::string, std::shared_ptr<const Moved>> from_, to_;
};

}  // namespace zabfs::fsd
