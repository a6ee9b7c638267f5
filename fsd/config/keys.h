// The table of zoo.cfg's keys: which there are, what they may be, and where their values go.
//
// ConfigReader finds a line's key here, and `zabfsd --keys` shows the table. A new key is a row in
// keys.cc and nothing else.
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
  std::string help = {};      // the same; ZooKeeper's mean what they mean there
};

const std::vector<Key>& config_keys();
// Of the keys that fit the name, the longest. nullptr: none does.
const Key* find_key(const std::string& name);

}  // namespace zabfs::fsd
