// zabfs export-zookeeper: a data directory of a stopped zabfsd becomes one of Apache ZooKeeper's.
#pragma once

#include <string>

#include "tree/status.h"

namespace zabfs::migrate {

struct ExportOptions {
  std::string from, from_log;  // zabfsd's dataDir and dataLogDir; no dataLogDir: the same one
  std::string to;              // Java's dataDir, which gets a `version-2`
};

// Says on standard output what was written and what was left out.
Status export_zookeeper(const ExportOptions& options);

}  // namespace zabfs::migrate
