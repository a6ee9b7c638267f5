// zoo.cfg and the command line, as one value.
//
// The file is a Java properties file with ZooKeeper's keys (FORMATS.md 6.6); our own
// begin with `zabfs.`. Unknown keys are warnings, but for those that change how a quorum or a
// leader is chosen: these and malformed values are errors, which name file, line and key.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "consensus/host_config.h"
#include "fsd/admin/config.h"
#include "fsd/fuse/config.h"
#include "fsd/wire/config.h"
#include "tree/status.h"

namespace zabfs::fsd {

struct Config {
  consensus::HostConfig host;
  MountConfig mount;
  wire::WireConfig wire;
  admin::AdminConfig admin;
  admin::MetricsConfig metrics;
  // A core dump would have the passwords and the data of everybody.
  bool core_dumps = false;
  std::vector<std::string> warnings;
};

// Reads the file and dataDir/myid.
StatusOr<Config> load_config(const std::string& file);
// The embedded default: an ensemble of one.
Config standalone_config(const std::string& data_dir, const std::string& mount_point);
// All keys, as two tables in Markdown: our own with their help, and ZooKeeper's.
std::string describe_keys();
// What `conf` tells of it: `key=value` lines under ZooKeeper's names.
std::vector<std::string> settings_of(const Config& config);

}  // namespace zabfs::fsd
