// "Did you mean": of some names, the one that a mistyped name is closest to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace zabfs::fsd::manual {

// By letters that are missing, added, wrong or in the place of each other. Empty if none is close:
// at most a third of the letters may differ, and one may in any case.
std::string closest(std::string_view word, const std::vector<std::string>& names);

}  // namespace zabfs::fsd::manual
