// zabfs backup: all of a tree in one file (fsd/backup), out of a node's own snapshot.
//
// The node writes the snapshot by the way it always does (`@/snapshot`). This process reads it, so
// that the node has nothing else to do, and needs no quorum for it.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>
#include <sstream>

#include "consensus/snapshotter.h"
#include "fsd/backup/output.h"
#include "fsd/backup/snapshot_source.h"
#include "fsd/backup/writer.h"
#include "fsd/history/when.h"
#include "fsd/migrate/new_data.h"
#include "fsd/progress.h"
#include "fsd/tool/tool.h"
#include "tree/snapshot.h"

namespace zabfs::tool {

namespace {

using backup::BackupWriter;
using backup::Header;

constexpr int kTries = 3;  // a snapshot may be purged before it is opened
constexpr size_t kCursorBytes = 256u << 10;

struct NodeSnapshot {
  Header header;
  std::string path;
  std::unique_ptr<consensus::File> file;
};

// What `@/snapshot` says.
StatusOr<NodeSnapshot> parse_answer(const std::string& text, const std::string& file) {
  NodeSnapshot snapshot;
  std::string lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("refused ")) return Status::failed(line.substr(8));
    if (line.starts_with("file ")) {
      snapshot.path = line.substr(5);
    } else {
      lines += line + "\n";
    }
  }
  StatusOr<Header> header = backup::parse_header(lines);
  if (!header.ok() || !snapshot.path.starts_with('/')) {
    return Status::failed(file +
                          " says nothing that this zabfs understands: use the one of the "
                          "node's version");
  }
  snapshot.header = std::move(*header);
  return snapshot;
}

StatusOr<NodeSnapshot> ask_node(const std::string& mount) {
  std::string file = join(mount, "@/snapshot");
  Status failure;
  for (int i = 0; i < kTries; ++i) {
    std::optional<std::string> text = read_file(file);
    if (!text) {
      bool is_refused = errno == EPERM || errno == EACCES;
      return Status::failed(error_of(file) + (is_refused ? "; root makes backups" : ""));
    }
    StatusOr<NodeSnapshot> snapshot = parse_answer(*text, file);
    if (!snapshot.ok()) return snapshot;
    StatusOr<std::unique_ptr<consensus::File>> opened = backup::open_to_read(snapshot->path);
    if (opened.ok()) {
      snapshot->file = std::move(*opened);
      return snapshot;
    }
    failure = Status::failed(opened.why() +
                             "; it is where the node wrote its snapshot: make the backup on the "
                             "same machine, in the node's container if it is in one");
  }
  return failure;
}

class Backup {
 public:
  explicit Backup(const BackupOptions& options)
      : options_(options),
        output_(options.file),
        writer_([this](std::string_view bytes) { return output_.write(bytes); }) {}

  Status run() {
    Status status = output_.open();
    if (status.ok()) status = options_.data.empty() ? write_of_mount() : write_of_data();
    progress_.clear();
    if (status.ok()) status = writer_.finish();
    if (status.ok()) status = output_.finish();
    if (status.ok()) describe();
    return status;
  }

 private:
  Status write_of_mount() {
    std::string mount = options_.mount.empty() ? find_mount() : options_.mount;
    if (mount.empty()) {
      return Status::failed(
          "no zabfs mount on this machine; name one by --mount, or the dataDir "
          "of a stopped node by --data");
    }
    StatusOr<NodeSnapshot> snapshot = ask_node(mount);
    if (!snapshot.ok()) return snapshot.status();
    Status status = begin(snapshot->header);
    progress_.begin("reads " + snapshot->path, snapshot->file->size());
    if (!status.ok()) return status;
    return backup::read_snapshot(std::move(snapshot->file), snapshot->path, header_.zxid,
                                 [this](std::string_view piece, uint64_t offset) {
                                   progress_.at(offset);
                                   return writer_.add(piece);
                                 });
  }

  Status write_of_data() {
    StatusOr<consensus::WholeHistory> history =
        migrate::read_stopped_node(options_.data, options_.data_log, progress_);
    if (!history.ok()) return history.status();
    Header header;
    header.zxid = history->tree->last_zxid();
    header.epoch = history->accepted_epoch;
    std::optional<tree::ServerId> server = migrate::server_number_in({options_.data});
    header.node = server ? server->value : 0;
    if (header.zxid == tree::Zxid{}) return Status::failed("nothing was ever written there");
    Status status = begin(header);
    progress_.begin("packs " + options_.data,
                    consensus::Snapshotter::estimate_bytes(*history->tree));
    std::unique_ptr<tree::SnapshotCursor> cursor = history->tree->begin_snapshot();
    uint64_t bytes = 0;
    for (std::string piece; status.ok() && cursor->next(piece, kCursorBytes); piece.clear()) {
      progress_.at(bytes += piece.size());
      status = writer_.add(piece);
    }
    return status;
  }

  Status begin(const Header& header) {
    header_ = header;
    header_.time_ms = fsd::wall_ms();
    header_.version = ZABFS_VERSION;
    return writer_.begin(header_);
  }

  // Where the backup itself goes to standard output, this may not.
  void describe() {
    std::FILE* out = output_.is_standard_output() ? stderr : stdout;
    const backup::Counts& counts = writer_.counts();
    int64_t age_ms = std::max<int64_t>(fsd::wall_ms() - header_.time_ms, 0);
    fmt::print(out,
               "backed up {} znodes, {} bytes of data, as of zxid 0x{:x} ({:.1f} s ago), in {} "
               "bytes; left out: {} sessions, {} ephemerals\n",
               counts.znodes, counts.data_bytes, header_.zxid.value,
               static_cast<double>(age_ms) / 1'000, output_.bytes(), counts.sessions,
               counts.ephemerals);
    if (!options_.data.empty() || header_.is_serving) return;
    fmt::print(stderr,
               "zabfs: this node has no quorum with it: changes that it has not heard of are not "
               "in the backup\n");
  }

  const BackupOptions& options_;
  Header header_;
  backup::Output output_;
  BackupWriter writer_;
  fsd::Progress progress_;
};

}  // namespace

int backup(const BackupOptions& options) {
  // Where processors are scarce, the node's writes come first. If that fails, so be it.
  constexpr int kBehindOthers = 10;
  static_cast<void>(::setpriority(PRIO_PROCESS, 0, kBehindOthers));
  Status status = Backup(options).run();
  return status.ok() ? 0 : fail(status.why());
}

}  // namespace zabfs::tool
