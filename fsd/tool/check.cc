// zabfs check: the files of a stopped node.
#include "consensus/check.h"

#include <fmt/format.h>

#include <filesystem>

#include "consensus/data_directory.h"
#include "consensus/posix_disk.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {

// DIR is a dataDir (its zabfs folder is meant) or that folder itself.
int check(const std::string& directory, const std::string& log_directory) {
  auto storage = [](const std::string& path) {
    return std::filesystem::is_directory(path + "/zabfs") ? path + "/zabfs" : path;
  };
  std::string snapshots = storage(directory);
  std::string log = log_directory.empty() ? snapshots : storage(log_directory);
  for (const std::string& path : {snapshots, log}) {
    if (!std::filesystem::exists(path + "/identity")) {
      return fail(fmt::format("{} holds no data of zabfsd's", path), kUsage);
    }
  }
  if (consensus::DataDirectory::is_in_use(snapshots)) {
    fmt::print("a zabfsd runs on {}: what it writes at this moment may be shown as damage\n",
               snapshots);
  }
  consensus::PosixDisk snapshot_disk(snapshots), log_disk(log);
  consensus::CheckResult result = consensus::check_storage(log_disk, snapshot_disk);
  for (const std::string& line : result.found) fmt::print("{}\n", line);
  for (const std::string& line : result.damage) fmt::print("DAMAGE: {}\n", line);
  if (result.damage.empty()) fmt::print("all is well\n");
  return result.damage.empty() ? 0 : kFailed;
}

}  // namespace zabfs::tool
