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
  MutexLock lock(mutex_);
  auto found = entries_.find(id);
  if (found == entries_.end()) return std::nullopt;
  return found->second->node;
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
  MutexLock lock(mutex_);
  cacheable = is_stable_locked(path);
  auto found = by_path_.find(path);
  if (found != by_path_.end()) {
    Entry& entry = *entries_[found->second];
    if (found->second == kRootNode || (entry.node.czxid == czxid && entry.node.kind == kind)) {
      ++entry.lookups;
      return found->second;
    }
    entry.node.gone = true;
    by_path_.erase(found);
  }
  Node node;
  node.path = path;
  node.czxid = czxid;
  node.kind = kind;
  return add(std::move(node), path);
}

KernelNode NodeTable::held(const std::string& path) const {
  MutexLock lock(mutex_);
  auto found = by_path_.find(path);
  return found == by_path_.end() ? 0 : found->second;
}

std::vector<KernelNode> NodeTable::all_held(const std::string& path) const {
  MutexLock lock(mutex_);
  return all_held_locked(path);
}

std::vector<KernelNode> NodeTable::all_held_locked(const std::string& path) const {
  std::vector<KernelNode> ids;
  auto found = by_path_.find(path);
  if (found != by_path_.end()) ids.push_back(found->second);
  auto aliases = aliases_.find(path);
  if (aliases != aliases_.end())
    ids.insert(ids.end(), aliases->second.begin(), aliases->second.end());
  return ids;
}

std::optional<tree::Kind> NodeTable::held_kind(const std::string& path) const {
  MutexLock lock(mutex_);
  auto found = by_path_.find(path);
  if (found == by_path_.end() || found->second == kRootNode) return std::nullopt;
  return entries_.at(found->second)->node.kind;
}

