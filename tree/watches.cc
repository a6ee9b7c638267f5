#include "tree/watches.h"

#include <algorithm>

#include "tree/path.h"

namespace zabfs::tree {

// What one watch takes in one table: a node of each of its three maps, and its path twice over
// where nobody else watches that.
size_t WatchTables::cost(std::string_view path) {
  constexpr size_t kNodes = 288;
  constexpr size_t kInPlace = 16;  // a short string needs no allocation of its own
  return kNodes + (path.size() < kInPlace ? 0 : path.size() + kInPlace);
}

bool WatchTables::has_room(Watcher watcher, size_t bytes) const {
  auto own = bytes_of_.find(watcher);
  size_t wanted = (own == bytes_of_.end() ? 0 : own->second) + bytes;
  if (wanted > limits_.of_one || bytes_ + bytes > limits_.of_all) return false;
  // Those who want all of it always leave something to who comes later.
  return wanted <= (limits_.of_all - bytes_ - bytes) / 2;
}

void WatchTables::add_to(Table& table, Watcher watcher, std::string_view path, WatchMode mode) {
  auto watched = table.paths.find(path);
  if (watched == table.paths.end()) watched = table.paths.try_emplace(std::string(path)).first;
  auto [entry, added] = watched->second.try_emplace(watcher, mode);
  if (added) {
    ++table.count;
    table.by_watcher[watcher].insert(&watched->first);
    bytes_ += cost(path);
    bytes_of_[watcher] += cost(path);
  } else if (entry->second == WatchMode::kPersistentRecursive) {
    --table.recursive;
  }
  entry->second = mode;
  if (mode == WatchMode::kPersistentRecursive) ++table.recursive;
}

bool WatchTables::take_from(Table& table, Watcher watcher, std::string_view path) {
  auto watched = table.paths.find(path);
  if (watched == table.paths.end()) return false;
  auto entry = watched->second.find(watcher);
  if (entry == watched->second.end()) return false;
  if (entry->second == WatchMode::kPersistentRecursive) --table.recursive;
  --table.count;
  bytes_ -= cost(path);
  auto bytes = bytes_of_.find(watcher);
  bytes->second -= cost(path);
  if (bytes->second == 0) bytes_of_.erase(bytes);
  watched->second.erase(entry);
  auto own = table.by_watcher.find(watcher);
  own->second.erase(&watched->first);
  if (own->second.empty()) table.by_watcher.erase(own);
  if (watched->second.empty()) table.paths.erase(watched);
  return true;
}

bool WatchTables::forget_some(Table& table, Watcher watcher, size_t& most) {
  while (true) {
    auto own = table.by_watcher.find(watcher);
    if (own == table.by_watcher.end()) return false;
    if (most == 0) return true;
    --most;
    std::string path = **own->second.begin();  // a copy: the key goes with the last watch on it
    take_from(table, watcher, path);
  }
}

bool WatchTables::add_data(Watcher watcher, std::string_view path, WatchMode mode) {
  if (!has_room(watcher, cost(path)) && !contains(watcher, path, WatcherType::kData)) return false;
  add_to(data_, watcher, path, mode);
  return true;
}

bool WatchTables::add_child(Watcher watcher, std::string_view path, WatchMode mode) {
  bool has_one = contains(watcher, path, WatcherType::kChildren);
  if (!has_room(watcher, cost(path)) && !has_one) return false;
  add_to(child_, watcher, path, mode);
  return true;
}

bool WatchTables::add(Watcher watcher, std::string_view path, WatchMode mode) {
  bool has_both = contains(watcher, path, WatcherType::kData) &&
                  contains(watcher, path, WatcherType::kChildren);
  if (!has_room(watcher, 2 * cost(path)) && !has_both) return false;
  add_to(data_, watcher, path, mode);
  add_to(child_, watcher, path, mode);
  return true;
}

bool WatchTables::contains(Watcher watcher, std::string_view path, WatcherType type) const {
  auto has = [&](const Table& table) {
    auto watched = table.paths.find(path);
    return watched != table.paths.end() && watched->second.contains(watcher);
  };
  return (type != WatcherType::kChildren && has(data_)) ||
         (type != WatcherType::kData && has(child_));
}

bool WatchTables::anyone(std::string_view path, WatcherType type) const {
  if (path.empty()) return false;
  return (type != WatcherType::kChildren && data_.paths.contains(path)) ||
         (type != WatcherType::kData && child_.paths.contains(path));
}

bool WatchTables::remove(Watcher watcher, std::string_view path, WatcherType type) {
  bool removed = false;
  if (type != WatcherType::kChildren) removed |= take_from(data_, watcher, path);
  if (type != WatcherType::kData) removed |= take_from(child_, watcher, path);
  return removed;
}

bool WatchTables::remove_some(Watcher watcher, size_t most) {
  return forget_some(data_, watcher, most) || forget_some(child_, watcher, most);
}

void WatchTables::fire(const Change& change, std::vector<WatchEvent>& events) {
  size_t first = events.size();
  auto told_parent = [&] {
    fire_table(child_, parent_path(change.path), EventType::kNodeChildrenChanged, events.size(),
               change.parent_acl, events);
  };
  switch (change.type) {
    case ChangeType::kCreated:
      fire_table(data_, change.path, EventType::kNodeCreated, first, change.acl, events);
      return told_parent();
    case ChangeType::kDeleted:
      fire_table(data_, change.path, EventType::kNodeDeleted, first, change.acl, events);
      fire_table(child_, change.path, EventType::kNodeDeleted, first, change.acl, events);
      return told_parent();
    case ChangeType::kDataChanged:
      fire_table(data_, change.path, EventType::kNodeDataChanged, first, change.acl, events);
      return;
    case ChangeType::kAclChanged:
      return;
  }
}

// Fires the watches of `path` and the recursive ones above it; a watcher that has an event at or
// after `skip_from` already is not told again.
void WatchTables::fire_table(Table& table, std::string_view path, EventType type, size_t skip_from,
                             AclTable::Number acl, std::vector<WatchEvent>& events) {
  if (table.count == 0) return;
  std::vector<Watcher> told;  // sorted; one event a watcher, though it watches at several heights
  auto note_told = [&, from = skip_from]() mutable {
    if (from == events.size()) return;
    for (; from < events.size(); ++from) told.push_back(events[from].watcher);
    std::sort(told.begin(), told.end());
  };
  note_told();
  auto tell = [&](Watcher watcher) {
    if (std::binary_search(told.begin(), told.end(), watcher)) return;
    events.push_back({watcher, type, std::string(path), acl});
  };
  bool is_children_changed = type == EventType::kNodeChildrenChanged;
  std::string_view at = path;
  while (true) {
    auto watched = table.paths.find(at);
    if (watched != table.paths.end()) {
      std::vector<Watcher> spent;
      for (auto [watcher, mode] : watched->second) {
        bool recursive = mode == WatchMode::kPersistentRecursive;
        if (recursive ? is_children_changed : at != path) continue;
        tell(watcher);
        if (mode == WatchMode::kOneShot) spent.push_back(watcher);
      }
      for (Watcher watcher : spent) take_from(table, watcher, at);
    }
    if (at == "/" || table.recursive == 0) return;
    note_told();
    at = parent_path(at);
  }
}

std::map<Watcher, std::set<std::string>> WatchTables::data_paths_by_watcher() const {
  std::map<Watcher, std::set<std::string>> all;
  for (const auto& [watcher, paths] : data_.by_watcher) {
    for (const std::string* path : paths) all[watcher].insert(*path);
  }
  return all;
}

std::map<std::string, std::set<Watcher>> WatchTables::data_watchers_by_path() const {
  std::map<std::string, std::set<Watcher>> all;
  for (const auto& [path, watchers] : data_.paths) {
    for (const auto& [watcher, mode] : watchers) all[path].insert(watcher);
  }
  return all;
}

}  // namespace zabfs::tree
