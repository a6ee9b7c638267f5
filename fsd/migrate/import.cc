#include "fsd/migrate/import.h"

#include <fmt/format.h>

#include <initializer_list>
#include <string_view>
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

  Status from_files() {
    Status status = choose_server({options_.to, options_.from});
    if (!status.ok()) return status;
    StatusOr<JavaData> data = JavaDirectory(options_.from, options_.from_log, progress_).read();
    if (!data.ok()) return data.status();
    status = take(*data, {"Take the data of another server of the ensemble",
                          "the server kept no digests to compare with"});
    if (!status.ok()) return status;
    consensus::WholeHistory history = history_of(*data);
    status = write_new_data(target(), history, progress_);
    if (!status.ok()) return status;
    fmt::print("wrote {}/zabfs: zabfsd with dataDir={} goes on from there, as server {}\n",
               options_.to, options_.to, server_.value);
    return copy_myid(options_.from, options_.to);
  }

  Status from_running(const LiveOptions& live) {
    Status status = choose_server({options_.to});
    if (status.ok()) status = is_free(target());
    if (!status.ok()) return status;
    StatusOr<JavaData> data = LiveSource(live, progress_).read();
    if (!data.ok()) return data.status();
    status = take(*data, {"Run this again",
                          "no transaction came behind the snapshot with a digest to compare with"});
    if (!status.ok()) return status;
    consensus::WholeHistory history = history_of(*data);
    history.tree->set_configuration("");  // the members are those of the new zoo.cfg
    history.ensemble = new_ensemble();
    status = write_new_data(target(), history, progress_);
    if (!status.ok()) return status;
    fmt::print(
        "wrote {0}/zabfs, for server {1} of a new ensemble: zabfsd with dataDir={0} goes on from "
        "there. If it is to have more servers, the others have an empty dataDir; so many of them "
        "as are a majority together with server {1}, and no more, have an empty file `initialize` "
        "in it\n",
        options_.to, server_.value);
    return {};
  }

 private:
  Status choose_server(std::initializer_list<std::string> directories) {
    std::optional<ServerId> server = server_number_in(directories);
    if (options_.server) server = ServerId{*options_.server};
    if (!server) {
      std::string names;
      for (const std::string& name : directories) names += (names.empty() ? "" : " or ") + name;
      return Status::failed(
          fmt::format("myid in {} holds no number: mend it, or give --server", names));
    }
    server_ = *server;
    return {};
  }

  NewData target() const { return {options_.to, options_.to_log, server_}; }

  static consensus::WholeHistory history_of(JavaData& data) {
    return {std::move(data.tree), data.current_epoch, data.accepted_epoch};
  }

  struct Words {
    std::string_view remedy;  // where something is wrong with it
    std::string_view without_digest;
  };
  Status take(const JavaData& data, const Words& words) const {
    for (const std::string& note : data.notes) fmt::print("{}\n", note);
    Status status = judge(data, words.remedy);
    if (status.ok()) describe(data, words.without_digest);
    return status;
  }

  Status judge(const JavaData& data, std::string_view remedy) const {
    if (data.doubts.empty()) return {};
    std::string why;
    for (const std::string& doubt : data.doubts) why += doubt + "\n";
    if (options_.force) {
      fmt::print("{}It is taken over all the same: --force was given\n", why);
      return {};
    }
    return Status::failed(fmt::format("{}{}, or give --force to go on with this", why, remedy));
  }

  static void describe(const JavaData& data, std::string_view without_digest) {
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
    fmt::print("{}\n", data.digests == 0 ? without_digest : "the tree has the server's digest");
  }

  const ImportOptions& options_;
  fsd::Progress progress_;
  ServerId server_;
};

}  // namespace

Status import_zookeeper(const ImportOptions& options) { return Import(options).from_files(); }

Status import_live(const ImportOptions& options, const LiveOptions& live) {
  return Import(options).from_running(live);
}

}  // namespace zabfs::migrate
