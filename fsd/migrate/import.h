// zabfs import-zookeeper: the data of Apache ZooKeeper becomes a data directory of zabfsd's.
//
// It has the same znodes, Stats, ACLs, sessions, zxid and epochs, so clients see one history. Of
// stopped servers each one's own data can be taken over, or that of one: the members agree on the
// newest when they start, as ZooKeeper's servers do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "fsd/migrate/live_source.h"
#include "tree/status.h"

namespace zabfs::migrate {

struct ImportOptions {
  std::string from, from_log;     // Java's dataDir and dataLogDir; no dataLogDir: the same one
  std::string to, to_log;         // zabfsd's
  std::optional<int64_t> server;  // nullopt: as myid says, or 1
  bool force = false;             // also where something may be missing
};

// Says on standard output what was taken.
Status import_zookeeper(const ImportOptions& options);
// The same out of an ensemble that runs and goes on running (live_source.h): another one begins
// with its tree. Of `options`, `from` and `from_log` do not matter.
Status import_live(const ImportOptions& options, const LiveOptions& live);

}  // namespace zabfs::migrate
