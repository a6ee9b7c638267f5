#include "consensus/history_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <iterator>

#include "consensus/epoch_store.h"
#include "consensus/frozen_disk.h"
#include "consensus/log.h"
#include "consensus/log_reader.h"
#include "consensus/snapshot_store.h"
#include "tree/snapshot.h"

namespace zabfs::consensus {
namespace {

constexpr size_t kReadAtOnceBytes = 16u << 20;

// 0: it can't be opened.
uint64_t bytes_of_file(Disk& disk, const std::string& name) {
  std::unique_ptr<File> file;
  return disk.open(name, false, file).ok() ? file->size() : 0;
}

// The newest snapshot that the log goes on from; an empty tree if the log begins with nothing.
StatusOr<std::unique_ptr<tree::Tree>> load_snapshot(SnapshotStore& snapshots,
                                                    const History& history, Disk& disk,
                                                    const ReadingHistory& reading) {
  std::string damage;
  for (Zxid zxid : snapshots.list()) {
    if (!history.goes_on_from(zxid)) continue;
    for (const StoredSnapshot& stored : list_snapshots(disk)) {
      if (stored.zxid == zxid) reading.begins(stored.name, bytes_of_file(disk, stored.name));
    }
    StatusOr<std::unique_ptr<tree::Tree>> tree = snapshots.load(zxid);
    if (tree.ok()) return tree;
    damage = tree.why();
  }
  if (history.base() == Zxid{}) return std::make_unique<tree::Tree>();
  if (!damage.empty()) return Status::failed(damage);
  return Status::failed(fmt::format("there is no snapshot at or after 0x{:x}, where the log begins",
                                    history.base().value));
}

// Of the segments of the log from that number on.
uint64_t log_bytes(Disk& disk, uint64_t first) {
  uint64_t bytes = 0;
  for (const LogSegment& segment : list_log_segments(disk)) {
    if (segment.number >= first) bytes += bytes_of_file(disk, segment.name);
  }
  return bytes;
}

// `tree` may be null: then it is only seen whether they are txns.
Status apply_txns(const std::deque<LogTxn>& txns, tree::Tree* tree) {
  for (const LogTxn& entry : txns) {
    std::optional<tree::Txn> txn = tree::decode_txn(*entry.txn);
    if (!txn) return Status::failed(fmt::format("txn 0x{:x} of the log is none", entry.zxid.value));
    if (tree != nullptr) tree->apply(*txn, nullptr);
  }
  return {};
}

// The last two pieces of the log are the tail, if that is to stay apart: one may be short.
Status apply_log(Disk& disk, const History& log, WholeHistory& history,
                 const ReadingHistory& reading, Tail tail) {
  Zxid read_to = history.tree->last_zxid();
  reading.begins("the log behind the snapshot", log_bytes(disk, find_segment(disk, read_to)));
  uint64_t bytes = 0;
  std::deque<std::deque<LogTxn>> pieces;
  while (read_to < log.last()) {
    std::deque<LogTxn> txns;
    if (!Log::read(disk, log, read_to, log.last(), kReadAtOnceBytes, txns) || txns.empty()) {
      return Status::failed(fmt::format("the log can't be read from 0x{:x} on", read_to.value));
    }
    read_to = txns.back().zxid;
    for (const LogTxn& entry : txns) bytes += entry.txn->size();
    reading.at(bytes);
    pieces.push_back(std::move(txns));
    if (tail == Tail::kApart && pieces.size() <= 2) continue;
    Status status = apply_txns(pieces.front(), history.tree.get());
    if (!status.ok()) return status;
    pieces.pop_front();
  }
  for (std::deque<LogTxn>& txns : pieces) {
    Status status = apply_txns(txns, nullptr);
    if (!status.ok()) return status;
    std::move(txns.begin(), txns.end(), std::back_inserter(history.tail));
  }
  return {};
}

}  // namespace

StatusOr<WholeHistory> read_history(Disk& log_disk, Disk& snapshot_disk,
                                    const ReadingHistory& reading, Tail tail) {
  uint64_t bytes = 0;
  bool counts = false;  // what is read of the log a second time is counted as it is applied
  ReadingHistory one{[&](const std::string& what, uint64_t total) {
                       bytes = 0;
                       reading.begins(what, total);
                     },
                     reading.at};
  auto was_read = [&](size_t size) {
    if (counts) reading.at(bytes += size);
  };
  FrozenDisk frozen_log(log_disk, was_read), frozen_snapshots(snapshot_disk, was_read);
  EpochStore epochs(frozen_snapshots);
  EpochStore::Opened promise = epochs.open();
  if (promise.state == EpochStore::State::kLost) return Status::failed(promise.problem);
  Log log(frozen_log, {});
  counts = true;
  one.begins("the log", log_bytes(frozen_log, 0));
  LogRecovery recovery = log.open();
  if (!recovery.error.empty()) return Status::failed(recovery.error);
  if (!recovery.damage.empty()) return Status::failed(recovery.damage.front());
  SnapshotStore snapshots(frozen_snapshots);
  StatusOr<std::unique_ptr<tree::Tree>> tree =
      load_snapshot(snapshots, log.history(), frozen_snapshots, one);
  if (!tree.ok()) return tree.status();
  counts = false;
  WholeHistory history;
  history.tree = std::move(*tree);
  Status applied = apply_log(frozen_log, log.history(), history, one, tail);
  if (!applied.ok()) return applied;
  history.current_epoch = log.current_epoch();
  history.accepted_epoch = std::max(epochs.promise().accepted_epoch, log.current_epoch());
  return history;
}

DiskStatus write_history(Disk& log_disk, Disk& snapshot_disk, WholeHistory& history,
                         const std::function<void(uint64_t bytes)>& written) {
  Zxid last = history.tree->last_zxid();
  SnapshotStore snapshots(snapshot_disk);
  std::unique_ptr<tree::SnapshotCursor> cursor = history.tree->begin_snapshot();
  uint64_t bytes = 0;
  DiskStatus status = snapshots.write(last, [&](std::string& out) {
    size_t before = out.size();
    bool is_more = cursor->next(out, kSnapshotChunkBytes);
    written(bytes += out.size() - before);
    return is_more;
  });
  Log log(log_disk, {});
  if (status.ok() && !log.open().error.empty()) status = DiskStatus{EIO, "read the new log"};
  if (status.ok()) status = log.begin();
  auto snap = static_cast<uint32_t>(SyncMode::kSnap);
  if (status.ok()) {
    status = log.write({{log_format::RecordType::kBeginSync, last, snap, nullptr},
                        {log_format::RecordType::kEndSync, last, history.current_epoch, nullptr}},
                       Zxid{});
  }
  EpochStore epochs(snapshot_disk);
  epochs.open();
  Promise promise;
  promise.accepted_epoch = std::max(history.accepted_epoch, history.current_epoch);
  promise.votes = true;
  if (history.ensemble != 0) promise.ensemble = history.ensemble;
  if (status.ok()) status = epochs.save(promise);
  return status;
}

}  // namespace zabfs::consensus
