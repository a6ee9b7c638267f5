#include "fsd/recipes/watch.h"

#include <fmt/format.h>

#include <utility>

#include "fsd/view/contenders.h"
#include "tree/path.h"

namespace zabfs::fsd {

namespace {

constexpr size_t kMaxLines = 100'000;

const char* type_name(tree::ChangeType type) {
  switch (type) {
    case tree::ChangeType::kCreated:
      return "created";
    case tree::ChangeType::kDeleted:
      return "deleted";
    case tree::ChangeType::kDataChanged:
      return "changed";
    case tree::ChangeType::kAclChanged:
      return "acl";
  }
  return "changed";
}

}  // namespace

Watch::Watch(const tree::Tree& tree, std::string directory, bool subtree, NodeTest may_list)
    : directory_(std::move(directory)),
      subtree_(subtree),
      may_list_(std::move(may_list)),
      picture_(take_picture(tree)) {
  lines_.push_back(fmt::format("0x{:x}\n", tree.last_zxid().value));
}

// A znode without children is looked at again when it gets one: it may be a file until then.
Watch::Seen Watch::see(const tree::ZNode& node, const std::string& path) const {
  bool is_open = !may_list_ || node.children.size() == 0 || may_list_(node, path);
  return Seen{node.stat.czxid, node.stat.mzxid, node.stat.aversion, is_open};
}

// Whether the reader may list all directories on the way.
bool Watch::shows(const Picture& picture, const std::string& name) const {
  if (!may_list_ || name == ".") return true;
  auto is_open = [&picture](const std::string& directory) {
    auto seen = picture.find(directory);
    return seen != picture.end() && seen->second.is_open;
  };
  if (!is_open(".")) return false;
  for (size_t end = name.find('/'); end != std::string::npos; end = name.find('/', end + 1)) {
    if (!is_open(name.substr(0, end))) return false;
  }
  return true;
}

Watch::Picture Watch::take_picture(const tree::Tree& tree) const {
  Picture picture;
  const tree::ZNode* node = tree.find(directory_);
  if (node == nullptr) return picture;
  picture["."] = see(*node, directory_);
  add_below(tree, *node, "", picture);
  return picture;
}

void Watch::add_below(const tree::Tree& tree, const tree::ZNode& parent, const std::string& prefix,
                      Picture& picture) const {
  tree.for_each_child(parent, [&](const tree::ZNode& child) {
    if (!is_listed(child)) return;
    std::string name = prefix + std::string(child.name.view());
    picture[name] = see(child, tree::join_path(directory_, name));
    if (subtree_) add_below(tree, child, name + "/", picture);
  });
}

std::optional<std::string> Watch::name_of(const std::string& path) const {
  if (path == directory_) return ".";
  if (!tree::is_within(path, directory_)) return std::nullopt;
  std::string name = path.substr(directory_ == "/" ? 1 : directory_.size() + 1);
  if (!subtree_) {
    bool is_child = name.find('/') == std::string::npos;
    return is_child && name != kHidden ? std::optional(name) : std::nullopt;
  }
  // What is hidden, and below it, is shown by no mount.
  if (is_hidden("/" + name)) return std::nullopt;
  return name;
}

// Contenders are not listed, and not told of.
bool Watch::passes_over(const tree::Tree& tree, const tree::Change& change,
                        const std::string& name) const {
  if (const tree::ZNode* node = tree.find(change.path)) return is_unlisted(*node);
  return !picture_.contains(name) &&
         is_unlisted(tree::base_name(change.path), change.before.view());
}

void Watch::add(tree::Zxid zxid, const char* type, const std::string& name) {
  lines_.push_back(fmt::format("0x{:x} {} {}\n", zxid.value, type, name));
}

void Watch::look_at_parent(const tree::Tree& tree, const std::string& path) {
  std::string parent(tree::parent_path(path));
  std::optional<std::string> name = name_of(parent);
  const tree::ZNode* node = tree.find(parent);
  if (!name || node == nullptr) return;
  auto seen = picture_.find(*name);
  if (seen != picture_.end()) seen->second.is_open = may_list_(*node, parent);
}

bool Watch::published(const tree::Tree& tree, const std::vector<tree::Change>& changes) {
  bool had = has_line();
  std::pair<tree::Zxid, std::string> last;
  for (const tree::Change& change : changes) {
    std::optional<std::string> named = name_of(change.path);
    if (!named || ended_) continue;
    const std::string& name = *named;
    bool is_self = name == ".";
    if (!is_self && passes_over(tree, change, name)) continue;
    if (change.type == tree::ChangeType::kCreated && may_list_) look_at_parent(tree, change.path);
    bool shown = shows(picture_, name);
    if (change.type == tree::ChangeType::kDeleted) {
      picture_.erase(name);
      ended_ = ended_ || is_self;
    } else if (const tree::ZNode* node = tree.find(change.path)) {
      picture_[name] = see(*node, change.path);
    }
    if (!shown) continue;
    if (std::pair(change.zxid, name) == last) continue;  // one line a zxid and name
    last = {change.zxid, name};
    add(change.zxid, type_name(change.type), name);
  }
  if (!lines_.empty() && lines_.size() > kMaxLines) resync(tree);
  return !had && (has_line() || ended_);
}

bool Watch::tree_replaced(const tree::Tree& tree) {
  bool had = has_line();
  resync(tree);
  return !had;
}

void Watch::resync(const tree::Tree& tree) {
  lines_.clear();
  Picture now = take_picture(tree);
  tree::Zxid zxid = tree.last_zxid();
  add(zxid, "resync", ".");
  for (const auto& [name, seen] : now) {
    if (!shows(now, name)) continue;
    auto before = picture_.find(name);
    if (before == picture_.end()) {
      add(zxid, "created", name);
    } else if (before->second.czxid != seen.czxid || before->second.mzxid != seen.mzxid) {
      add(zxid, "changed", name);
    } else if (before->second.aversion != seen.aversion) {
      add(zxid, "acl", name);
    }
  }
  for (const auto& [name, seen] : picture_) {
    if (now.contains(name) || !shows(picture_, name)) continue;
    add(zxid, "deleted", name);
    if (name == ".") ended_ = true;
  }
  picture_ = std::move(now);
}

std::string Watch::read(size_t size) {
  if (rest_.empty() && !lines_.empty()) {
    rest_ = std::move(lines_.front());
    lines_.pop_front();
  }
  std::string part = rest_.substr(0, size);
  rest_.erase(0, part.size());
  return part;
}

}  // namespace zabfs::fsd
