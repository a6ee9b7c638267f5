// `@/holders`: who holds or waits for what, at a directory and below it, on all nodes.
//
// It is read from the tree: locks, elections, leases, barriers and locks of files are all queues of
// ephemeral contenders (view/contenders.h). So every node tells of every node, and nobody joins a
// queue to ask. A pure function of the tree.
#pragma once

#include <string>

#include "fsd/view/view.h"
#include "tree/tree.h"

namespace zabfs::fsd {

// One line a contender, by path and in the order of the queue:
//
//     KIND STATE NODE PID NAME SINCE TOKEN PATH
//
// STATE is `held` or `waiting`, SINCE when it joined the queue, TOKEN its czxid, PATH relative to
// the directory. `PID NAME` is `- ZNODE` for contenders that are not a mount's. Without a test,
// everything may be read.
std::string holders_text(const tree::Tree& tree, const std::string& directory,
                         const NodeTest& may_list = nullptr, const NodeTest& may_read = nullptr);

}  // namespace zabfs::fsd
