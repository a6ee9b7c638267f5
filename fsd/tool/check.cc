// zabfs check: the files of a stopped node.
#include "consensus/check.h"

#include <fmt/format.h>

#include "consensus/data_directory.h"
#include "consensus/posix_disk.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {

int check(const std::string& directory, const std::string& log_directory) {
  using consensus::DataDirectory;
  StatusOr<std::string> snapshots = DataDirectory::find_storage(directory);
  if (!snapshots.ok()) return fail(snapshots.why(), kUsage);
  StatusOr<std::string> log =
      log_directory.empty() ? snapshots : DataDirectory::find_storage(log_directory);
  if (!log.ok()) return fail(log.why(), kUsage);
  if (DataDirectory::is_in_use(*snapshots)) {
    fmt::print("a zabfsd runs on {}: what it writes at this moment may be shown as damage\n",
               *snapshots);
  }
  consensus::PosixDisk snapshot_disk(*snapshots), log_disk(*log);
  consensus::CheckResult result = consensus::check_storage(log_disk, snapshot_disk);
  for (const std::string& line : result.found) fmt::print("{}\n", line);
  for (const std::string& line : result.damage) fmt::print("DAMAGE: {}\n", line);
  if (result.damage.empty()) fmt::print("all is well\n");
  return result.damage.empty() ? 0 : kFailed;
}

}  // namespace zabfs::tool
