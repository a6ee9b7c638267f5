#include "fsd/recipes/import_plan.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "fsd/view/contenders.h"
#include "tree/path.h"

namespace zabfs::fsd {

using transfer::Entry;
using transfer::Part;
using tree::OpCode;
using tree::OwnerKind;

namespace {

constexpr std::string_view kSystem = "/zookeeper";
constexpr uint32_t kSetIds = S_ISUID | S_ISGID;

ImportPlan::Step refused(FileError error, std::string why = {}) {
  ImportPlan::Step step;
  step.error = error;
  step.why = std::move(why);
  return step;
}

// Lists that mean the same, whenever they were set.
tree::AclList without_time(tree::AclList acl) {
  if (std::optional<tree::PosixEntry> posix = tree::find_posix(acl)) {
    posix->mtime.reset();
    posix->mtime_version = 0;
    posix->inode = 0;
    acl = tree::with_posix(acl, *posix);
  }
  std::sort(acl.begin(), acl.end(), [](const tree::Acl& a, const tree::Acl& b) {
    return std::tie(a.who.scheme, a.who.id, a.perms) < std::tie(b.who.scheme, b.who.id, b.perms);
  });
  return acl;
}

// Every symlink shows mode 0777, and nobody can set it. What is kept says who may change one at the
// client port: its owner, as with those that a mount makes.
constexpr uint32_t kSymlinkMode = 0755;

// As chown(2) and chmod(2) would leave them for that caller; `group` is that of what he makes.
tree::PosixEntry attributes_for(const Entry& entry, const Caller& caller, uint32_t group) {
  tree::PosixEntry posix;
  posix.kind = entry.kind;
  posix.mode = entry.kind == tree::Kind::kSymlink ? kSymlinkMode : entry.mode;
  posix.uid = entry.uid;
  posix.gid = entry.gid;
  if (caller.uid == 0) return posix;
  bool is_member =
      std::find(caller.groups.begin(), caller.groups.end(), entry.gid) != caller.groups.end();
  if (!is_member) {
    posix.gid = group;
    posix.mode &= ~uint32_t{S_ISGID};
  }
  if (entry.uid != caller.uid) {
    posix.uid = caller.uid;
    posix.mode &= ~kSetIds;
  }
  return posix;
}

// The ACL that the entry stands for, without a time. `there` is what the znode has, if it is there.
tree::AclList acl_for(const Entry& entry, const Caller& caller, uint32_t group,
                      const tree::AclList& there) {
  if (entry.is_plain && caller.uid == 0) return entry.acl;
  tree::PosixEntry posix = attributes_for(entry, caller, group);
  if (std::optional<tree::PosixEntry> old = tree::find_posix(there)) {
    posix.inode = old->inode;
    if (entry.kind == tree::Kind::kSymlink) posix.mode = old->mode;
  }
  bool keeps = entry.acl.empty() && !entry.is_plain;
  return tree::with_posix(keeps ? there : entry.acl, posix);
}

tree::AclList with_time(const tree::AclList& acl, const tree::Time& mtime, int32_t version) {
  std::optional<tree::PosixEntry> posix = tree::find_posix(acl);
  if (!posix) return acl;
  posix->mtime = mtime;
  posix->mtime_version = version;
  return tree::with_posix(acl, *posix);
}

// While it is filled, its owner may do so.
tree::AclList open_to_owner(const tree::AclList& acl, const Caller& caller) {
  std::optional<tree::PosixEntry> posix = tree::find_posix(acl);
  if (!posix || caller.uid == 0) return acl;
  posix->mode |= S_IRWXU;
  return tree::with_posix(acl, *posix);
}

// Whether a znode has the entry's data. Who may not read it is not to learn what is in it.
bool has_already(const tree::ZNode& node, const View& there, const Entry& entry,
                 const Placing& placing) {
  bool may_know = placing.owns(there) || there.kind == tree::Kind::kSymlink ||
                  may(there, placing.caller(), kMayRead);
  return may_know && node.data.view() == entry.data;
}

tree::MultiOp set_acl(const std::string& path, const tree::AclList& acl, const tree::ZNode& node) {
  return {OpCode::kSetAcl, tree::set_acl_body(path, acl, node.stat.aversion)};
}

}  // namespace

std::string ImportPlan::path_of(const std::string& path) const {
  return path.empty() ? options_.top : tree::join_path(options_.top, path);
}

bool ImportPlan::may_fill(const std::string& directory, const tree::ZNode* node, const View& view,
                          const Placing& placing) const {
  auto found = directories_.find(directory);
  bool is_ours = found != directories_.end() && found->second.is_ours;
  if (is_ours && (node == nullptr || placing.owns(view))) return true;
  return node != nullptr && placing.may_make_in(view);
}

ImportPlan::Step ImportPlan::put(const Entry& entry, const Placing& placing) {
  std::string path = path_of(entry.path);
  if (path.size() > tree::kMaxPathBytes) {
    return refused(FileError::kInvalid, "its path would be longer than 4,095 bytes");
  }
  if (entry.data.size() > options_.max_data_bytes) {
    return refused(FileError::kTooLarge, "is larger than a file here may be (jute.maxbuffer)");
  }
  if (options_.removes_others && seen_.insert(entry.path).second) {
    seen_bytes_ += entry.path.size() + sizeof(std::string);
    if (seen_bytes_ > kMaxSeenBytes) return refused(FileError::kTooLarge, "too many names");
  }
  Step step;
  step.change = Change::kSkipped;
  if (tree::is_within(path, kSystem))
    return step;  // ZooKeeper's own; a quota is set by its clients
  if (entry.part == Part::kOwnData || entry.path.empty()) {
    return put_own_data(entry, path, placing);
  }
  size_t slash = entry.path.rfind('/');
  std::string parent = slash == std::string::npos ? "" : entry.path.substr(0, slash);
  auto known = directories_.find(parent);
  if (!parent.empty() && known == directories_.end()) {
    return refused(FileError::kNotDirectory, "its directory did not come before it");
  }
  bool is_pending = !parent.empty() && known->second.is_pending;
  std::string above = path_of(parent);
  const tree::ZNode* directory = placing.find(above);
  if (directory == nullptr && !is_pending) return refused(FileError::kStale);
  std::optional<View> around;
  if (directory != nullptr) around = placing.view(*directory, above);
  const View* shown = around ? &*around : nullptr;
  return entry.kind == tree::Kind::kDirectory ? put_directory(entry, path, shown, placing)
                                              : put_file(entry, path, shown, placing);
}

ImportPlan::Step ImportPlan::make(const Entry& entry, const std::string& path,
                                  const tree::AclList& acl) const {
  if (entry.ttl_ms > 0 && !options_.may_have_ttl) {
    return refused(FileError::kUnsupported, "it has a time to live: set extendedTypesEnabled=true");
  }
  Step step;
  step.change = Change::kMade;
  std::string_view data = entry.data;
  if (entry.ttl_ms > 0) {
    step.ops.push_back(
        {OpCode::kCreateTtl,
         tree::create_ttl_body(path, data, acl, tree::kCreateTtlFlag, entry.ttl_ms)});
  } else if (entry.is_container) {
    step.ops.push_back(
        {OpCode::kCreateContainer, tree::create_body(path, data, acl, tree::kCreateContainerFlag)});
  } else {
    step.ops.push_back(
        {OpCode::kCreate, tree::create_body(path, data, acl, tree::kCreatePersistent)});
  }
  return step;
}

ImportPlan::Step ImportPlan::put_directory(const Entry& entry, const std::string& path,
                                           const View* around, const Placing& placing) {
  size_t slash = entry.path.rfind('/');
  std::string parent = slash == std::string::npos ? "" : entry.path.substr(0, slash);
  uint32_t group = placing.caller().gid;
  if (around != nullptr) group = handed_down_group(*around).value_or(group);
  auto [known, is_first] = directories_.try_emplace(entry.path);
  Directory& directory = known->second;
  if (is_first && directories_.size() > kMaxDirectories) {
    return refused(FileError::kTooLarge, "the import has too many directories");
  }
  const tree::ZNode* node = placing.find(path);
  bool is_whole = entry.part == Part::kWhole;
  if (node == nullptr && directory.is_pending) {  // once more: what it says now counts at the end
    if (is_whole) directory.acl = acl_for(entry, placing.caller(), group, directory.acl);
    if (is_whole) directory.mtime = entry.mtime;
    return {};
  }
  if (node == nullptr) {
    const tree::ZNode* above = placing.find(path_of(parent));
    bool may_make = around == nullptr || may_fill(parent, above, *around, placing);
    if (!may_make) return refused(FileError::kNoAccess);
    directory.acl = acl_for(entry, placing.caller(), group, {});
    directory.mtime = is_whole ? entry.mtime : tree::Time{};
    directory.is_ours = true;
    Step step = make(entry, path, open_to_owner(directory.acl, placing.caller()));
    directory.is_pending = step.error == FileError::kOk;
    if (!is_whole) directory.acl.clear();
    return step;
  }
  View there = placing.view(*node, path);
  bool may_change = is_whole && placing.owns(there);
  if (there.kind != tree::Kind::kDirectory) return refused(FileError::kNotDirectory);
  bool may_enter = may_change || placing.may_fill(there) == FileError::kOk;
  if (!may_enter) return refused(FileError::kNoAccess);
  Step step;
  if (may_change) {
    tree::AclList acl = placing.tree().acl_of(*node);
    directory.acl = acl_for(entry, placing.caller(), there.gid, acl);
    directory.mtime = entry.mtime;
    directory.is_ours = true;
    if (without_time(acl) != without_time(directory.acl)) {
      step.first = set_acl(path, open_to_owner(directory.acl, placing.caller()), *node);
    }
  }
  if (!entry.data.empty() && !has_already(*node, there, entry, placing)) {
    if (!may_change && !may(there, placing.caller(), kMayWrite)) {
      return refused(FileError::kNoAccess);
    }
    step.ops.push_back(
        {OpCode::kSetData, tree::set_data_body(path, entry.data, node->stat.version)});
  }
  if (!step.is_empty()) step.change = Change::kChanged;
  return step;
}

ImportPlan::Step ImportPlan::put_own_data(const Entry& entry, const std::string& path,
                                          const Placing& placing) {
  auto known = directories_.find(entry.path);
  bool is_known = entry.path.empty() || known != directories_.end();
  if (!is_known) return refused(FileError::kNotDirectory, "its directory did not come before it");
  Step step;
  if (entry.data.empty()) return step;
  int32_t version = tree::kAnyVersion;
  if (const tree::ZNode* node = placing.find(path)) {
    View there = placing.view(*node, path);
    if (there.kind != tree::Kind::kDirectory) return refused(FileError::kNotDirectory);
    if (has_already(*node, there, entry, placing)) return step;
    bool is_ours = known != directories_.end() && known->second.is_ours && placing.owns(there);
    if (!is_ours && !may(there, placing.caller(), kMayWrite)) return refused(FileError::kNoAccess);
    version = node->stat.version;
  } else if (known == directories_.end() || !known->second.is_pending) {
    return refused(FileError::kStale);
  }
  step.change = Change::kChanged;
  step.ops.push_back({OpCode::kSetData, tree::set_data_body(path, entry.data, version)});
  return step;
}

ImportPlan::Step ImportPlan::put_file(const Entry& entry, const std::string& path,
                                      const View* around, const Placing& placing) {
  const Caller& caller = placing.caller();
  const tree::ZNode* node = placing.find(path);
  if (node == nullptr) {
    size_t slash = entry.path.rfind('/');
    std::string parent = slash == std::string::npos ? "" : entry.path.substr(0, slash);
    const tree::ZNode* above = placing.find(path_of(parent));
    bool may_make = around == nullptr || may_fill(parent, above, *around, placing);
    if (!may_make) return refused(FileError::kNoAccess);
    uint32_t group =
        around == nullptr ? caller.gid : handed_down_group(*around).value_or(caller.gid);
    return make(entry, path, with_time(acl_for(entry, caller, group, {}), entry.mtime, 0));
  }
  View there = placing.view(*node, path);
  bool owns = placing.owns(there);
  bool is_written = entry.kind != tree::Kind::kFifo && !has_already(*node, there, entry, placing);
  FileError error = placing.may_put_over(entry.kind, *around, there);
  // A file's owner could make it writable first; what is the same needs no permission.
  bool needs_none = !is_written || (owns && entry.kind == tree::Kind::kFile);
  bool is_of_mode = error == FileError::kNoAccess || error == FileError::kNotPermitted;
  if (error != FileError::kOk && !(is_of_mode && needs_none)) return refused(error);
  Step step;
  int32_t version = node->stat.version + (is_written ? 1 : 0);
  const tree::AclList& acl = placing.tree().acl_of(*node);
  if (owns) {
    tree::AclList wanted = acl_for(entry, caller, there.gid, acl);
    bool is_same = without_time(wanted) == without_time(acl);
    bool has_time = !tree::find_posix(wanted) || (!is_written && there.mtime == entry.mtime);
    if (!is_same || !has_time) {
      step.first = set_acl(path, with_time(wanted, entry.mtime, version), *node);
    }
  } else if (is_written && placing.mode_when_written(there) != there.mode) {
    tree::PosixEntry posix = posix_of(there);
    posix.mode = placing.mode_when_written(there);
    step.first = set_acl(path, tree::with_posix(acl, posix), *node);
  }
  if (is_written) {
    step.ops.push_back(
        {OpCode::kSetData, tree::set_data_body(path, entry.data, node->stat.version)});
  }
  if (!step.is_empty()) step.change = Change::kChanged;
  return step;
}

void ImportPlan::committed(const Entry& entry) {
  if (auto found = directories_.find(entry.path); found != directories_.end()) {
    found->second.is_pending = false;
  }
}

void ImportPlan::failed(const Entry& entry) {
  if (entry.part == Part::kOwnData) return;
  if (auto found = directories_.find(entry.path);
      found != directories_.end() && found->second.is_pending) {
    directories_.erase(found);
  }
}

// ---- the end

std::vector<std::string> ImportPlan::directories() const {
  std::vector<std::string> names;
  for (auto found = directories_.rbegin(); found != directories_.rend(); ++found) {
    if (!found->second.acl.empty()) names.push_back(found->first);
  }
  return names;
}

ImportPlan::Step ImportPlan::settle(const std::string& directory, const Placing& placing) const {
  Step step;
  auto found = directories_.find(directory);
  std::string path = path_of(directory);
  const tree::ZNode* node = placing.find(path);
  if (found == directories_.end() || node == nullptr) return step;  // somebody removed it
  View there = placing.view(*node, path);
  if (there.kind != tree::Kind::kDirectory || !placing.owns(there)) return step;
  const tree::AclList& acl = placing.tree().acl_of(*node);
  const tree::AclList& wanted = found->second.acl;
  bool has_time = !tree::find_posix(wanted) || there.mtime == found->second.mtime;
  if (has_time && without_time(wanted) == without_time(acl)) return step;
  int32_t version = tree::mtime_version(there.kind, node->stat);
  step.change = Change::kChanged;
  step.first = set_acl(path, with_time(wanted, found->second.mtime, version), *node);
  return step;
}

std::vector<std::string> ImportPlan::others(const tree::Tree& tree) const {
  std::vector<std::string> found;
  const tree::ZNode* top = tree.find(options_.top);
  if (top != nullptr && options_.removes_others) find_others(tree, *top, "", found);
  return found;
}

void ImportPlan::find_others(const tree::Tree& tree, const tree::ZNode& node,
                             const std::string& name, std::vector<std::string>& found) const {
  if (kept_.contains(name) || tree::is_within(path_of(name), kSystem)) return;
  std::vector<std::pair<std::string, const tree::ZNode*>> inner;
  std::vector<std::string> here;
  tree.for_each_child(node, [&](const tree::ZNode& child) {
    bool is_ephemeral = tree::owner_kind(child.stat.owner) == OwnerKind::kEphemeral;
    if (!is_listed(child) || is_ephemeral) return;
    std::string below(child.name.view());
    if (!name.empty()) below = name + "/" + below;
    if (tree::is_within(path_of(below), kSystem) || kept_.contains(below)) return;
    if (!seen_.contains(below)) {
      here.push_back(below);
    } else if (child.children.size() > 0) {
      inner.emplace_back(below, &child);
    }
  });
  std::sort(here.begin(), here.end());
  found.insert(found.end(), here.begin(), here.end());
  std::sort(inner.begin(), inner.end());
  for (const auto& [below, child] : inner) find_others(tree, *child, below, found);
}

ImportPlan::Step ImportPlan::remove(const std::string& path, const Placing& placing) const {
  Step step;
  std::string top = path_of(path);
  // Parents first; they are removed in the other order.
  std::vector<std::pair<std::string, const tree::ZNode*>> all;
  if (const tree::ZNode* node = placing.find(top)) all.emplace_back(top, node);
  for (size_t i = 0; i < all.size(); ++i) {
    auto [name, node] = all[i];
    if (tree::owner_kind(node->stat.owner) == OwnerKind::kEphemeral) {
      return refused(FileError::kBusy, name + " is held by somebody");
    }
    if (!is_hidden(name)) {
      std::string above(tree::parent_path(name));
      const tree::ZNode* directory = placing.find(above);
      FileError error =
          may_remove(placing.view(*directory, above), placing.view(*node, name), placing.caller());
      if (error != FileError::kOk) return refused(error);
    }
    placing.tree().for_each_child(*node, [&](const tree::ZNode& child) {
      all.emplace_back(tree::join_path(name, child.name.view()), &child);
    });
  }
  for (auto one = all.rbegin(); one != all.rend(); ++one) {
    step.ops.push_back({OpCode::kDelete, tree::delete_body(one->first, tree::kAnyVersion)});
  }
  if (!step.ops.empty()) step.change = Change::kRemoved;
  return step;
}

}  // namespace zabfs::fsd
