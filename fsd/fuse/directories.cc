#include "fsd/fuse/directories.h"

#include <algorithm>
#include <cerrno>

#include "fsd/recipes/room.h"
#include "fsd/view/contenders.h"
#include "fsd/view/control.h"
#include "tree/path.h"

namespace zabfs::fsd {

namespace {

// The cookie of a name. Those of "." and ".." are the smallest.
off_t cookie_of(std::string_view name) {
  if (name == ".") return 1;
  if (name == "..") return 2;
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  hash ^= hash >> 32;
  return static_cast<off_t>(std::max<uint64_t>(hash & 0x7fffffffffffffff, 3));
}

}  // namespace

Directories::Names Directories::names_of(KernelNode id) const {
  Names names;
  auto add = [&names](std::string_view name) {
    names.sorted.emplace_back(cookie_of(name), std::string(name));
  };
  reader_.read([&](const tree::Tree& tree) {
    Node node;
    const tree::ZNode* znode = reader_.znode_of(tree, id, node);
    if (znode == nullptr) return;
    for (const char* name : {".", ".."}) add(name);
    if (node.control == Control::kRoom) {
      for (const std::string& name : room_names(node.path == "/")) add(name);
    }
    if (node.control == Control::kTxn) znode = tree.find(hidden_path(node.path, kTxnChild));
    bool has_children = node.control == Control::kNone || node.control == Control::kTxn;
    if (znode == nullptr || !has_children) return;
    names.as_of = znode->stat.pzxid;
    names.sorted.reserve(znode->children.size() + 2);
    tree.for_each_child(*znode, [&](const tree::ZNode& child) {
      std::string_view name = child.name.view();
      if (is_listed(child) && name.size() <= kMaxListedNameBytes) add(name);
    });
  });
  std::sort(names.sorted.begin(), names.sorted.end());
  return names;
}

bool Directories::has_changed(KernelNode id, tree::Zxid as_of) const {
  return reader_.read([&](const tree::Tree& tree) {
    Node node;
    const tree::ZNode* znode = reader_.znode_of(tree, id, node);
    return znode != nullptr && znode->stat.pzxid != as_of;
  });
}

void Directories::open(const RequestPtr& request, KernelNode id, fuse_file_info info) {
  bool replaced = false;
  bool is_cached = reader_.read([&](const tree::Tree& tree) {
    Node node;
    const tree::ZNode* znode = reader_.znode_of(tree, id, node);
    // A removed one is empty, and one that took its place is another one.
    replaced = node.gone && node.control == Control::kNone && tree.find(node.path) != nullptr;
    if (znode == nullptr || node.control != Control::kNone) return false;
    // The kernel drops a cached listing when it sees another mtime. One set by utimens doesn't move
    // with the listing, nor does any with the kinds of what is in it, so such directories aren't
    // cached. Nor are those that change just now: a change outdates the answer with the mtime of
    // the one before it.
    return !reader_.view(tree, *znode, node.path).has_set_mtime &&
           node.retyped <= znode->stat.pzxid && turns_.is_calm(*znode) &&
           nodes_.is_stable(node.path);
  });
  if (replaced || !nodes_.find(id)) return static_cast<void>(request->reply(ESTALE));
  info.fh = numbers_.next();
  info.cache_readdir = is_cached;
  info.keep_cache = is_cached;
  auto listing = std::make_shared<Listing>();
  listing->is_cached = is_cached;
  listings_.add(info.fh, std::move(listing));
  request->reply_opened(info);
}

void Directories::read(const RequestPtr& request, KernelNode id, size_t size, off_t offset,
                       uint64_t handle) {
  std::shared_ptr<Listing> listing = listings_.find(handle);
  if (!listing) return static_cast<void>(request->reply(EBADF));
  MutexLock lock(listing->mutex);
  Names& names = listing->names;
  // The kernel may begin in the middle: behind what it has cached, or after a seekdir. It would put
  // together what it has cached of the directory as it is now, and what is left of this listing.
  if (offset == 0 || names.sorted.empty() || (listing->is_cached && has_changed(id, names.as_of))) {
    names = names_of(id);
  }
  auto at = std::upper_bound(names.sorted.begin(), names.sorted.end(), offset,
                             [](off_t cookie, const auto& name) { return cookie < name.first; });
  std::string buffer(size, '\0');
  size_t used = 0;
  for (; at != names.sorted.end(); ++at) {
    const auto& [next, name] = *at;
    if (used + fuse_add_direntry(nullptr, nullptr, 0, name.c_str(), nullptr, 0) > size) break;
    struct stat st = {};
    if (!fill(id, name, st)) continue;  // removed since the listing was taken
    used += fuse_add_direntry(nullptr, buffer.data() + used, size - used, name.c_str(), &st, next);
  }
  request->reply_bytes({buffer.data(), used});
}

// The number and kind of a name in a directory; false if it has no such name.
bool Directories::fill(KernelNode id, const std::string& name, struct stat& st) const {
  st.st_ino = id;
  st.st_mode = S_IFDIR;
  return reader_.read([&](const tree::Tree& tree) {
    Node node;
    if (reader_.znode_of(tree, id, node) == nullptr) return false;
    if (name == "." || name == "..") return true;
    if (node.control != Control::kNone) {
      bool is_staging = node.control == Control::kTxn;
      bool is_directory = is_staging || is_control_directory(control_named(name, true));
      st.st_mode = is_directory ? S_IFDIR : S_IFREG;
      return true;
    }
    std::string path = tree::join_path(node.path, name);
    const tree::ZNode* child = tree.find(path);
    if (child != nullptr) st = stat_of(reader_.view(tree, *child, path));
    return child != nullptr;
  });
}

void Directories::close(const RequestPtr& request, uint64_t handle) {
  listings_.take(handle);
  request->reply(0);
}

}  // namespace zabfs::fsd
