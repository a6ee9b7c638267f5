#include "fsd/migrate/java_data.h"

#include <fmt/format.h>

#include <optional>

namespace zabfs::migrate {

void take_replay(tree::JavaReplay& replay, JavaData& data) {
  data.txns = replay.applied();
  data.digests = replay.compared();
  data.removed_ephemerals = replay.removed_ephemerals();
  for (const auto& [before, after] : replay.gaps()) {
    data.doubts.push_back(
        fmt::format("the log goes on from 0x{:x} to 0x{:x}: what was between is lost", before.value,
                    after.value));
  }
  if (std::optional<tree::Zxid> zxid = replay.differs_since()) {
    data.doubts.push_back(fmt::format(
        "from 0x{:x} on the tree has another digest than the server's had", zxid->value));
  }
  data.tree = replay.take_tree();
}

}  // namespace zabfs::migrate
