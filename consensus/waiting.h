// What a node without a leader waits for, whether it is a member, and what its operator can do
// about it.
//
// Pure. Zab (zab.h) reports the facts; waiting.cc makes sentences of them, for the log and for
// `@/cluster`.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "consensus/membership.h"

namespace zabfs::consensus {

struct Waiting {
  ServerId me;
  bool serving = false;
  bool has_vote = true;
  bool is_empty = false;         // nothing was ever here
  bool begins_by_itself = true;  // a new ensemble does, once all voters have been seen empty
  Membership membership;         // as it counts now
  Ensemble configured;           // in zoo.cfg
  std::set<ServerId> heard;      // voters, lately
  std::set<ServerId> seen_empty;
  std::set<ServerId> other_voters;  // members whose configuration of the same version has others
};

// One sentence a line of the log; none: nothing is amiss.
std::vector<std::string> sentences(const Waiting& waiting);
// How zoo.cfg differs from the committed configuration, which counts; empty if it does not.
std::string difference(const Waiting& waiting);

}  // namespace zabfs::consensus
