#include "fsd/suggestion.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace zabfs::fsd {

namespace {

constexpr size_t kMaxWord = 64;  // the cost is the product of two lengths

// Damerau and Levenshtein's distance, where no letter is changed twice.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> best(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        best[i][j] = i + j;
        continue;
      }
      bool same = a[i - 1] == b[j - 1];
      best[i][j] = std::min(
          {best[i - 1][j] + 1, best[i][j - 1] + 1, best[i - 1][j - 1] + (same ? size_t{0} : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        best[i][j] = std::min(best[i][j], best[i - 2][j - 2] + 1);
      }
    }
  }
  return best[a.size()][b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& names) {
  std::string found;
  size_t least = SIZE_MAX;
  for (const std::string& name : names) {
    size_t differs = distance(word, name);
    if (differs >= least) continue;
    least = differs;
    found = name;
  }
  return found;
}

std::string closest(std::string_view word, const std::vector<std::string>& names) {
  if (word.size() > kMaxWord || names.empty()) return {};
  std::string found = nearest(word, names);
  return distance(word, found) <= std::max<size_t>(word.size() / 3, 1) ? found : "";
}

}  // namespace zabfs::fsd
