// "Did you mean": of some names, the one that a mistyped name is closest to, by letters that are
// missing, added, wrong or in the place of each other.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace zabfs::fsd {

// The first of those that differ least.
std::string nearest(std::string_view word, const std::vector<std::string>& names);
// The same, or empty if none is close: at most a third of the letters may differ, and one may in
// any case.
std::string closest(std::string_view word, const std::vector<std::string>& names);

}  // namespace zabfs::fsd
