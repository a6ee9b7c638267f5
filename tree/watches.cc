#include "tree/watches.h"

#include <algorithm>

#include "tree/path.h"

namespace zabfs::tree {

void WatchTables::add_data(Watcher watcher, std::string_view path, WatchMode mode) {
  data_[std::string(path)][watcher] = mode;
}

void WatchTables::add_child(Watcher watcher, std::string_view path, WatchMode mode) {
  child_[std::string(path)][watcher] = mode;
}

void WatchTables::add(Watcher watcher, std::string_view path, WatchMode mode) {
  add_data(watcher, path, mode);
  add_child(watcher, path, mode);
}

bool WatchTables::contains(Watcher watcher, std::string_view path, WatcherType type) const {
  auto has = [&](const Table& table) {
    auto place = table.find(path);
    return place != table.end() && place->second.contains(watcher);
  };
  return (type != WatcherType::kChildren && has(data_)) ||
         (type != WatcherType::kData && has(child_));
}

bool WatchTables::remove(Watcher watcher, std::string_view path, WatcherType type) {
  auto take = [&](Table& table) {
    auto place = table.find(path);
    if (place == table.end() || place->second.erase(watcher) == 0) return false;
    if (place->second.empty()) table.erase(place);
    return true;
  };
  bool removed = false;
  if (type != WatcherType::kChildren) removed |= take(data_);
  if (type != WatcherType::kData) removed |= take(child_);
  return removed;
}

void WatchTables::remove_all(Watcher watcher) {
  for (Table* table : {&data_, &child_}) {
    for (auto place = table->begin(); place != table->end();) {
      place->second.erase(watcher);
      place = place->second.empty() ? table->erase(place) : std::next(place);
    }
  }
}

void WatchTables::fire(const Change& change, std::vector<WatchEvent>& events) {
  std::string parent(parent_path(change.path));
  size_t first = events.size();
  switch (change.type) {
    case ChangeType::kCreated:
      fire_table(data_, change.path, EventType::kNodeCreated, first, events);
      fire_table(child_, parent, EventType::kNodeChildrenChanged, events.size(), events);
      return;
    case ChangeType::kDeleted:
      fire_table(data_, change.path, EventType::kNodeDeleted, first, events);
      fire_table(child_, change.path, EventType::kNodeDeleted, first, events);
      fire_table(child_, parent, EventType::kNodeChildrenChanged, events.size(), events);
      return;
    case ChangeType::kDataChanged:
      fire_table(data_, change.path, EventType::kNodeDataChanged, first, events);
      return;
    case ChangeType::kAclChanged:
      return;
  }
}

// Fires the watches of `path` and the recursive ones above it; a watcher that has an event at or
// after `skip_from` already is not told again.
void WatchTables::fire_table(Table& table, std::string_view path, EventType type, size_t skip_from,
                             std::vector<WatchEvent>& events) {
  auto tell = [&](Watcher watcher) {
    auto told = [watcher](const WatchEvent& event) { return event.watcher == watcher; };
    auto begin = events.begin() + static_cast<std::ptrdiff_t>(skip_from);
    if (std::find_if(begin, events.end(), told) == events.end()) {
      events.push_back({watcher, type, std::string(path)});
    }
  };
  bool is_children_changed = type == EventType::kNodeChildrenChanged;
  std::string_view at = path;
  while (true) {
    auto place = table.find(at);
    if (place != table.end()) {
      for (auto entry = place->second.begin(); entry != place->second.end();) {
        auto [watcher, mode] = *entry;
        bool recursive = mode == WatchMode::kPersistentRecursive;
        bool concerned = recursive ? !is_children_changed : at == path;
        if (concerned) tell(watcher);
        bool spent = concerned && mode == WatchMode::kOneShot;
        entry = spent ? place->second.erase(entry) : std::next(entry);
      }
      if (place->second.empty()) table.erase(place);
    }
    if (at == "/") return;
    at = parent_path(at);
  }
}

}  // namespace zabfs::tree
