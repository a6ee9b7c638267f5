#include "consensus/history_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

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

Status apply_log(Disk& disk, const History& history, tree::Tree& tree,
                 const ReadingHistory& reading) {
  reading.begins("the log behind the snapshot",
                 log_bytes(disk, find_segment(disk, tree.last_zxid())));
  uint64_t bytes = 0;
  while (tree.last_zxid() < history.last()) {
    std::deque<LogTxn> txns;
    bool is_whole =
        Log::read(disk, history, tree.last_zxid(), history.last(), kReadAtOnceBytes, txns);
    if (!is_whole || txns.empty()) {
      return Status::failed(
          fmt::format("the log can't be read from 0x{:x} on", tree.last_zxid().value));
    }
    for (const LogTxn& entry : txns) {
      std::optional<tree::Txn> txn = tree::decode_txn(*entry.txn);
      if (!txn) {
        return Status::failed(fmt::format("txn 0x{:x} of the log is none", entry.zxid.value));
      }
      tree.apply(*txn, nullptr);
      bytes += entry.txn->size();
    }
    reading.at(bytes);
  }
  return {};
}

}  // namespace

StatusOr<WholeHistory> read_history(Disk& log_disk, Disk& snapshot_disk,
                                    const ReadingHistory& reading) {
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
  Status applied = apply_log(frozen_log, log.history(), **tree, one);
  if (!applied.ok()) return applied;
  WholeHistory history;
  history.tree = std::move(*tree);
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
