// The committed txns of a node's log in their order, with what is kept of the past (kept_files.h).
//
// A log also holds txns that were never committed: a leader that dies leaves some, and TRUNC takes
// them back. A txn is told of only when a later record says that it was committed, or at the end of
// the log if it is not after `through`, which the caller knows to be committed.
//
// A history can have breaks: damage, a segment that is gone, a leader's snapshot, or committed txns
// that a leader took back. Each of them is told of, and nothing is invented in its place.
//
// Limits: a segment, and the txns of one synchronisation with a leader, are in memory. Reading goes
// on while the node writes; what it writes meanwhile may be seen or not.
//
// Pure, but for the disk that it reads.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "consensus/disk.h"
#include "tree/types.h"

namespace zabfs::consensus {

// Each of them says whether to go on. They are called in the order of the log.
struct CommittedLogVisitor {
  // The log begins behind that zxid: what comes first is the next txn.
  std::function<bool(tree::Zxid base)> begin;
  std::function<bool(tree::Zxid zxid, std::string_view txn)> txn;
  // Something is missing, and `why`. The log goes on behind `base`; zero: it is not known.
  std::function<bool(const std::string& why, tree::Zxid base)> gap;
};

// Reads from the segment on that has what comes after `after`; zero: from the first.
void read_committed(Disk& files, tree::Zxid after, tree::Zxid through,
                    const CommittedLogVisitor& visitor);

}  // namespace zabfs::consensus
