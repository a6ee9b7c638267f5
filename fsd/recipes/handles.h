// The recipes, each a Handle of its own; `Room` makes them.
#pragma once

#include <memory>
#include <string>

#include "fsd/recipes/room.h"

namespace zabfs::fsd {

using HandlePtr = std::shared_ptr<Handle>;

// A text that is made anew for each read at offset 0: help, stat, lock, cluster and the like.
HandlePtr open_text(Room& room, Control control, const std::string& directory, Opener opener);
HandlePtr open_acl(Room& room, const std::string& directory, Opener opener);
HandlePtr open_log_level(Room& room, const std::string& directory, Opener opener);
HandlePtr open_members(Room& room, const std::string& directory, Opener opener);
HandlePtr open_snapshot(Room& room, const std::string& directory, Opener opener);
HandlePtr open_watch(Room& room, Control control, const std::string& directory, Opener opener);
HandlePtr open_export(Room& room, const std::string& directory, Opener opener);
HandlePtr open_import(Room& room, const std::string& directory, Opener opener);
HandlePtr open_next(Room& room, const std::string& directory, Opener opener);
HandlePtr open_counter(Room& room, const std::string& directory, Opener opener);
HandlePtr open_queue(Room& room, const std::string& directory, Opener opener);
HandlePtr open_work(Room& room, const std::string& directory, Opener opener);
HandlePtr open_once(Room& room, const std::string& directory, std::string name, int64_t period_ms,
                    Opener opener);
HandlePtr open_leader(Room& room, const std::string& directory, Opener opener);
HandlePtr open_semaphore(Room& room, const std::string& directory, int32_t leases, Opener opener);
HandlePtr open_barrier(Room& room, const std::string& directory, int32_t parties, Opener opener);
HandlePtr open_ring(Room& room, const std::string& directory, std::string key, Opener opener);
HandlePtr open_pick(Room& room, const std::string& directory, Opener opener);
// A child made through the room. `session` owns it if it is an ephemeral that this handle made.
HandlePtr open_child(Room& room, Control control, const std::string& directory, std::string path,
                     tree::Zxid czxid, tree::SessionId session, Opener opener);

std::string cluster_text(Room& room);
std::string health_text(Room& room);
std::string metrics_text(Room& room);

}  // namespace zabfs::fsd
