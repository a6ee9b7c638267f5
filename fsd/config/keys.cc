#include "fsd/config/keys.h"

#include <algorithm>
#include <iterator>

#include "fsd/suggestion.h"

namespace zabfs::fsd {

namespace {

std::vector<Key> make_keys() {
  std::vector<Key> keys = own_keys();
  for (std::vector<Key> more : {zookeeper_keys(), tls_keys(), idle_keys()}) {
    std::move(more.begin(), more.end(), std::back_inserter(keys));
  }
  return keys;
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
  std::vector<std::string> names;
  for (const Key& key : config_keys()) {
    if (key.is_own()) names.push_back(key.name);
  }
  return nearest(name, names);
}

}  // namespace zabfs::fsd
