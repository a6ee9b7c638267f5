// What the leader has prepared and the tree has not yet applied: the state that the next request is
// checked against (Java: ZooKeeperServer.outstandingChanges).
//
// Lookups see outstanding records first, the tree below. A request's changes can be taken back
// (`roll_back`), records are dropped once the tree has them (`applied`).
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "tree/posix.h"
#include "tree/tree.h"

namespace zabfs::tree {

// A znode as the next request sees it.
struct Record {
  Zxid zxid;  // of the txn that made it so
  bool exists = true;
  NodeStat stat;
  ChangeTimes times;
  int32_t children = 0;
  Bytes data;
  std::shared_ptr<const AclList> acl;
  int64_t digest = 0;  // of a record that was put; 0 if there is none
};

// How a mount shows a znode (DESIGN.md, "Znodes as files").
Kind shown_kind(const std::optional<PosixEntry>& posix, bool has_children, size_t data_bytes,
                bool is_ephemeral);
Kind shown_kind(const Record& record);
// Of its data or its children.
Zxid last_change(const NodeStat& stat);
// The time of the last data, of a directory also that of its children, with nanoseconds from the
// zxid: the mtimes of two versions differ.
Time shown_mtime(Kind kind, const NodeStat& stat, const ChangeTimes& times);
// The time of the last change of anything.
Time shown_ctime(const NodeStat& stat, const ChangeTimes& times);
// What a time that was set holds for (PosixEntry::mtime_version): of a file the version of its
// data, of a directory a hash of the zxid of its last change.
int32_t mtime_version(Kind kind, const NodeStat& stat);
bool is_ephemeral(const Record& record);

class Outstanding {
 public:
  explicit Outstanding(const Tree& tree) : tree_(tree) {}

  std::optional<Record> find(std::string_view path) const;
  // Records the new state of `path`; its digest is computed here.
  void put(std::string_view path, Record record);
  // Names of the children of `path`, sorted.
  std::vector<std::string> children(std::string_view path) const;
  // Paths of a session's ephemerals, sorted.
  std::vector<std::string> ephemerals(SessionId session) const;

  void begin_request() { undo_.clear(); }
  void roll_back();
  void applied(Zxid zxid);
  void reset();  // forget everything: leadership is new
  int64_t digest() const { return digest_; }

 private:
  struct PathHash {
    using is_transparent = void;
    size_t operator()(std::string_view path) const { return std::hash<std::string_view>()(path); }
  };
  int64_t digest_of(std::string_view path) const;
  struct Undo {
    std::string path;
    std::optional<Record> before;
  };
  const Tree& tree_;
  // Looked up; iterated only to collect and sort.
  std::unordered_map<std::string, Record, PathHash, std::equal_to<>> records_;
  std::deque<std::pair<Zxid, std::string>> order_;
  std::vector<Undo> undo_;
  int64_t digest_ = 0;
};

}  // namespace zabfs::tree
