// zoo.cfg and the command line, as one value.
//
// The file is a Java properties file with ZooKeeper's keys (FORMATS.md 6.6), and whatever Java
// starts from is a configuration here. Our own keys begin with `zabfs.`. Keys of ZooKeeper's that
// are unknown or have no effect here are ignored, and listed. If it would open a door, or change
// how a quorum or a leader is chosen, to ignore a key, then the key is an error. So is an unknown
// key of ours. Errors name file, line and key.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "consensus/host_config.h"
#include "fsd/admin/config.h"
#include "fsd/audit/config.h"
#include "fsd/fuse/config.h"
#include "fsd/log_level.h"
#include "fsd/wire/config.h"
#include "tree/status.h"
#include "tree/types.h"

namespace zabfs::fsd {

struct Config {
  consensus::HostConfig host;
  MountConfig mount;
  wire::WireConfig wire;
  admin::AdminConfig admin;
  admin::MetricsConfig metrics;
  audit::AuditConfig audit;
  // A core dump would have the passwords and the data of everybody.
  bool core_dumps = false;
  spdlog::level::level_enum log_level = spdlog::level::info;
  size_t jute_max_buffer = tree::Limits::kDefaultBytes;
  std::vector<std::string> warnings;
  std::vector<std::string> ignored;  // the lines without effect, each with its reason
};

// Reads the file and dataDir/myid.
StatusOr<Config> load_config(const std::string& file);
// The embedded default: an ensemble of one.
Config standalone_config(const std::string& data_dir, const std::string& mount_point);
// Reads it and the files that it names, and starts nothing. A line each: what is ignored and why,
// what is to be thought over, and what zabfsd would run with.
StatusOr<std::vector<std::string>> check_config(const std::string& file);
// All keys, as two tables in Markdown: our own, and ZooKeeper's.
std::string describe_keys();
// What `conf` tells of it: `key=value` lines under ZooKeeper's names.
std::vector<std::string> settings_of(const Config& config);

}  // namespace zabfs::fsd
