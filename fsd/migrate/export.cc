#include "fsd/migrate/export.h"

#include <fmt/format.h>

#include <memory>

#include "consensus/history_files.h"
#include "consensus/posix_disk.h"
#include "consensus/snapshotter.h"
#include "fsd/migrate/new_data.h"
#include "fsd/migrate/target.h"
#include "fsd/progress.h"
#include "tree/java_snapshot.h"
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

consensus::DiskStatus write_snapshot(consensus::Disk& disk, const std::string& name,
                                     tree::JavaSnapshotWriter& writer, fsd::Progress& progress) {
  std::unique_ptr<consensus::File> file;
  consensus::DiskStatus status = disk.open(name, true, file);
  uint64_t offset = 0;
  std::string piece;
  while (status.ok() && writer.next(piece, kPieceBytes)) {
    status = file->write_at(offset, piece);
    offset += piece.size();
    piece.clear();
    progress.at(offset);
  }
  return status.ok() ? file->sync() : status;
}

// What does not go along, and what Java has to be told.
void describe(const tree::Tree& tree, const tree::JavaLeftOut& left_out) {
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

Status write(const consensus::WholeHistory& history, const std::string& to,
             fsd::Progress& progress) {
  Status status = act_as_owner_of(to);
  Target target(to, "version-2");
  if (status.ok()) status = target.prepare();
  if (!status.ok()) return status;
  const tree::Tree& tree = *history.tree;
  tree::JavaSnapshotWriter writer(tree);
  consensus::PosixDisk disk(target.path());
  progress.begin("writes " + to, consensus::Snapshotter::estimate_bytes(tree));
  std::string name = fmt::format("snapshot.{:x}", tree.last_zxid().value);
  consensus::DiskStatus written = write_snapshot(disk, name, writer, progress);
  progress.clear();
  if (written.ok()) {
    written = write_file(disk, "currentEpoch", std::to_string(history.current_epoch));
  }
  if (written.ok()) {
    written = write_file(disk, "acceptedEpoch", std::to_string(history.accepted_epoch));
  }
  if (!written.ok()) return Status::failed(written.message());
  status = target.finish();
  if (!status.ok()) return status;
  describe(tree, writer.left_out());
  fmt::print("wrote {}/version-2/{}: {} znodes, {} sessions, last zxid 0x{:x}, epoch {}\n", to,
             name, writer.written(), tree.sessions().size(), tree.last_zxid().value,
             history.current_epoch);
  return {};
}

}  // namespace

Status export_zookeeper(const ExportOptions& options) {
  fsd::Progress progress;
  StatusOr<consensus::WholeHistory> history =
      read_stopped_node(options.from, options.from_log, progress);
  if (!history.ok()) return history.status();
  Status status = write(*history, options.to, progress);
  if (status.ok()) status = copy_myid(options.from, options.to);
  return status;
}

}  // namespace zabfs::migrate
