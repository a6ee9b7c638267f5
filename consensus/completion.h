// How a replica answers a request of its own node.
#pragma once

#include <functional>

#include "tree/tree.h"

namespace zabfs::consensus {

// Runs on the strand, once. kConnectionLoss means unknown: the request may still be committed.
using Completion = std::function<void(const tree::Outcome&)>;

}  // namespace zabfs::consensus
