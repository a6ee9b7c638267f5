#include "fsd/config/keys.h"

#include <algorithm>
#include <iterator>
#include <numeric>

namespace zabfs::fsd {

namespace {

std::vector<Key> make_keys() {
  std::vector<Key> keys = own_keys();
  for (std::vector<Key> more : {zookeeper_keys(), tls_keys(), idle_keys()}) {
    std::move(more.begin(), more.end(), std::back_inserter(keys));
  }
  return keys;
}

// The fewest characters to insert, remove or replace (Levenshtein).
size_t distance(const std::string& from, const std::string& to) {
  std::vector<size_t> row(to.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (char c : from) {
    size_t diagonal = row[0]++;
    for (size_t at = 1; at <= to.size(); ++at) {
      size_t replaced = diagonal + (to[at - 1] == c ? 0 : 1);
      diagonal = row[at];
      row[at] = std::min({replaced, row[at] + 1, row[at - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

const std::vector<Key>& config_keys() {
  static const std::vector<Key> kKeys = make_keys();
  return kKeys;
}

const Key* find_key(const std::string& name) {
  const Key* found = nullptr;
  for (const Key& key : config_keys()) {
    if (name == key.name) return &key;
    bool fits =
        key.name.ends_with('*') && name.starts_with(key.name.substr(0, key.name.size() - 1));
    if (fits && (found == nullptr || key.name.size() > found->name.size())) found = &key;
  }
  return found;
}

std::string nearest_own_key(const std::string& name) {
  std::string nearest;
  size_t least = SIZE_MAX;
  for (const Key& key : config_keys()) {
    size_t changes = key.is_own() ? distance(name, key.name) : SIZE_MAX;
    if (changes < least) {
      least = changes;
      nearest = key.name;
    }
  }
  return nearest;
}

}  // namespace zabfs::fsd
