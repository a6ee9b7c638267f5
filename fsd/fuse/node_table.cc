#include "fsd/fuse/node_table.h"

#include <algorithm>
#include <utility>

#include "tree/path.h"

namespace zabfs::fsd {

namespace {

constexpr size_t kMaxAbsent = 100'000;
constexpr size_t kMaxAskedOnce = 10'000;

}  // namespace

NodeTable::NodeTable() {
  Node root;
  root.id = kRootNode;
  root.path = "/";
  root.kind = tree::Kind::kDirectory;
  auto entry = std::make_unique<Entry>();
  entry->node = root;
  entry->lookups = 1;
  entries_[kRootNode] = std::move(entry);
  by_path_["/"] = kRootNode;
}

std::optional<Node> NodeTable::find(KernelNode id) const {
  std::lock_guard lock(mutex_);
  auto place = entries_.find(id);
  if (place == entries_.end()) return std::nullopt;
  return place->second->node;
}

KernelNode NodeTable::add(Node node, const std::string& key) {
  node.id = next_++;
  auto entry = std::make_unique<Entry>();
  entry->lookups = 1;
  KernelNode id = node.id;
  (node.control == Control::kNone ? by_path_ : by_control_)[key] = id;
  entry->node = std::move(node);
  entries_[id] = std::move(entry);
  return id;
}

KernelNode NodeTable::look_up(const std::string& path, tree::Zxid czxid, tree::Kind kind,
                              bool& cacheable) {
  std::lock_guard lock(mutex_);
  cacheable = is_stable_locked(path);
  auto place = by_path_.find(path);
  if (place != by_path_.end()) {
    Entry& entry = *entries_[place->second];
    if (place->second == kRootNode || (entry.node.czxid == czxid && entry.node.kind == kind)) {
      ++entry.lookups;
      return place->second;
    }
    entry.node.gone = true;
    by_path_.erase(place);
  }
  Node node;
  node.path = path;
  node.czxid = czxid;
  node.kind = kind;
  return add(std::move(node), path);
}

KernelNode NodeTable::held(const std::string& path) const {
  std::lock_guard lock(mutex_);
  auto place = by_path_.find(path);
  return place == by_path_.end() ? 0 : place->second;
}

std::optional<tree::Kind> NodeTable::held_kind(const std::string& path) const {
  std::lock_guard lock(mutex_);
  auto place = by_path_.find(path);
  if (place == by_path_.end() || place->second == kRootNode) return std::nullopt;
  return entries_.at(place->second)->node.kind;
}

KernelNode NodeTable::look_up_gone(KernelNode before, const std::string& path, tree::Kind kind) {
  std::lock_guard lock(mutex_);
  auto place = entries_.find(before);
  if (place != entries_.end()) {
    ++place->second->lookups;
    return before;
  }
  auto entry = std::make_unique<Entry>();
  entry->lookups = 1;
  entry->node.id = next_++;
  entry->node.path = path;
  entry->node.kind = kind;
  entry->node.gone = true;
  KernelNode id = entry->node.id;
  entries_[id] = std::move(entry);
  return id;
}

std::string NodeTable::control_key(const std::string& directory, Control control,
                                   const std::string& name) {
  return std::to_string(static_cast<int>(control)) + directory + "\n" + name;
}

KernelNode NodeTable::look_up_control(const std::string& directory, tree::Zxid czxid,
                                      Control control, const std::string& name) {
  std::lock_guard lock(mutex_);
  std::string key = control_key(directory, control, name);
  auto place = by_control_.find(key);
  if (place != by_control_.end() && control != Control::kSeqFile) {
    Entry& entry = *entries_[place->second];
    if (entry.node.czxid == czxid) {
      ++entry.lookups;
      return place->second;
    }
    entry.node.gone = true;
  }
  Node node;
  node.control = control;
  node.path = directory;
  node.czxid = czxid;
  node.name = name;
  return add(std::move(node), key);
}

void NodeTable::unlink(Entry& entry) {
  const Node& node = entry.node;
  bool is_znode = node.control == Control::kNone;
  auto& names = is_znode ? by_path_ : by_control_;
  auto place = names.find(is_znode ? node.path : control_key(node.path, node.control, node.name));
  if (place != names.end() && place->second == node.id) names.erase(place);
  auto aliases = aliases_.find(node.path);
  if (aliases == aliases_.end()) return;
  std::erase(aliases->second, node.id);
  if (aliases->second.empty()) aliases_.erase(aliases);
}

bool NodeTable::forget(KernelNode id, uint64_t lookups) {
  std::lock_guard lock(mutex_);
  auto place = entries_.find(id);
  if (place == entries_.end() || id == kRootNode) return false;
  Entry& entry = *place->second;
  entry.lookups -= std::min(entry.lookups, lookups);
  if (entry.lookups > 0) return false;
  unlink(entry);
  entries_.erase(place);
  return true;
}

bool NodeTable::note_absent(const std::string& path) {
  std::lock_guard lock(mutex_);
  if (!is_stable_locked(path)) return false;
  if (absent_.contains(path)) return true;
  if (asked_once_.erase(path) == 0) {
    if (asked_once_.size() >= kMaxAskedOnce) asked_once_.clear();
    asked_once_.insert(path);
    return false;
  }
  if (absent_.size() >= kMaxAbsent) {
    absent_.clear();
    forget_names_ = true;
  }
  absent_.insert(path);
  return true;
}

bool NodeTable::is_stable_locked(const std::string& path) const {
  return !all_changing_ && !changing_.contains(path) && !dirty_.contains(path);
}

bool NodeTable::is_stable(const std::string& path) const {
  std::lock_guard lock(mutex_);
  return is_stable_locked(path);
}

void NodeTable::add_dirty(const std::string& path, int delta) {
  std::lock_guard lock(mutex_);
  int& count = dirty_[path];
  count += delta;
  if (count <= 0) dirty_.erase(path);
}

NodeTable::Forget NodeTable::begin_change(const std::vector<std::string>& names,
                                          const std::vector<std::string>& attributes,
                                          const std::unordered_set<std::string>& local) {
  std::lock_guard lock(mutex_);
  Forget forget;
  forget.names = std::exchange(forget_names_, false);
  for (const std::string& path : names) {
    changing_.insert(path);
    bool known = absent_.erase(path) > 0;
    asked_once_.erase(path);
    if (!local.contains(path) && by_path_.contains(path)) known = true;
    if (known) forget.names = true;
  }
  for (const std::string& path : attributes) {
    changing_.insert(path);
    auto place = by_path_.find(path);
    if (place != by_path_.end()) forget.attributes.push_back(place->second);
    auto aliases = aliases_.find(path);
    if (aliases == aliases_.end()) continue;
    forget.attributes.insert(forget.attributes.end(), aliases->second.begin(),
                             aliases->second.end());
  }
  return forget;
}

NodeTable::Forget NodeTable::begin_change_of_all() {
  std::lock_guard lock(mutex_);
  Forget forget;
  forget.names = true;
  all_changing_ = true;
  absent_.clear();
  for (const auto& [path, id] : by_path_) forget.attributes.push_back(id);
  for (const auto& [path, ids] : aliases_) {
    forget.attributes.insert(forget.attributes.end(), ids.begin(), ids.end());
  }
  return forget;
}

void NodeTable::end_change() {
  std::lock_guard lock(mutex_);
  changing_.clear();
  all_changing_ = false;
}

void NodeTable::note_last(const std::string& path, const struct stat& last) {
  std::lock_guard lock(mutex_);
  auto place = by_path_.find(path);
  if (place == by_path_.end()) return;
  struct stat& noted = entries_[place->second]->node.last.emplace(last);
  noted.st_nlink = 0;
}

void NodeTable::drop(const std::string& path) {
  std::lock_guard lock(mutex_);
  drop_aliases(path);
  auto place = by_path_.find(path);
  if (place == by_path_.end() || place->second == kRootNode) return;
  entries_[place->second]->node.gone = true;
  by_path_.erase(place);
}

void NodeTable::note_retyped(const std::string& directory, tree::Zxid when) {
  std::lock_guard lock(mutex_);
  auto place = by_path_.find(directory);
  if (place != by_path_.end()) entries_[place->second]->node.retyped = when;
}

void NodeTable::set_aside(KernelNode id) {
  std::lock_guard lock(mutex_);
  auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  const Node& node = entry->second->node;
  auto place = by_path_.find(node.path);
  if (place == by_path_.end() || place->second != id || id == kRootNode) return;
  by_path_.erase(place);
  aliases_[node.path].push_back(id);
}

void NodeTable::drop_aliases(const std::string& path) {
  auto aliases = aliases_.find(path);
  if (aliases == aliases_.end()) return;
  for (KernelNode id : aliases->second) {
    auto entry = entries_.find(id);
    if (entry != entries_.end()) entry->second->node.gone = true;
  }
  aliases_.erase(aliases);
}

void NodeTable::rename(const std::string& from, const std::string& to) {
  std::lock_guard lock(mutex_);
  std::vector<KernelNode> moved;  // aliases first, so that the last one to come has the name
  for (auto place = aliases_.begin(); place != aliases_.end();) {
    if (tree::is_within(place->first, from)) {
      moved.insert(moved.end(), place->second.begin(), place->second.end());
      place = aliases_.erase(place);
    } else {
      ++place;
    }
  }
  for (auto place = by_path_.begin(); place != by_path_.end();) {
    if (tree::is_within(place->first, from)) {
      moved.push_back(place->second);
      place = by_path_.erase(place);
    } else {
      ++place;
    }
  }
  for (KernelNode id : moved) {
    Node& node = entries_[id]->node;
    node.path = to + node.path.substr(from.size());
    auto [place, added] = by_path_.try_emplace(node.path, id);
    if (!added) {
      aliases_[node.path].push_back(place->second);
      place->second = id;
    }
  }
}

void NodeTable::refresh_identities(const std::string& top,
                                   const std::function<tree::Zxid(const std::string&)>& czxid_of) {
  std::lock_guard lock(mutex_);
  for (auto& [id, entry] : entries_) {
    Node& node = entry->node;
    if (node.gone || node.control != Control::kNone || !tree::is_within(node.path, top)) continue;
    node.czxid = czxid_of(node.path);
  }
}

}  // namespace zabfs::fsd
