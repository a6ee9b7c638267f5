// Watches of the clients connected to this node: who is told of what (zookeeper-formats.md 2.2;
// Java: WatchManager, DataTree).
//
// Two tables: data watches (getData, exists) and child watches (getChildren). addWatch writes both.
// Pure; guarded by the replica's owner.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tree/tree.h"

namespace zabfs::tree {

enum class WatchMode { kOneShot, kPersistent, kPersistentRecursive };
enum class EventType : int32_t {
  kNodeCreated = 1,
  kNodeDeleted = 2,
  kNodeDataChanged = 3,
  kNodeChildrenChanged = 4,
};
enum class WatcherType : int32_t { kChildren = 1, kData = 2, kAny = 3 };

// A connection, as its owner numbers it.
using Watcher = uint64_t;

struct WatchEvent {
  Watcher watcher;
  EventType type;
  std::string path;
};

class WatchTables {
 public:
  void add_data(Watcher watcher, std::string_view path, WatchMode mode = WatchMode::kOneShot);
  void add_child(Watcher watcher, std::string_view path, WatchMode mode = WatchMode::kOneShot);
  // addWatch: into both tables.
  void add(Watcher watcher, std::string_view path, WatchMode mode);
  bool contains(Watcher watcher, std::string_view path, WatcherType type) const;
  // False if there was none of that type at exactly this path.
  bool remove(Watcher watcher, std::string_view path, WatcherType type);
  void remove_all(Watcher watcher);

  // The events of one change, in delivery order, appended to `events`; one-shot watches are spent.
  void fire(const Change& change, std::vector<WatchEvent>& events);

 private:
  using Table = std::map<std::string, std::map<Watcher, WatchMode>, std::less<>>;
  static void fire_table(Table& table, std::string_view path, EventType type, size_t skip_from,
                         std::vector<WatchEvent>& events);
  Table data_;
  Table child_;
};

}  // namespace zabfs::tree