KernelNode NodeTable::look_up_gone(KernelNode before, const std::string& path, tree::Kind kind) {
  MutexLock lock(mutex_);
  auto found = entries_.find(before);
  if (found != entries_.end()) {
    ++found->second->lookups;
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
  MutexLock lock(mutex_);
  std::string key = control_key(directory, control, name);
  auto found = by_control_.find(key);
  if (found != by_control_.end() && control != Control::kSeqFile) {
    Entry& entry = *entries_[found->second];
    if (entry.node.czxid == czxid) {
      ++entry.lookups;
      return found->second;
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
  auto found = names.find(is_znode ? node.path : control_key(node.path, node.control, node.name));
  if (found != names.end() && found->second == node.id) names.erase(found);
  auto aliases = aliases_.find(node.path);
  if (aliases == aliases_.end()) return;
  std::erase(aliases->second, node.id);
  if (aliases->second.empty()) aliases_.erase(aliases);
}

bool NodeTable::forget(KernelNode id, uint64_t lookups) {
  MutexLock lock(mutex_);
  auto found = entries_.find(id);
  if (found == entries_.end() || id == kRootNode) return false;
  Entry& entry = *found->second;
  entry.lookups -= std::min(entry.lookups, lookups);
  if (entry.lookups > 0) return false;
  unlink(entry);
  entries_.erase(found);
  return true;
}

bool NodeTable::note_kept(const std::string& path) {
  MutexLock lock(mutex_);
  auto found = by_path_.find(path);
  if (found == by_path_.end() || !is_stable_locked(path)) return false;
  entries_[found->second]->kept_in = age_;
  return true;
}

bool NodeTable::note_attributes_kept(KernelNode id) {
  MutexLock lock(mutex_);
  auto found = entries_.find(id);
  if (found == entries_.end() || !is_stable_locked(found->second->node.path)) return false;
  found->second->attributes_kept = true;
  return true;
}

bool NodeTable::were_attributes_kept(KernelNode id) const {
  MutexLock lock(mutex_);
  auto found = entries_.find(id);
  return found != entries_.end() && found->second->attributes_kept;
}

// Whether the kernel may have the name, or its absence, without asking.
bool NodeTable::is_kept(const std::string& path) const {
  if (absent_.contains(path) || aliases_.contains(path)) return true;
  auto found = by_path_.find(path);
  return found != by_path_.end() && entries_.at(found->second)->kept_in == age_;
}

void NodeTable::forgetting_all_names() {
  MutexLock lock(mutex_);
  ++age_;
  absent_.clear();
}

bool NodeTable::note_absent(const std::string& path) {
  MutexLock lock(mutex_);
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
  MutexLock lock(mutex_);
  return is_stable_locked(path);
}

void NodeTable::add_dirty(const std::string& path, int delta) {
  MutexLock lock(mutex_);
  int& count = dirty_[path];
  count += delta;
  if (count <= 0) dirty_.erase(path);
}

void NodeTable::end_keeping(const std::string& path, Forget& forget) {
  auto found = by_path_.find(path);
  if (found != by_path_.end()) entries_[found->second]->kept_in = 0;
  std::vector<KernelNode> parents = all_held_locked(std::string(tree::parent_path(path)));
  forget.all_names |= parents.empty();  // nobody knows below which node it is
  for (KernelNode parent : parents) {
    forget.names.push_back({parent, std::string(tree::base_name(path))});
  }
}

NodeTable::Forget NodeTable::end_name(const std::string& path) {
  MutexLock lock(mutex_);
  Forget forget;
  if (is_kept(path)) end_keeping(path, forget);
  drop_locked(path);
  return forget;
}

NodeTable::Forget NodeTable::begin_change(const std::vector<std::string>& names,
                                          const std::vector<std::string>& attributes,
                                          const std::unordered_set<std::string>& local) {
  MutexLock lock(mutex_);
  Forget forget;
  forget.all_names = std::exchange(forget_names_, false);
  for (const std::string& path : names) {
    changing_.insert(path);
    bool was_kept = is_kept(path);
    absent_.erase(path);
    asked_once_.erase(path);
    if (!was_kept) continue;
    // A directory that was set aside has the same names once more, and those the kernel leaves. A
    // name that it moves itself it goes on to keep.
    if (local.contains(path) && !aliases_.contains(std::string(tree::parent_path(path)))) {
      forget.local = true;
    } else {
      end_keeping(path, forget);
    }
  }
  for (const std::string& path : attributes) {
    changing_.insert(path);
    auto found = by_path_.find(path);
    if (found != by_path_.end()) forget.attributes.push_back(found->second);
    auto aliases = aliases_.find(path);
    if (aliases == aliases_.end()) continue;
    forget.attributes.insert(forget.attributes.end(), aliases->second.begin(),
                             aliases->second.end());
  }
  return forget;
}

NodeTable::Forget NodeTable::begin_change_of_all() {
  MutexLock lock(mutex_);
  Forget forget;
  forget.all_names = true;
  all_changing_ = true;
  absent_.clear();
  for (const auto& [path, id] : by_path_) forget.attributes.push_back(id);
  for (const auto& [path, ids] : aliases_) {
    forget.attributes.insert(forget.attributes.end(), ids.begin(), ids.end());
  }
  return forget;
}

void NodeTable::end_change() {
  MutexLock lock(mutex_);
  changing_.clear();
  all_changing_ = false;
}

void NodeTable::note_last(const std::string& path, const struct stat& last) {
  MutexLock lock(mutex_);
  auto found = by_path_.find(path);
  if (found == by_path_.end()) return;
  struct stat& noted = entries_[found->second]->node.last.emplace(last);
  noted.st_nlink = 0;
}

void NodeTable::change_last(KernelNode id, const std::function<void(struct stat&)>& change) {
  MutexLock lock(mutex_);
  auto entry = entries_.find(id);
  if (entry == entries_.end() || !entry->second->node.last) return;
  change(*entry->second->node.last);
}

void NodeTable::drop(const std::string& path) {
  MutexLock lock(mutex_);
  drop_locked(path);
}

void NodeTable::drop_locked(const std::string& path) {
  drop_aliases(path);
  auto found = by_path_.find(path);
  if (found == by_path_.end() || found->second == kRootNode) return;
  entries_[found->second]->node.gone = true;
  by_path_.erase(found);
}

void NodeTable::note_retyped(const std::string& directory, tree::Zxid when) {
  MutexLock lock(mutex_);
  auto found = by_path_.find(directory);
  if (found != by_path_.end()) entries_[found->second]->node.retyped = when;
}

void NodeTable::set_aside(KernelNode id) {
  MutexLock lock(mutex_);
  auto entry = entries_.find(id);
  if (entry == entries_.end()) return;
  const Node& node = entry->second->node;
  auto found = by_path_.find(node.path);
  if (found == by_path_.end() || found->second != id || id == kRootNode) return;
  by_path_.erase(found);
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
  MutexLock lock(mutex_);
  drop_locked(to);
  std::vector<KernelNode> moved;  // aliases first, so that the last one to come has the name
  for (auto found = aliases_.begin(); found != aliases_.end();) {
    if (tree::is_within(found->first, from)) {
      moved.insert(moved.end(), found->second.begin(), found->second.end());
      found = aliases_.erase(found);
    } else {
      ++found;
    }
  }
  for (auto found = by_path_.begin(); found != by_path_.end();) {
    if (tree::is_within(found->first, from)) {
      moved.push_back(found->second);
      found = by_path_.erase(found);
    } else {
      ++found;
    }
  }
  move_absences(from, to);
  for (KernelNode id : moved) {
    Node& node = entries_[id]->node;
    node.path = to + node.path.substr(from.size());
    auto [found, added] = by_path_.try_emplace(node.path, id);
    if (!added) {
      aliases_[node.path].push_back(found->second);
      found->second = id;
    }
  }
}

// What the kernel knows to be absent in a directory it goes on to know after the directory moved.
void NodeTable::move_absences(const std::string& from, const std::string& to) {
  std::vector<std::string> moved;
  std::erase_if(absent_, [&](const std::string& path) {
    if (tree::is_within(path, from)) moved.push_back(to + path.substr(from.size()));
    return tree::is_within(path, from) || tree::is_within(path, to);
  });
  absent_.insert(moved.begin(), moved.end());
}

void NodeTable::refresh_identities(const std::string& top,
                                   const std::function<tree::Zxid(const std::string&)>& czxid_of) {
  MutexLock lock(mutex_);
  for (auto& [id, entry] : entries_) {
    Node& node = entry->node;
    if (node.gone || node.control != Control::kNone || !tree::is_within(node.path, top)) continue;
    node.czxid = czxid_of(node.path);
  }
}

}  // namespace zabfs::fsd
