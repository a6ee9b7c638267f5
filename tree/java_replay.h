// Brings a snapshot of Apache ZooKeeper's up to the end of its transaction log, as Java does at a
// start (Java: FileTxnSnapLog.restore, ZooKeeperServer.loadData).
//
// Java writes a snapshot while txns go on, so it may hold parts of later ones already. Applying
// these again does no harm: `Tree::apply` goes by Java's rules (FORMATS.md 5.3).
//
// Pure; one object a snapshot; not thread-safe. Memory: the tree.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tree/java_snapshot.h"
#include "tree/status.h"

namespace zabfs::tree {

class JavaReplay {
 public:
  // Zxids that follow each other in the log, but not in their epoch: what lay between is lost.
  struct Gap {
    Zxid before, after;
  };

  explicit JavaReplay(JavaSnapshot snapshot);

  // The next transaction of the log, oldest first. Those that the snapshot has are passed over.
  // Fails if it is none that ZooKeeper 3.4 to 3.9 write.
  Status apply(std::string_view txn);

  // The log has ended. The ephemerals of sessions that are over go, as at a start of Java's. The
  // sessions have kNoAttachment from here on: their clients may be at any server. Fails if the log
  // does not say what the snapshot lacks.
  Status finish();

  // As far as it has come.
  const Tree& tree() const { return *tree_; }

  // ---- once it has ended
  std::unique_ptr<Tree> take_tree() { return std::move(tree_); }
  uint64_t applied() const { return applied_; }
  size_t removed_ephemerals() const { return removed_ephemerals_; }
  const std::vector<Gap>& gaps() const { return gaps_; }  // kMaxGaps at most
  // How often a digest of the server's could be compared with the tree's.
  uint64_t compared() const { return compared_; }
  // From here on the tree differs from the server's, by the digests to the end; nullopt: it
  // doesn't.
  std::optional<Zxid> differs_since() const { return differs_since_; }

  static constexpr size_t kMaxGaps = 100;

 private:
  void note_order(Zxid zxid);
  void compare(Zxid zxid, int64_t digest);
  void mark_sessions();
  std::set<SessionId> find_dead_sessions() const;

  std::unique_ptr<Tree> tree_;
  const Zxid snapshot_zxid_;
  Zxid digest_zxid_;
  std::optional<int64_t> digest_;  // of the snapshot, until it was compared
  Zxid last_, highest_;
  int64_t last_time_ms_ = 0;
  uint64_t applied_ = 0, compared_ = 0;
  size_t removed_ephemerals_ = 0;
  std::vector<Gap> gaps_;
  std::optional<Zxid> differs_since_;
};

}  // namespace zabfs::tree
