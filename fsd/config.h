// zoo.cfg and the command line, as one value.
//
// The file is a Java properties file with ZooKeeper's keys (FORMATS.md 6.6); our own
// begin with `zabfs.`. Unknown keys are warnings, but for those that change how a quorum or a
// leader is chosen: these and malformed values are errors, which name file, line and key.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "consensus/host.h"
#include "fsd/admin/config.h"
#include "fsd/wire/config.h"

namespace zabfs::fsd {

struct MountConfig {
  std::string point;          // empty: nothing is mounted
  uint32_t uid = 0, gid = 0;  // of znodes without a posix entry
  uint32_t root_mode = 0755;  // of a new tree's root, which is root's
  int64_t quorum_grace_ms = 5'000;
  int64_t commit_timeout_ms = 30'000;
  int32_t session_timeout_ms = 6'000;
  bool allow_other = true;
  bool protects_point = true;  // nothing is written to the directory while it is not mounted
  bool inotify = true;         // tell inotify of what other nodes do
  // Contents that did not change for so long are read through the kernel's page cache; 0: never.
  int64_t cache_after_ms = 1'000;
};

struct Config {
  consensus::HostConfig host;
  MountConfig mount;
  wire::WireConfig wire;
  admin::AdminConfig admin;
  // A core dump would have the passwords and the data of everybody.
  bool core_dumps = false;
  std::vector<std::string> warnings;
};

// Reads the file and dataDir/myid. An empty string, or what is wrong.
std::string load_config(const std::string& file, Config& config);
// The embedded default: an ensemble of one.
std::string standalone_config(const std::string& data_dir, const std::string& mount,
                              Config& config);
// What `conf` tells of it: `key=value` lines under ZooKeeper's names.
std::vector<std::string> settings_of(const Config& config);

}  // namespace zabfs::fsd
