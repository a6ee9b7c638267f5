// A snapshot in a store, in one step.
#pragma once

#include <memory>
#include <string>

#include "consensus/snapshot_store.h"
#include "tree/snapshot.h"
#include "tree/tree.h"

namespace zabfs::consensus {

inline DiskStatus put_snapshot(SnapshotStore& store, tree::Zxid at, tree::Tree& tree,
                               size_t chunk_bytes) {
  std::unique_ptr<tree::SnapshotCursor> cursor = tree.begin_snapshot();
  return store.write(at, [&](std::string& out) { return cursor->next(out, chunk_bytes); });
}

// Of an empty tree; what counts is its name.
inline DiskStatus put_snapshot(SnapshotStore& store, tree::Zxid at) {
  tree::Tree tree;
  return put_snapshot(store, at, tree, 1u << 10);
}

}  // namespace zabfs::consensus
