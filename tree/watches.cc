#include "tree/watches.h"

#include <algorithm>

#include "tree/path.h"

namespace zabfs::tree {

void WatchTables::add_to(Table& table, Watcher watcher, std::string_view path, WatchMode mode) {
  auto place = table.paths.find(path);
  if (place == table.paths.end()) place = table.paths.try_emplace(std::string(path)).first;
  auto [entry, added] = place->second.try_emplace(watcher, mode);
  if (added) {
    ++table.count;
    table.by_watcher[watcher].insert(&place->first);
  } else if (entry->second == WatchMode::kPersistentRecursive) {
    --table.recursive;
  }
  entry->second = mode;
  if (mode == WatchMode::kPersistentRecursive) ++table.recursive;
}

bool WatchTables::take_from(Table& table, Watcher watcher, std::string_view path) {
  auto place = table.paths.find(path);
  if (place == table.paths.end()) return false;
  auto entry = place->second.find(watcher);
  if (entry == place->second.end()) return false;
  if (entry->second == WatchMode::kPersistentRecursive) --table.recursive;
  --table.count;
  place->second.erase(entry);
  auto own = table.by_watcher.find(watcher);
  own->second.erase(&place->first);
  if (own->second.empty()) table.by_watcher.erase(own);
  if (place->second.empty()) table.paths.erase(place);
  return true;
}

void WatchTables::forget(Table& table, Watcher watcher) {
  auto own = table.by_watcher.find(watcher);
  if (own == table.by_watcher.end()) return;
  std::set<const std::string*> paths = own->second;
  for (const std::string* path : paths) take_from(table, watcher, *path);
}

void WatchTables::add_data(Watcher watcher, std::string_view path, WatchMode mode) {
  add_to(data_, watcher, path, mode);
}

void WatchTables::add_child(Watcher watcher, std::string_view path, WatchMode mode) {
  add_to(child_, watcher, path, mode);
}

void WatchTables::add(Watcher watcher, std::string_view path, WatchMode mode) {
  add_data(watcher, path, mode);
  add_child(watcher, path, mode);
}

bool WatchTables::contains(Watcher watcher, std::string_view path, WatcherType type) const {
  auto has = [&](const Table& table) {
    auto place = table.paths.find(path);
    return place != table.paths.end() && place->second.contains(watcher);
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

void WatchTables::remove_all(Watcher watcher) {
  forget(data_, watcher);
  forget(child_, watcher);
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
  size_t told_end = events.size();
  auto tell = [&](Watcher watcher) {
    auto told = [watcher](const WatchEvent& event) { return event.watcher == watcher; };
    auto begin = events.begin() + static_cast<std::ptrdiff_t>(skip_from);
    auto end = events.begin() + static_cast<std::ptrdiff_t>(told_end);
    if (std::find_if(begin, end, told) != end) return;
    events.push_back({watcher, type, std::string(path), acl});
  };
  bool is_children_changed = type == EventType::kNodeChildrenChanged;
  std::string_view at = path;
  while (true) {
    auto place = table.paths.find(at);
    if (place != table.paths.end()) {
      std::vector<Watcher> spent;
      for (auto [watcher, mode] : place->second) {
        bool recursive = mode == WatchMode::kPersistentRecursive;
        if (recursive ? is_children_changed : at != path) continue;
        tell(watcher);
        if (mode == WatchMode::kOneShot) spent.push_back(watcher);
      }
      for (Watcher watcher : spent) take_from(table, watcher, at);
    }
    if (at == "/" || table.recursive == 0) return;
    told_end = events.size();  // one event a watcher, though it watches at several heights
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
