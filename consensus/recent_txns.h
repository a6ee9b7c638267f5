// The newest txns of this node's log, kept in memory. The replica (replica.h) applies committed
// txns from here, and sends them from here to a learner that was away for a short time. A learner
// that lacks older ones is sent them from the disk.
//
// The txns are those after `base`, in the order of the log. The node has applied the first of them,
// and the rest waits for its COMMIT. Example with 5 as the last applied zxid of epoch 1:
//
//   base      txns
//   (1,2) |   (1,3) (1,4) (1,5)    (1,6) (1,7)
//             applied              only appended
//
// ZAB changes this end of the log in three ways (ZAB.md section 1.4): a proposal adds a txn, TRUNC
// takes txns back, and SNAP replaces all of them by a snapshot at a new base.
//
// The class also says which learners are better sent a snapshot than the log: those that lack more
// bytes of the log than a snapshot would cost. For that it keeps marks. A mark is a zxid of the log
// with the count of bytes that had been appended up to it.
//
// Limits: `trim` keeps at most `max_txns` txns and kMaxBytes, but it never forgets a txn that is
// not applied yet. The marks cover the last `max_diff_bytes` of the log, and two neighbours are at
// least a 16th of that apart.
//
// Threading: an object of the strand. Pure: it does no I/O and knows no time.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "consensus/messages.h"

namespace zabfs::consensus {

class RecentTxns {
 public:
  static constexpr size_t kMaxBytes = 4u << 20;

  explicit RecentTxns(size_t max_txns) : max_txns_(max_txns) {}

  // Every zxid up to this one is in a snapshot or in the log on the disk, and not here.
  Zxid base() const { return base_; }
  // Where the log ends: the zxid of the last txn, or `base` where there is none.
  Zxid last() const { return txns_.empty() ? base_ : txns_.back().zxid; }
  size_t bytes() const { return bytes_; }
  // Whether these are all txns of the log from `base` up to `last`, whatever comes behind.
  bool reaches(Zxid last) const { return last == base_ || find(last) != nullptr; }
  // In the order of the log.
  const std::deque<LogTxn>& txns() const { return txns_; }
  // The first of `txns` that is later than `zxid`.
  std::deque<LogTxn>::const_iterator after(Zxid zxid) const;
  // The txn of that zxid; null: it is not here.
  Payload find(Zxid zxid) const;

  // The log goes on with this txn. `max_diff_bytes` is what a learner may lack of the log and still
  // be sent the log. A zxid comes back where the log has grown beyond that: from now on a learner
  // whose log ends before that zxid is better sent a snapshot.
  [[nodiscard]] std::optional<Zxid> append(Zxid zxid, Payload txn, size_t max_diff_bytes);
  // TRUNC: the leader takes back all txns after `last`.
  void truncate(Zxid last);
  // A role has ended, and its txns after `last` never reached the disk. Their marks stay, because
  // marks only estimate.
  void forget_unwritten(Zxid last);
  // SNAP, or a start: a snapshot at `base` stands for all before it, and the log behind it holds
  // `txns`. The marks stay here, too.
  void restart(Zxid base, std::deque<LogTxn> txns = {});
  // Forgets the oldest txns while there are too many. Those after `applied` stay in any case.
  void trim(Zxid applied);

 private:
  struct Mark {
    Zxid zxid;
    size_t appended_bytes;  // of the log up to and with it
  };

  void drop_after(Zxid last);

  const size_t max_txns_;
  std::deque<LogTxn> txns_;
  Zxid base_;
  size_t bytes_ = 0;  // of txns_
  std::deque<Mark> marks_;
  size_t appended_bytes_ = 0;  // since the process started
};

}  // namespace zabfs::consensus
