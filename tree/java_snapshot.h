// Snapshot files of Apache ZooKeeper, as 3.4 to 3.9 write them (FORMATS.md 6.3, 6.4): a reader and
// a writer. Packed files are unpacked before (java_unpack.h).
//
// Pure: bytes in, a tree out, and back. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tree/snapshot.h"
#include "tree/status.h"

namespace zabfs::tree {

struct JavaSnapshot {
  std::unique_ptr<Tree> tree;
  // The digest of the server's tree when it had applied `digest_zxid`, if the file has one of the
  // version that there is now. Java writes a snapshot while txns go on: the tree has that digest
  // once the log has been applied up to there.
  Zxid digest_zxid;
  std::optional<int64_t> digest;
};

// Memory: the tree, and as much as the longest znode (128 MiB at most).
class JavaSnapshotReader {
 public:
  // The next bytes of the stream. A failure says at which byte of it something is wrong.
  Status feed(std::string_view bytes);
  // The stream has ended. `zxid` is the one that the file's name says.
  StatusOr<JavaSnapshot> finish(Zxid zxid);

 private:
  Status take_header();
  Status take_tree();
  Status take_seal(std::string_view& end);
  Status take_digest(std::string_view& end, Zxid zxid, JavaSnapshot& snapshot);
  Status wrong(const std::string& what) const;
  void consume(size_t bytes);

  SnapshotLoader loader_{true};  // the log has what it lacks
  std::string pending_;
  uint64_t offset_ = 0;  // of the first byte that is pending
  uint32_t sum_ = 1;     // Adler-32 of all before it
  bool has_header_ = false, has_tree_ = false;
};

// What Java has no place for, and what is left out therefore.
struct JavaLeftOut {
  size_t posix_entries = 0;  // znodes whose ACL has one (posix.h)
  size_t change_times = 0;   // znodes that have any (znode.h)
  size_t attachments = 0;    // sessions that are at another server than the one that made them
};

// Writes the tree as it is at its last zxid; the tree may not change meanwhile. A znode of whose
// ACL nothing is left grants nothing: world:anyone without permissions.
class JavaSnapshotWriter {
 public:
  explicit JavaSnapshotWriter(const Tree& tree);

  // Appends about `limit_bytes` more of the file to `out`; false when all was written.
  bool next(std::string& out, size_t limit_bytes);
  size_t written() const { return written_; }  // znodes
  const JavaLeftOut& left_out() const { return left_out_; }

 private:
  void collect_acls();
  std::string head() const;
  void write_znode(std::string& out, const ZNode& node);
  void append_seal(std::string& out);

  const Tree& tree_;
  std::vector<const ZNode*> stack_;
  std::vector<int64_t> acl_ids_;  // by the tree's number
  std::vector<AclList> acls_;     // number 1 is the first
  JavaLeftOut left_out_;
  size_t written_ = 0;
  uint32_t sum_ = 1;
  bool has_begun_ = false, has_ended_ = false;
};

}  // namespace zabfs::tree
