#include "consensus/recent_txns.h"

#include <algorithm>

namespace zabfs::consensus {

namespace {

constexpr size_t kMarks = 16;  // in what a learner may lack and still be sent the log

}  // namespace

std::deque<LogTxn>::const_iterator RecentTxns::after(Zxid zxid) const {
  return std::partition_point(txns_.begin(), txns_.end(),
                              [zxid](const LogTxn& txn) { return txn.zxid <= zxid; });
}

Payload RecentTxns::find(Zxid zxid) const {
  auto txn = std::partition_point(txns_.begin(), txns_.end(),
                                  [zxid](const LogTxn& any) { return any.zxid < zxid; });
  return txn != txns_.end() && txn->zxid == zxid ? txn->txn : nullptr;
}

std::optional<Zxid> RecentTxns::append(Zxid zxid, Payload txn, size_t max_diff_bytes) {
  bytes_ += txn->size();
  appended_bytes_ += txn->size();
  txns_.push_back({zxid, std::move(txn)});
  if (marks_.empty() || appended_bytes_ - marks_.back().appended_bytes >= max_diff_bytes / kMarks) {
    marks_.push_back({zxid, appended_bytes_});
  }
  // The last mark is never too far back, so one stays.
  std::optional<Zxid> too_far_back;
  while (appended_bytes_ - marks_.front().appended_bytes > max_diff_bytes) {
    too_far_back = marks_.front().zxid;
    marks_.pop_front();
  }
  return too_far_back;
}

void RecentTxns::drop_after(Zxid last) {
  while (!txns_.empty() && txns_.back().zxid > last) {
    bytes_ -= txns_.back().txn->size();
    txns_.pop_back();
  }
}

void RecentTxns::truncate(Zxid last) {
  drop_after(last);
  while (!marks_.empty() && marks_.back().zxid > last) marks_.pop_back();
}

void RecentTxns::forget_unwritten(Zxid last) { drop_after(last); }

void RecentTxns::restart(Zxid base, std::deque<LogTxn> txns) {
  base_ = base;
  txns_ = std::move(txns);
  bytes_ = 0;
  for (const LogTxn& txn : txns_) bytes_ += txn.txn->size();
}

void RecentTxns::trim(Zxid applied) {
  while (!txns_.empty() && txns_.front().zxid <= applied &&
         (txns_.size() > max_txns_ || bytes_ > kMaxBytes)) {
    base_ = txns_.front().zxid;
    bytes_ -= txns_.front().txn->size();
    txns_.pop_front();
  }
}

}  // namespace zabfs::consensus
