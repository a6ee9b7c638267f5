#include "fsd/migrate/import.h"

#include <fmt/format.h>

#include <utility>

#include "fsd/migrate/java_directory.h"
#include "fsd/migrate/new_data.h"
#include "fsd/migrate/target.h"
#include "fsd/progress.h"
#include "tree/types.h"

namespace zabfs::migrate {

using tree::ServerId;

namespace {

class Import {
 public:
  explicit Import(const ImportOptions& options) : options_(options) {}

  Status run() {
    std::optional<ServerId> server = server_number_in({options_.to, options_.from});
    if (options_.server) server = ServerId{*options_.server};
    if (!server) {
      return Status::failed(
          fmt::format("myid in {} or {} holds no number: mend it, or give --server", options_.to,
                      options_.from));
    }
    StatusOr<JavaData> data = JavaDirectory(options_.from, options_.from_log, progress_).read();
    if (!data.ok()) return data.status();
    for (const std::string& note : data->notes) fmt::print("{}\n", note);
    Status status = judge(*data);
    if (!status.ok()) return status;
    describe(*data);
    consensus::WholeHistory history{std::move(data->tree), data->current_epoch,
                                    data->accepted_epoch};
    status = write_new_data({options_.to, options_.to_log, *server}, history, progress_);
    if (!status.ok()) return status;
    fmt::print("wrote {}/zabfs: zabfsd with dataDir={} goes on from there, as server {}\n",
               options_.to, options_.to, server->value);
    return copy_myid(options_.from, options_.to);
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

  const ImportOptions& options_;
  fsd::Progress progress_;
};

}  // namespace

Status import_zookeeper(const ImportOptions& options) { return Import(options).run(); }

}  // namespace zabfs::migrate
