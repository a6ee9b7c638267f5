// Snapshots of the tree, exact at one zxid, in the encoding of ZooKeeper's SNAP stream
// (FORMATS.md 3.5, 6.4): sessions, ACL map, znodes parent first, "/". Behind it come blocks of what
// that encoding has no room for, the ChangeTimes of znodes. Java can't read those: who sends it a
// snapshot leaves them out (`is_times_block`).
//
// SnapshotCursor hands out the tree as it was when the cursor was made, while txns go on being
// applied: before a znode changes, the tree lets the cursor keep its old state. `next` needs shared
// access to the tree, `keep` and construction exclusive access; destruction exclusive access too.
// SnapshotLoader builds a tree from such bytes, fed in pieces of any size.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tree/tree.h"

namespace zabfs::tree {

class SnapshotCursor {
 public:
  SnapshotCursor(const SnapshotCursor&) = delete;
  SnapshotCursor& operator=(const SnapshotCursor&) = delete;
  ~SnapshotCursor();

  Zxid zxid() const { return zxid_; }
  // Appends at least one and about `limit_bytes` more bytes to `out`; false when all was handed
  // out. A piece is either of the tree or one block of times.
  bool next(std::string& out, size_t limit_bytes);

 private:
  friend class Tree;
  struct Kept {
    NodeStat stat;
    ChangeTimes times;
    Bytes data;
    AclTable::Number acl;
    std::vector<NodeId> children;
  };
  explicit SnapshotCursor(Tree& tree);
  void keep(NodeId id);
  void write_node(std::string& out, NodeId id);
  bool next_times(std::string& out);

  // Of a znode that has any. They are by its place in the stream.
  struct TimesEntry {
    uint32_t place;
    ChangeTimes times;
  };
  Tree& tree_;
  Zxid zxid_;
  std::string head_;  // sessions and ACL map, not yet handed out
  std::vector<NodeId> stack_;
  std::unordered_map<NodeId, Kept> kept_;
  uint32_t written_ = 0;  // znodes
  std::vector<TimesEntry> times_;
  size_t times_written_ = 0;
  bool ended_ = false;  // with the tree
};

class SnapshotLoader {
 public:
  enum class State { kMore, kDone, kBad };

  // `fuzzy`: ACLs may be missing (Tree::path_without_acl).
  explicit SnapshotLoader(bool fuzzy = false);
  // Consumes from the front of `input` what makes whole elements, and removes it; the caller keeps
  // the rest and feeds it again with more behind it.
  State feed(std::string_view& input);
  // The same for blocks of times, once feed said kDone. kMore: there may be another one. kDone:
  // what follows is none.
  State feed_times(std::string_view& input);
  // The tree, once feed said kDone. Its last zxid is the caller's to say. Its digest is computed.
  std::unique_ptr<Tree> finish(Zxid zxid);

 private:
  enum class Section { kSessionCount, kSessions, kAclCount, kAcls, kNodes };
  // Reads one element; false if the input does not hold all of it.
  bool read_element(jute::Reader& in);
  void read_node(jute::Reader& in);
  // Those read for `last_parent_` become its children, in a table of their size.
  void adopt_children();

  const bool fuzzy_;
  std::unique_ptr<Tree> tree_;
  std::unordered_map<int64_t, AclTable::Number> acl_numbers_;
  Section section_ = Section::kSessionCount;
  size_t left_ = 0;
  bool saw_root_ = false;
  bool bad_ = false;
  bool done_ = false;
  std::string last_parent_;
  NodeId last_parent_id_ = kNoNodeId;
  std::vector<NodeId> children_;  // of it, not yet among its children
};

// Whether a piece of a snapshot is a block of times.
bool is_times_block(std::string_view piece);

void write_stat(jute::Writer& out, const Stat& stat);  // 68 bytes, as clients get it

}  // namespace zabfs::tree
