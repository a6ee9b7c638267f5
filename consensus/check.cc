#include "consensus/check.h"

#include <fmt/format.h>

#include <memory>

#include "consensus/epoch_store.h"
#include "consensus/kept_files.h"
#include "consensus/kept_history.h"
#include "consensus/log_reader.h"
#include "consensus/protocol.h"
#include "consensus/snapshot_store.h"

namespace zabfs::consensus {
namespace {

void check_promise(Disk& disk, CheckResult& result) {
  EpochStore epochs(disk);
  auto [state, problem] = epochs.open();
  // One bad copy may be no more than a save that a crash stopped.
  bool lost = state == EpochStore::State::kLost;
  if (!problem.empty()) (lost ? result.damage : result.found).push_back(problem);
  if (state == EpochStore::State::kNew) result.found.push_back("accepted epoch: none yet");
  if (state != EpochStore::State::kIntact) return;
  result.found.push_back(fmt::format("accepted epoch {}, {}", epochs.promise().accepted_epoch,
                                     epochs.promise().votes ? "votes" : "has no vote"));
}

// Where the log begins, so that snapshots can be judged by it.
tree::Zxid check_log(Disk& disk, CheckResult& result) {
  tree::Zxid base, base_before, first, last;
  uint64_t txns = 0;
  LogHandlers handlers;
  handlers.first_segment = [&](const log_format::SegmentHeader& header) {
    base = header.last_zxid;
  };
  handlers.record = [&](const FoundRecord& found, size_t) {
    if (found.header.type == log_format::RecordType::kBeginSync) {
      base_before = base;
      if (static_cast<SyncMode>(found.header.extra) == SyncMode::kSnap) base = found.header.zxid;
    } else if (found.header.type == log_format::RecordType::kRollBack) {
      base = base_before;
    }
    if (found.header.type != log_format::RecordType::kTxn) return Taken::kYes;
    if (txns++ == 0) first = found.header.zxid;
    last = found.header.zxid;
    return Taken::kYes;
  };
  LogReport report = read_log(disk, handlers);
  result.found.push_back(fmt::format("log: {} segments, {} records, {} txns, 0x{:x} to 0x{:x}",
                                     report.segments.size(), report.records, txns, first.value,
                                     last.value));
  if (report.torn) {
    result.found.push_back(fmt::format("{} offset {}: a torn write, never acknowledged",
                                       report.last.name, report.end));
  }
  result.damage.insert(result.damage.end(), report.damage.begin(), report.damage.end());
  return base;
}

void check_snapshots(Disk& disk, tree::Zxid log_base, CheckResult& result) {
  SnapshotStore snapshots(disk);
  bool covered = log_base == tree::Zxid{};
  for (tree::Zxid zxid : snapshots.list()) {
    StatusOr<std::unique_ptr<tree::Tree>> tree = snapshots.load(zxid);
    if (!tree.ok()) {
      result.damage.push_back(tree.why());
      continue;
    }
    covered = covered || zxid >= log_base;
    result.found.push_back(fmt::format("snapshot at 0x{:x}: {} znodes, {} bytes of data",
                                       zxid.value, (*tree)->node_count(), (*tree)->data_bytes()));
  }
  if (!covered) {
    result.damage.push_back(
        fmt::format("no intact snapshot at or after 0x{:x}, where the log begins", log_base.value));
  }
}

// What is kept of the past: damage there harms nothing else, so it is no damage of the node's.
void check_kept(Disk& log_disk, Disk& snapshot_disk, CheckResult& result) {
  tree::Zxid first, last;
  LogHandlers handlers;
  handlers.record = [&](const FoundRecord& found, size_t) {
    if (found.header.type != log_format::RecordType::kTxn) return Taken::kYes;
    if (first == tree::Zxid{}) first = found.header.zxid;
    last = found.header.zxid;
    return Taken::kYes;
  };
  LogReport report = read_log(log_disk, handlers, kKeptLogPrefix);
  KeptFiles kept(snapshot_disk);
  SnapshotStore snapshots(kept);
  std::string prefix = std::string(kHistoryPrefix) + std::string(kSnapshotPrefix);
  std::vector<StoredSnapshot> stored = list_snapshots(snapshot_disk, prefix);
  for (const StoredSnapshot& one : stored) {
    Status status = snapshots.check(one.zxid);
    if (!status.ok()) report.damage.push_back("history." + status.why());
  }
  if (stored.empty() && report.segments.empty()) return;
  result.found.push_back(fmt::format("history: {} segments, {} snapshots, 0x{:x} to 0x{:x}",
                                     report.segments.size(), stored.size(), first.value,
                                     last.value));
  for (const std::string& damage : report.damage) {
    result.found.push_back("history has a gap: " + damage);
  }
}

}  // namespace

CheckResult check_storage(Disk& log_disk, Disk& snapshot_disk) {
  CheckResult result;
  check_promise(snapshot_disk, result);
  tree::Zxid log_base = check_log(log_disk, result);
  check_snapshots(snapshot_disk, log_base, result);
  check_kept(log_disk, snapshot_disk, result);
  return result;
}

}  // namespace zabfs::consensus
