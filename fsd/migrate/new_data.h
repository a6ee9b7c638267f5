// All the data of a node that does not run: read whole, and a new data directory out of it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>

#include "consensus/history_files.h"
#include "fsd/progress.h"
#include "tree/status.h"
#include "tree/types.h"

namespace zabfs::migrate {

// Out of a dataDir and a dataLogDir of zabfsd's; without the latter it is the same one. Changes
// nothing there.
StatusOr<consensus::WholeHistory> read_stopped_node(
    const std::string& from, const std::string& from_log, fsd::Progress& progress,
    consensus::Tail tail = consensus::Tail::kInTree);

struct NewData {
  std::string to, to_log;  // dataDir and dataLogDir; no dataLogDir: the same one
  tree::ServerId server;
};
// Fails if one of the directories has a `zabfs` already.
Status is_free(const NewData& data);
// Each of the directories gets a `zabfs`, there whole or not at all, and its owner's (target.h).
Status write_new_data(const NewData& data, consensus::WholeHistory& history,
                      fsd::Progress& progress);

// A number for a history that is the beginning of another ensemble (consensus::WholeHistory).
int64_t new_ensemble();

// In `myid` of the first of these that has one, or 1; nullopt: it is no number.
std::optional<tree::ServerId> server_number_in(std::initializer_list<std::string> directories);

}  // namespace zabfs::migrate
