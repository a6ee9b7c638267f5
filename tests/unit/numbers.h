// Numbers that many tests of the consensus name.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "consensus/protocol.h"

namespace zabfs::consensus {

inline constexpr LinkId kLink = 1;
inline constexpr LinkId kOther = 2;
inline constexpr ServerId kTwo{2}, kThree{3};

// Of epoch 1.
inline Zxid zxid(uint32_t counter) { return Zxid::make(1, counter); }

// A txn only borrows its path.
inline const std::string& borrowed_path(uint32_t counter) {
  static const std::vector<std::string> paths = [] {
    std::vector<std::string> all;
    for (int i = 0; i < 1'000; ++i) all.push_back("/" + std::to_string(i));
    return all;
  }();
  return paths.at(counter);
}

inline std::set<ServerId> ids(const std::set<int64_t>& numbers) {
  std::set<ServerId> found;
  for (int64_t id : numbers) found.insert(ServerId{id});
  return found;
}

}  // namespace zabfs::consensus
