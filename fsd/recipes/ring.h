// Choosing among a directory's children: consistent hashing (`@/ring/KEY`) and the weights that
// `@/pick` shares. Pure functions of the tree.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fsd/view/view.h"
#include "tree/tree.h"

namespace zabfs::fsd {

struct Candidate {
  std::string name;
  // The child's data, if that is a positive number and all who may list the directory may read it;
  // else 1. So it is the same for all of them, and tells nobody what is kept from them.
  double weight = 1;
};

// The children that may be chosen, by name: no contenders, nothing of a recipe's, none whose data
// is the number 0.
std::vector<Candidate> candidates_of(const tree::Tree& tree, const std::string& directory,
                                     const ViewOptions& options);

// Weighted rendezvous hashing: each candidate draws a number from the key and its own name, and the
// best one wins. So a key moves only when its winner goes or a new one beats it, and N candidates
// share the keys by their weights. Empty if there is no candidate.
std::string ring_choice(std::string_view key, const std::vector<Candidate>& candidates);

}  // namespace zabfs::fsd
