// The data of a stopped Apache ZooKeeper server: its files, read as Java reads them at a start.
//
//   DATADIR/version-2/{snapshot.ZXID[.gz|.snappy],acceptedEpoch,currentEpoch}
//   DATALOGDIR/version-2/log.ZXID
//
// The newest snapshot that is whole counts, and the log from there on. Nothing is changed. Java
// locks nothing; so it is noticed if a server writes there meanwhile.
//
// Memory: the tree, and the longest znode or transaction (128 MiB at most).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fsd/migrate/java_data.h"
#include "fsd/progress.h"
#include "tree/java_replay.h"
#include "tree/status.h"
#include "tree/tree.h"

namespace zabfs::migrate {

class JavaDirectory {
 public:
  // Either is a dataDir or its `version-2`. An empty `log_directory` is the same one.
  JavaDirectory(const std::string& directory, const std::string& log_directory,
                fsd::Progress& progress);

  // Fails, with the file, the offset and the remedy, if there is no data that Java would start
  // from.
  StatusOr<JavaData> read();

 private:
  struct Found {
    std::string path;
    tree::Zxid zxid;
    uint64_t size = 0;
    int64_t modified_ns = 0;
    bool operator==(const Found&) const = default;
  };
  using Piece = std::function<Status(std::string_view bytes)>;

  static StatusOr<std::vector<Found>> list(const std::string& directory, std::string_view prefix);
  Status find();
  StatusOr<tree::JavaSnapshot> read_snapshot(const Found& file);
  StatusOr<tree::JavaSnapshot> read_newest_snapshot(JavaData& data);
  Status read_log(const Found& file, bool is_last, tree::JavaReplay& replay, JavaData& data);
  Status read_logs(tree::Zxid from, tree::JavaReplay& replay, JavaData& data);
  Status read_file(const Found& file, const Piece& piece);
  StatusOr<std::optional<uint32_t>> read_epoch(const std::string& name);
  Status read_epochs(JavaData& data);

  const std::string snapshot_directory_, log_directory_;
  fsd::Progress& progress_;
  std::vector<Found> snapshots_, logs_;  // oldest first
};

}  // namespace zabfs::migrate
