// Watches of the clients connected to this node: who is told of what (FORMATS.md 2.2;
// Java: WatchManager, DataTree).
//
// Two tables: data watches (getData, exists) and child watches (getChildren). addWatch writes both.
// The watches of a connection are found without looking at anybody else's. Pure; guarded by its
// owner.
//
// Memory has bounds, for one connection and for all (WatchLimits), and nobody has more than half of
// what is left to others. A watch beyond them is not set, and whoever asked for it is told.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
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
  AclTable::Number acl;  // who can't read by this list is not told
};

// In bytes, as allocated.
struct WatchLimits {
  size_t of_one = SIZE_MAX;
  size_t of_all = SIZE_MAX;
};

class WatchTables {
 public:
  explicit WatchTables(WatchLimits limits = {}) : limits_(limits) {}

  // False: there is no room, and nothing was changed.
  [[nodiscard]] bool add_data(Watcher watcher, std::string_view path,
                              WatchMode mode = WatchMode::kOneShot);
  [[nodiscard]] bool add_child(Watcher watcher, std::string_view path,
                               WatchMode mode = WatchMode::kOneShot);
  // addWatch: into both tables.
  [[nodiscard]] bool add(Watcher watcher, std::string_view path, WatchMode mode);
  bool contains(Watcher watcher, std::string_view path, WatcherType type) const;
  // Whether any watcher has one: what Java's checkWatches tells (WatchManager.containsWatcher).
  bool anyone(std::string_view path, WatcherType type) const;
  // False if there was none of that type at exactly this path.
  bool remove(Watcher watcher, std::string_view path, WatcherType type);
  // Up to `most` of its watches; false if there are none left. Somebody may have very many.
  bool remove_some(Watcher watcher, size_t most);

  // The events of one change, in delivery order, appended to `events`; one-shot watches are spent.
  void fire(const Change& change, std::vector<WatchEvent>& events);

  size_t count() const { return data_.count + child_.count; }
  size_t bytes() const { return bytes_; }
  size_t data_count() const { return data_.count; }
  size_t data_path_count() const { return data_.paths.size(); }
  // Paths that each watcher has data watches on, and the other way round; sorted.
  std::map<Watcher, std::set<std::string>> data_paths_by_watcher() const;
  std::map<std::string, std::set<Watcher>> data_watchers_by_path() const;

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  using Watchers = std::map<Watcher, WatchMode>;
  struct Table {
    std::unordered_map<std::string, Watchers, Hash, std::equal_to<>>
        paths;                                                             // never iterated to act
    std::unordered_map<Watcher, std::set<const std::string*>> by_watcher;  // keys of `paths`
    size_t recursive = 0;  // if there are none, ancestors need no look
    size_t count = 0;
  };

  static size_t cost(std::string_view path);
  bool has_room(Watcher watcher, size_t bytes) const;
  void add_to(Table& table, Watcher watcher, std::string_view path, WatchMode mode);
  bool take_from(Table& table, Watcher watcher, std::string_view path);
  bool forget_some(Table& table, Watcher watcher, size_t& most);
  void fire_table(Table& table, std::string_view path, EventType type, size_t skip_from,
                  AclTable::Number acl, std::vector<WatchEvent>& events);
  WatchLimits limits_;
  Table data_;
  Table child_;
  size_t bytes_ = 0;
  std::unordered_map<Watcher, size_t> bytes_of_;
};

}  // namespace zabfs::tree
