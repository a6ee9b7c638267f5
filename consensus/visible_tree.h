// The tree that this node shows, and the one that is to take its place.
//
// The strand applies committed txns, a batch at a time. Readers of other threads see the tree
// before a batch or after it, never between. A reader never sees the tree go back to an earlier
// zxid.
//
// A leader's snapshot may hold txns that were never committed (ZAB.md section 3.4). So its tree is
// staged at first: the log goes on from there, and readers still see the tree that was there
// before. Once the node serves, the staged tree takes its place. A staged tree may be older than
// the one that is shown. Example:
//   1. This node has applied everything up to (1,9). Its tree differs from the leader's.
//   2. The leader sends a snapshot at (1,7), and (1,8) to (1,12) behind it.
//   3. The node serves. A reader has seen (1,9) here. Shown as it is, the staged tree would take
//      that reader back to (1,7).
//   4. So the staged tree first catches up to (1,9) with the txns behind it. Then it is shown.
//
// While a snapshot is written, a Walk reads the tree as it was when the walk began, and txns go on.
//
// The tree that is shown may turn out to differ from the leader's (`distrust`). It is shown on,
// with the reason for whoever asks, until another tree takes its place.
//
// Limits: at most one staged tree. A walk keeps its tree, and what txns have changed since.
//
// Threading: an object of the strand, driven by the replica. `read` and Walk::next may be called
// from any thread. They hold the mutex shared, and the strand takes it exclusively to change the
// tree. On the strand, reading needs no lock, since nobody else changes anything.
//
// The mutex comes before all others: what `read` runs, and whoever is told of a txn (`publish`),
// may take mutexes of their own. So nobody may call `read` who holds one of those.
#pragma once

#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "consensus/messages.h"
#include "consensus/mutex.h"
#include "tree/snapshot.h"
#include "tree/tree.h"

namespace zabfs::consensus {

using tree::Zxid;

class VisibleTree {
 public:
  // Reads one state of the tree to its end, as the stream of a snapshot.
  class Walk {
   public:
    Zxid zxid() const { return zxid_; }
    // Appends a piece of the stream; false: that was its end. From any thread.
    bool next(std::string& out, size_t max_bytes) EXCLUDES(owner_.mutex_) {
      ReaderLock lock(owner_.mutex_);
      return cursor_->next(out, max_bytes);
    }
    // On the strand: nothing more is read.
    void end() EXCLUDES(owner_.mutex_) {
      WriterLock lock(owner_.mutex_);
      cursor_.reset();
    }

   private:
    friend class VisibleTree;
    Walk(VisibleTree& owner, std::shared_ptr<tree::Tree> tree) REQUIRES(owner.mutex_)
        : owner_(owner),
          tree_(std::move(tree)),
          cursor_(tree_->begin_snapshot()),
          zxid_(cursor_->zxid()) {}

    VisibleTree& owner_;
    std::shared_ptr<tree::Tree> tree_;
    // Goes before the tree that it walks.
    std::unique_ptr<tree::SnapshotCursor> cursor_ GUARDED_BY(owner_.mutex_);
    const Zxid zxid_;
  };
  // What a batch of txns did.
  struct Published {
    std::vector<tree::Change> changes;
    std::vector<tree::Outcome> outcomes;  // of each txn
  };

  VisibleTree() : tree_(std::make_shared<tree::Tree>()) {}
  VisibleTree(const VisibleTree&) = delete;
  VisibleTree& operator=(const VisibleTree&) = delete;

  // ---- from any thread
  template <class Read>
  auto read(const Read& body) const EXCLUDES(mutex_) {
    ReaderLock lock(mutex_);
    return body(static_cast<const tree::Tree&>(*tree_));
  }

  // ---- on the strand
  const tree::Tree& get() const NO_THREAD_SAFETY_ANALYSIS { return *tree_; }
  // The last txn that readers see.
  Zxid applied() const { return applied_; }
  // Applies the txns, in order. `each(txn, outcome, changes)` is called behind each of them, with
  // its own changes. The mutex is held then: no other reader sees that state, and it is to be
  // short.
  template <class Each>
  Published publish(const std::vector<tree::Txn>& txns, const Each& each) EXCLUDES(mutex_) {
    Published published;
    published.outcomes.reserve(txns.size());
    {
      WriterLock lock(mutex_);
      for (const tree::Txn& txn : txns) {
        size_t before = published.changes.size();
        published.outcomes.push_back(tree_->apply(txn, &published.changes));
        each(txn, published.outcomes.back(),
             std::span<const tree::Change>(published.changes).subspan(before));
      }
    }
    applied_ = get().last_zxid();
    return published;
  }
  // The data of /zookeeper/config, where no txn has set it.
  void set_configuration(std::string_view text) EXCLUDES(mutex_);
  // Why the tree that is shown is no copy of the ensemble's data; empty: it is one.
  const std::string& doubt() const { return doubt_; }
  void distrust(std::string why) { doubt_ = std::move(why); }
  // At a start: what readers see from now on. Nothing is staged then.
  void show(std::shared_ptr<tree::Tree> tree) EXCLUDES(mutex_);

  // ---- a staged tree
  void stage(std::shared_ptr<tree::Tree> tree) { staged_ = std::move(tree); }
  const tree::Tree* staged() const { return staged_.get(); }
  void drop_staged() { staged_.reset(); }
  // The tree that the log goes on from.
  const tree::Tree& newest() const { return staged_ ? *staged_ : get(); }
  // Shows the staged tree. `txns` are those of the log behind it. The tree that was shown before;
  // null: one of the txns is none, and nothing is changed.
  [[nodiscard]] std::shared_ptr<tree::Tree> show_staged(const std::deque<LogTxn>& txns)
      EXCLUDES(mutex_);

  std::shared_ptr<Walk> begin_walk() EXCLUDES(mutex_);

 private:
  mutable SharedMutex mutex_;
  std::shared_ptr<tree::Tree> tree_ GUARDED_BY(mutex_);
  Zxid applied_;
  std::string doubt_;
  std::shared_ptr<tree::Tree> staged_;
};

}  // namespace zabfs::consensus
