// zabfs import-zookeeper: a data directory of a stopped Apache ZooKeeper becomes one of zabfsd's.
//
// It has the same znodes, Stats, ACLs, sessions, zxid and epochs, so clients see one history. Each
// server's own data can be taken over, or that of one: the members agree on the newest when they
// start, as ZooKeeper's servers do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace zabfs::migrate {

struct ImportOptions {
  std::string from, from_log;     // Java's dataDir and dataLogDir; no dataLogDir: the same one
  std::string to, to_log;         // zabfsd's
  std::optional<int64_t> server;  // nullopt: as myid says, or 1
  bool force = false;             // also where something may be missing
};

// Gives the exit code. Says on standard output what was taken, and on standard error what is wrong.
int import_zookeeper(const ImportOptions& options);

}  // namespace zabfs::migrate
