#include "tree/identities.h"

#include <algorithm>

namespace zabfs::tree {

bool add_identities(Identities& all, const Identities& proven) {
  Identities sum = all;
  for (const Id& id : proven) {
    if (std::find(sum.begin(), sum.end(), id) == sum.end()) sum.push_back(id);
  }
  size_t bytes = 0;
  for (const Id& id : sum) bytes += id.scheme.size() + id.id.size();
  if (sum.size() > kMaxIdentities || bytes > kMaxIdentityBytes) return false;
  all = std::move(sum);
  return true;
}

}  // namespace zabfs::tree
