#include "fsd/migrate/import.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <memory>

#include "consensus/data_directory.h"
#include "consensus/history_files.h"
#include "consensus/posix_disk.h"
#include "consensus/snapshotter.h"
#include "fsd/migrate/java_directory.h"
#include "fsd/migrate/target.h"
#include "fsd/progress.h"
#include "tree/types.h"

namespace zabfs::migrate {

using tree::ServerId;

namespace {

// In `myid` of the first of these that has one; nullopt: it is no number.
std::optional<ServerId> number_in(std::initializer_list<std::string> directories) {
  for (const std::string& directory : directories) {
    std::ifstream file(directory + "/myid");
    std::string word;
    if (!file) continue;
    file >> word;
    ServerId id;
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id.value);
    bool is_number = error == std::errc() && end == word.data() + word.size() && id.value >= 0;
    return is_number ? std::optional(id) : std::nullopt;
  }
  return ServerId{1};
}

class Import {
 public:
  explicit Import(const ImportOptions& options)
      : options_(options),
        is_split_(!options.to_log.empty() && options.to_log != options.to),
        snapshots_(options.to, "zabfs"),
        logs_(is_split_ ? options.to_log : options.to, "zabfs") {}

  Status run() {
    std::optional<ServerId> server = number_in({options_.to, options_.from});
    if (options_.server) server = ServerId{*options_.server};
    if (!server) {
      return Status::failed(
          fmt::format("myid in {} or {} holds no number: mend it, or give --server", options_.to,
                      options_.from));
    }
    server_ = *server;
    StatusOr<JavaData> data = JavaDirectory(options_.from, options_.from_log, progress_).read();
    if (!data.ok()) return data.status();
    for (const std::string& note : data->notes) fmt::print("{}\n", note);
    Status status = judge(*data);
    if (!status.ok()) return status;
    describe(*data);
    status = act_as_owner_of(options_.to);
    if (status.ok()) status = write(*data);
    if (status.ok()) status = copy_myid(options_.from, options_.to);
    return status;
  }

 private:
  Status judge(const JavaData& data) const {
    if (data.doubts.empty()) return {};
    std::string why;
    for (const std::string& doubt : data.doubts) why += doubt + "\n";
    if (options_.force) {
      fmt::print("{}It is taken over all the same: --force was given\n", why);
      return {};
    }
    return Status::failed(
        why +
        "Take the data of another server of the ensemble, or give --force to go on with this");
  }

  static void describe(const JavaData& data) {
    const tree::Tree& tree = *data.tree;
    size_t ephemerals = 0;
    for (const auto& [id, session] : tree.sessions()) ephemerals += tree.ephemerals_of(id).size();
    fmt::print(
        "{} znodes, {} bytes of data, {} sessions, {} ephemerals, {} containers, {} with a TTL\n",
        tree.node_count(), tree.data_bytes(), tree.sessions().size(), ephemerals,
        tree.containers().size(), tree.ttl_nodes().size());
    if (data.removed_ephemerals > 0) {
      fmt::print(
          "{} ephemerals of sessions that are over are gone, as after a start of ZooKeeper's\n",
          data.removed_ephemerals);
    }
    fmt::print("{} transactions behind the snapshot; last zxid 0x{:x}, epoch {}\n", data.txns,
               tree.last_zxid().value, data.current_epoch);
    fmt::print("{}\n", data.digests == 0 ? "the server kept no digests to compare with"
                                         : "the tree has the server's digest");
  }

  Status write(JavaData& data) {
    Status status = snapshots_.prepare();
    if (status.ok() && is_split_) status = logs_.prepare();
    if (!status.ok()) return status;
    const Target& logs = is_split_ ? logs_ : snapshots_;
    consensus::DiskStatus written = consensus::DataDirectory::create(snapshots_.path(), server_);
    if (written.ok()) written = consensus::DataDirectory::create(logs.path(), server_);
    consensus::PosixDisk snapshot_disk(snapshots_.path()), log_disk(logs.path());
    consensus::WholeHistory history{std::move(data.tree), data.current_epoch, data.accepted_epoch};
    progress_.begin("writes " + options_.to + "/zabfs",
                    consensus::Snapshotter::estimate_bytes(*history.tree));
    if (written.ok()) {
      written = consensus::write_history(log_disk, snapshot_disk, history,
                                         [this](uint64_t bytes) { progress_.at(bytes); });
    }
    progress_.clear();
    if (!written.ok()) return Status::failed(written.message());
    if (is_split_) status = logs_.finish();  // first: without the other it is no data directory
    if (status.ok()) status = snapshots_.finish();
    if (status.ok()) {
      fmt::print("wrote {}/zabfs: zabfsd with dataDir={} goes on from there, as server {}\n",
                 options_.to, options_.to, server_.value);
    }
    return status;
  }

  const ImportOptions& options_;
  const bool is_split_;
  ServerId server_;
  fsd::Progress progress_;
  Target snapshots_, logs_;
};

}  // namespace

Status import_zookeeper(const ImportOptions& options) { return Import(options).run(); }

}  // namespace zabfs::migrate
