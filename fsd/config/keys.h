// The table of zoo.cfg's keys: which there are, what they may be, and where their values go.
//
// ConfigReader finds a line's key here. `zabfsd --keys` shows the table, and the documents have it.
// A new key is a row in own_keys.cc, zookeeper_keys.cc, tls_keys.cc or idle_keys.cc, and nothing
// else.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "fsd/config/properties.h"

namespace zabfs::fsd {

class ConfigReader;

struct Key {
  // Puts a line's value into the configuration, or fails with what is wrong with it.
  using Take = std::function<void(ConfigReader&, const Property&)>;

  std::string name;   // with * at its end: all that begin so
  std::string value;  // what it may be; empty: it has no effect here
  Take take;
  std::string fallback = {};  // what it is without a line; of our own keys
  // What it does, or why it has no effect. Of a key of ZooKeeper's empty if it does what it does
  // there.
  std::string help = {};

  bool is_own() const { return name.starts_with("zabfs."); }
  bool has_effect() const { return !value.empty(); }
};

// All of them: zabfs's, and then ZooKeeper's.
const std::vector<Key>& config_keys();
// Of the keys that fit the name, the longest. nullptr: none does.
const Key* find_key(const std::string& name);
// The key of zabfs's whose name takes the fewest changes to become this one.
std::string nearest_own_key(const std::string& name);

// Where the rows stand.
std::vector<Key> own_keys();
std::vector<Key> zookeeper_keys();
std::vector<Key> tls_keys();
std::vector<Key> idle_keys();  // without effect, each with its reason

}  // namespace zabfs::fsd
