#include "fsd/migrate/export.h"

#include <fmt/format.h>

#include <deque>
#include <functional>
#include <memory>
#include <utility>

#include "consensus/history_files.h"
#include "consensus/posix_disk.h"
#include "consensus/snapshotter.h"
#include "fsd/migrate/new_data.h"
#include "fsd/migrate/target.h"
#include "fsd/progress.h"
#include "tree/java_log.h"
#include "tree/java_snapshot.h"
#include "tree/txn.h"
#include "tree/types.h"

namespace zabfs::migrate {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;

consensus::DiskStatus write_file(consensus::Disk& disk, const std::string& name,
                                 std::string_view text) {
  std::unique_ptr<consensus::File> file;
  consensus::DiskStatus status = disk.open(name, true, file);
  if (status.ok()) status = file->write_at(0, text);
  return status.ok() ? file->sync() : status;
}

// `next` appends about so many bytes to the text, or returns false.
using NextPiece = std::function<bool(std::string& text, size_t bytes)>;

consensus::DiskStatus write_pieces(consensus::Disk& disk, const std::string& name,
                                   const NextPiece& next, fsd::Progress& progress) {
  std::unique_ptr<consensus::File> file;
  consensus::DiskStatus status = disk.open(name, true, file);
  uint64_t offset = 0;
  std::string piece;
  while (status.ok() && next(piece, kPieceBytes)) {
    status = file->write_at(offset, piece);
    offset += piece.size();
    piece.clear();
    progress.at(offset);
  }
  return status.ok() ? file->sync() : status;
}

// A transaction without effect. A leader of Java's can have the log cut off behind it: Java finds
// the end of what stays by the transaction that is there.
std::string anchor(tree::Zxid zxid) {
  tree::Txn txn;
  txn.header.zxid = zxid;
  txn.header.type = tree::OpCode::kError;
  txn.body = tree::ErrorTxn{};
  std::string bytes;
  tree::encode_txn(txn, bytes);
  return bytes;
}

// The log behind a snapshot at that zxid.
class JavaLog {
 public:
  JavaLog(tree::Zxid snapshot, const std::deque<consensus::LogTxn>& txns)
      : start_(tree::java_log_head()), next_(txns.begin()), end_(txns.end()) {
    tree::append_java_log_entry(anchor(snapshot), start_);
  }
  bool next(std::string& out, size_t bytes) {
    out += std::exchange(start_, {});
    for (; next_ != end_ && out.size() < bytes; ++next_) {
      // What the history has are transactions.
      tree::append_java_log_entry(tree::java_txn(*next_->txn).value(), out);
    }
    return !out.empty();
  }

 private:
  std::string start_;
  std::deque<consensus::LogTxn>::const_iterator next_, end_;
};

// What does not go along, and what Java has to be told.
void describe(const tree::Tree& tree) {
  tree::JavaLeftOut left_out = tree::JavaSnapshotWriter(tree).left_out();
  auto say = [](size_t count, const char* of, const char* what) {
    if (count > 0) fmt::print("left out of {} {}: {}\n", count, of, what);
  };
  say(left_out.posix_entries, "znodes", "kind, mode, owner and time in the mount");
  say(left_out.change_times, "znodes", "when their children and their ACLs changed last");
  say(left_out.attachments, "sessions", "at which server they are");
  if (!tree.ttl_nodes().empty()) {
    fmt::print("{} znodes have a TTL: ZooKeeper needs -Dzookeeper.extendedTypesEnabled=true\n",
               tree.ttl_nodes().size());
  }
}

consensus::DiskStatus write_files(consensus::Disk& disk, const consensus::WholeHistory& history,
                                  const std::string& number, fsd::Progress& progress) {
  tree::JavaSnapshotWriter snapshot(*history.tree);
  progress.begin("writes the snapshot", consensus::Snapshotter::estimate_bytes(*history.tree));
  consensus::DiskStatus status = write_pieces(
      disk, "snapshot." + number,
      [&](std::string& out, size_t bytes) { return snapshot.next(out, bytes); }, progress);
  if (!status.ok()) return status;
  size_t log_bytes = 0;
  for (const consensus::LogTxn& entry : history.tail) log_bytes += entry.txn->size();
  JavaLog log(history.tree->last_zxid(), history.tail);
  progress.begin("writes the log", log_bytes);
  status = write_pieces(
      disk, "log." + number, [&](std::string& out, size_t bytes) { return log.next(out, bytes); },
      progress);
  progress.clear();
  if (status.ok()) {
    status = write_file(disk, "currentEpoch", std::to_string(history.current_epoch));
  }
  if (!status.ok()) return status;
  return write_file(disk, "acceptedEpoch", std::to_string(history.accepted_epoch));
}

Status write(consensus::WholeHistory& history, const std::string& to, fsd::Progress& progress) {
  Status status = act_as_owner_of(to);
  Target target(to, "version-2");
  if (status.ok()) status = target.prepare();
  if (!status.ok()) return status;
  tree::Tree& tree = *history.tree;
  std::string number = fmt::format("{:x}", tree.last_zxid().value);
  consensus::PosixDisk disk(target.path());
  consensus::DiskStatus written = write_files(disk, history, number, progress);
  if (!written.ok()) return Status::failed(written.message());
  status = target.finish();
  if (!status.ok()) return status;
  for (const consensus::LogTxn& entry : history.tail) {
    tree.apply(*tree::decode_txn(*entry.txn), nullptr);
  }
  describe(tree);
  fmt::print(
      "wrote {0}/version-2/snapshot.{1}, and log.{1} with the last {2} transactions: {3} znodes, "
      "{4} sessions, last zxid 0x{5:x}, epoch {6}\n",
      to, number, history.tail.size(), tree.node_count(), tree.sessions().size(),
      tree.last_zxid().value, history.current_epoch);
  return {};
}

}  // namespace

Status export_zookeeper(const ExportOptions& options) {
  fsd::Progress progress;
  StatusOr<consensus::WholeHistory> history =
      read_stopped_node(options.from, options.from_log, progress, consensus::Tail::kApart);
  if (!history.ok()) return history.status();
  Status status = write(*history, options.to, progress);
  if (status.ok()) status = copy_myid(options.from, options.to);
  return status;
}

}  // namespace zabfs::migrate
