// Names, attributes and listings: what is read of the tree beside contents.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "fsd/fuse/mount.h"
#include "tree/path.h"

namespace zabfs::fsd {

namespace {

constexpr double kLongSeconds = 86'400;  // commits invalidate; the timeout only has to be long
constexpr std::string_view kXattrPrefix = "user.zabfs.";

// The place of a name in every listing. Those of "." and ".." are the smallest.
off_t cookie_of(std::string_view name) {
  if (name == ".") return 1;
  if (name == "..") return 2;
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  hash ^= hash >> 32;
  return static_cast<off_t>(std::max<uint64_t>(hash & 0x7fffffffffffffff, 3));
}

}  // namespace

void Mount::init(fuse_conn_info* connection) {
  // Requests are looked at before they are handled, so they must be in memory.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ);
  // The kernel takes names out of a READDIRPLUS answer as of the epoch when it gets to them, not of
  // the request's: one that crosses a change would leave a name that is gone in its cache.
  connection->want &= ~static_cast<unsigned>(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
  connection->max_write = 1u << 20;
  connection->max_background = 64;
}

// The kernel takes notifications from the answer to INIT on, so that the first request asks.
bool Mount::can_forget_names() {
  if (names_cacheable_ < 0) names_cacheable_ = kernel_.forget_names() ? 1 : 0;
  return names_cacheable_ > 0;
}

double Mount::name_timeout() { return can_forget_names() ? kLongSeconds : 0; }

std::optional<Node> Mount::find_node(fuse_ino_t id) const {
  std::optional<Node> node = nodes_.find(id);
  struct stat st = {};
  bool in_room = node && node->control != Control::kNone;
  if (in_room && !control_attributes(*node, st)) node->gone = true;
  return node;
}

std::optional<Node> Mount::live_node(fuse_req_t req, fuse_ino_t id) {
  std::optional<Node> node = find_node(id);
  if (!node || node->gone) {
    fuse_reply_err(req, ESTALE);
    return std::nullopt;
  }
  return node;
}

std::optional<Node> Mount::live_node(const RequestPtr& request, fuse_ino_t id) {
  std::optional<Node> node = find_node(id);
  if (node && !node->gone) return node;
  request->reply(ESTALE);
  return std::nullopt;
}

const tree::ZNode* Mount::znode_of(const tree::Tree& tree, KernelNode id, Node& node) const {
  std::optional<Node> found = nodes_.find(id);
  if (!found) return nullptr;
  node = std::move(*found);
  const tree::ZNode* znode = node.gone ? nullptr : tree.find(node.path);
  if (znode != nullptr && stands_for(node, znode->stat.czxid)) return znode;
  node.gone = true;
  return nullptr;
}

std::optional<std::string> Mount::child_path(fuse_req_t req, fuse_ino_t parent, const char* name) {
  std::optional<Node> node = nodes_.find(parent);
  int error = 0;
  std::string_view text(name);
  std::string path;
  if (!node || node->gone) {
    error = ENOENT;
  } else if (node->control != Control::kNone) {
    error = EPERM;
  } else if (text.size() > tree::kMaxNameBytes) {
    error = ENAMETOOLONG;
  } else if (!tree::is_valid_name(text) || text == kHidden) {
    error = EINVAL;
  } else {
    path = tree::join_path(node->path, text);
    if (path.size() > tree::kMaxPathBytes) error = ENAMETOOLONG;
  }
  if (error == 0) return path;
  fuse_reply_err(req, error);
  return std::nullopt;
}

View Mount::view(const tree::Tree& tree, const tree::ZNode& node, const std::string& path) const {
  return view_of(tree, node, path, view_options_);
}

// Under the tree's lock (or on the strand): registers what it gives out.
bool Mount::fill_entry(const tree::Tree& tree, const std::string& path, bool fresh_attributes,
                       fuse_entry_param& entry, bool* must_wait) {
  const tree::ZNode* node = tree.find(path);
  if (node == nullptr) return false;
  View shown = view(tree, *node, path);
  bool cacheable = false;
  entry = {};
  entry.ino = nodes_.look_up(path, node->stat.czxid, shown.kind, cacheable);
  entry.attr = stat_of(shown);
  entry.entry_timeout = cacheable && !replayer_.is_pending(path) ? name_timeout() : 0;
  // Attributes in answers that the kernel doesn't order against invalidations are not cached. Those
  // of a lookup it does order for a node that it has: if that goes before the answer is there, the
  // kernel sees that it can't rely on it (since 6.15). For one that it is to get by this answer,
  // forget_caches does.
  PageCache::Told told = tell(entry.ino, node->stat.mzxid, !fresh_attributes, entry.attr);
  if (must_wait != nullptr) *must_wait = told == PageCache::Told::kWait;
  bool may_cache = cacheable && !fresh_attributes && told == PageCache::Told::kTake &&
                   !changes_without_txn(path) && can_forget_names();
  entry.attr_timeout = may_cache ? kLongSeconds : 0;
  // It may be about to go.
  if (!cacheable) nodes_.note_last(path, entry.attr);
  return true;
}

void Mount::lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  std::optional<Node> node = find_node(parent);
  if (!node || node->gone) return static_cast<void>(fuse_reply_err(req, ENOENT));
  std::string_view text(name);
  if (node->control != Control::kNone) return lookup_control(req, *node, name);
  if (text.size() > tree::kMaxNameBytes) {
    return static_cast<void>(fuse_reply_err(req, ENAMETOOLONG));
  }
  fuse_entry_param entry = {};
  if (text == kHidden) {
    if (!fill_control_entry(*node, Control::kRoom, "", entry)) {
      return static_cast<void>(fuse_reply_err(req, ENOENT));
    }
    return static_cast<void>(fuse_reply_entry(req, &entry));
  }
  std::string path = tree::join_path(node->path, text);
  if (is_helper(req) && replay_lookup(req, path)) return;
  std::string again(name);
  if (releases_.holds(path, [this, req, parent, again] { lookup(req, parent, again.c_str()); })) {
    return;
  }
  lookup_child(req, parent, again);
}

void Mount::lookup_child(fuse_req_t req, fuse_ino_t parent, const std::string& name) {
  fuse_entry_param entry = {};
  bool must_wait = false;
  bool found = service_.replica().read([&](const tree::Tree& tree) {
    Node directory;
    if (znode_of(tree, parent, directory) == nullptr) return false;
    std::string path = tree::join_path(directory.path, name);
    if (fill_entry(tree, path, false, entry, &must_wait)) return true;
    entry = {};
    bool cacheable = nodes_.note_absent(path) && !replayer_.is_pending(path);
    entry.entry_timeout = cacheable ? name_timeout() : 0;
    return false;
  });
  if (must_wait) {
    return tell_later(entry.ino, [this, req, parent, name, id = entry.ino] {
      forget(id, 1);  // it is counted again
      lookup_child(req, parent, name);
    });
  }
  if (!found && entry.entry_timeout <= 0) return static_cast<void>(fuse_reply_err(req, ENOENT));
  fuse_reply_entry(req, &entry);
}

void Mount::reply_entry(fuse_req_t req, const std::string& path, bool fresh_attributes) {
  fuse_entry_param entry = {};
  bool found = service_.replica().read(
      [&](const tree::Tree& tree) { return fill_entry(tree, path, fresh_attributes, entry); });
  if (!found) return static_cast<void>(fuse_reply_err(req, ESTALE));
  fuse_reply_entry(req, &entry);
}

void Mount::reply_control_attributes(fuse_req_t req, const Node& node) {
  struct stat st = {};
  if (!control_attributes(node, st)) return static_cast<void>(fuse_reply_err(req, ESTALE));
  fuse_reply_attr(req, &st, 0);
}

void Mount::reply_attributes(fuse_req_t req, fuse_ino_t id, const OpenFile* writer,
                             bool may_cache) {
  struct stat st = {};
  bool cacheable = false;
  bool must_wait = false;
  Node node;
  bool found = service_.replica().read([&](const tree::Tree& tree) {
    const tree::ZNode* znode = znode_of(tree, id, node);
    if (znode == nullptr) return false;
    if (node.control != Control::kNone) return true;
    View shown = view(tree, *znode, node.path);
    if (shown.kind != node.kind && id != kRootNode) return false;
    st = stat_of(shown);
    cacheable = may_cache && nodes_.is_stable(node.path) && !changes_without_txn(node.path);
    if (writer != nullptr) {
      kernel_wrote(id);
    } else {
      PageCache::Told told = tell(id, znode->stat.mzxid, may_cache, st);
      must_wait = told == PageCache::Told::kWait;
      cacheable = cacheable && told == PageCache::Told::kTake;
    }
    return true;
  });
  if (!found) {
    // Removed, and open or somebody's working directory.
    if (node.last) return static_cast<void>(fuse_reply_attr(req, &*node.last, 0));
    return static_cast<void>(fuse_reply_err(req, ESTALE));
  }
  if (node.control != Control::kNone) return reply_control_attributes(req, node);
  if (must_wait) {
    return tell_later(
        id, [this, req, id, may_cache] { reply_attributes(req, id, nullptr, may_cache); });
  }
  if (writer != nullptr && writer->written.is_dirty()) {
    st.st_size = static_cast<off_t>(writer->written.image(committed(id)).size());
    cacheable = false;
  }
  fuse_reply_attr(req, &st, cacheable ? kLongSeconds : 0);
}

void Mount::getattr(fuse_req_t req, fuse_ino_t id, const fuse_file_info* info) {
  get_attributes(req, id, info != nullptr ? files_.find(info->fh) : nullptr);
}

void Mount::get_attributes(fuse_req_t req, fuse_ino_t id, const FilePtr& file) {
  if (file && file->cached) return answer_reader(req, id, file);
  std::optional<Node> node = nodes_.find(id);
  if (!node) return static_cast<void>(fuse_reply_err(req, ESTALE));
  if (node->control != Control::kNone) return reply_control_attributes(req, *node);
  if (releases_.holds(node->path, [this, req, id, file] { get_attributes(req, id, file); })) return;
  if (file && file->writable) {
    return on_strand([this, req, id, file] { reply_attributes(req, id, file.get(), false); });
  }
  reply_attributes(req, id, nullptr, true);
}

void Mount::readlink(fuse_req_t req, fuse_ino_t id) {
  tree::Bytes target;
  bool is_link = service_.replica().read([&](const tree::Tree& tree) {
    Node node;
    const tree::ZNode* znode = znode_of(tree, id, node);
    if (znode == nullptr || view(tree, *znode, node.path).kind != tree::Kind::kSymlink) {
      return false;
    }
    target = znode->data;
    return true;
  });
  if (!is_link) return static_cast<void>(fuse_reply_err(req, ESTALE));
  if (target.is_null()) return static_cast<void>(fuse_reply_err(req, ENOENT));
  fuse_reply_readlink(req, std::string(target.view()).c_str());
}

// ---- directories

void Mount::list(KernelNode id, Listing& listing) const {
  auto& names = listing.names;
  names.clear();
  auto add = [&names](std::string_view name) {
    names.emplace_back(cookie_of(name), std::string(name));
  };
  service_.replica().read([&](const tree::Tree& tree) {
    Node node;
    const tree::ZNode* znode = znode_of(tree, id, node);
    if (znode == nullptr) return;
    for (const char* name : {".", ".."}) add(name);
    if (node.control == Control::kRoom) {
      for (const std::string& name : room_names(node.path == "/")) add(name);
    }
    if (node.control == Control::kTxn) znode = tree.find(hidden_path(node.path, kTxnChild));
    bool has_children = node.control == Control::kNone || node.control == Control::kTxn;
    if (znode == nullptr || !has_children) return;
    listing.as_of = znode->stat.pzxid;
    names.reserve(znode->children.size() + 2);
    tree.for_each_child(*znode, [&](const tree::ZNode& child) {
      if (child.name.view() != kHidden) add(child.name.view());
    });
  });
  std::sort(names.begin(), names.end());
}

// Whether the kernel would put together what it has of the directory as it is now, and what is left
// of this listing.
bool Mount::is_outdated(KernelNode id, const Listing& listing) const {
  if (!listing.is_cached) return false;
  return service_.replica().read([&](const tree::Tree& tree) {
    Node node;
    const tree::ZNode* znode = znode_of(tree, id, node);
    return znode != nullptr && znode->stat.pzxid != listing.as_of;
  });
}

void Mount::opendir(fuse_req_t req, fuse_ino_t id, const fuse_file_info* given) {
  fuse_file_info info = *given;
  bool replaced = false;
  bool is_cached = service_.replica().read([&](const tree::Tree& tree) {
    Node node;
    const tree::ZNode* znode = znode_of(tree, id, node);
    // A removed one is empty, and one that took its place is another one.
    replaced = node.gone && node.control == Control::kNone && tree.find(node.path) != nullptr;
    if (znode == nullptr || node.control != Control::kNone) return false;
    // The kernel drops a cached listing when it sees another mtime. One set by utimens doesn't move
    // with the listing, nor does any with the kinds of what is in it, so such directories aren't
    // cached. Nor are those that change just now: a change outdates the answer with the mtime of
    // the one before it.
    return !view(tree, *znode, node.path).has_set_mtime && node.retyped <= znode->stat.pzxid &&
           is_calm(*znode) && nodes_.is_stable(node.path);
  });
  if (replaced || !nodes_.find(id)) return static_cast<void>(fuse_reply_err(req, ESTALE));
  info.fh = next_handle_++;
  info.cache_readdir = is_cached;
  info.keep_cache = is_cached;
  auto listing = std::make_shared<Listing>();
  listing->is_cached = is_cached;
  listings_.add(info.fh, std::move(listing));
  fuse_reply_open(req, &info);
}

void Mount::readdir(fuse_req_t req, fuse_ino_t id, size_t size, off_t offset,
                    const fuse_file_info* info) {
  std::shared_ptr<Listing> listing = listings_.find(info->fh);
  if (!listing) return static_cast<void>(fuse_reply_err(req, EBADF));
  std::lock_guard lock(listing->mutex);
  // The kernel may begin in the middle: behind what it has cached, or after a seekdir.
  if (offset == 0 || listing->names.empty() || is_outdated(id, *listing)) list(id, *listing);
  auto at = std::upper_bound(listing->names.begin(), listing->names.end(), offset,
                             [](off_t cookie, const auto& name) { return cookie < name.first; });
  std::string buffer(size, '\0');
  size_t used = 0;
  for (; at != listing->names.end(); ++at) {
    const auto& [next, name] = *at;
    if (used + fuse_add_direntry(req, nullptr, 0, name.c_str(), nullptr, 0) > size) break;
    struct stat st = {};
    if (!fill_listed(id, name, st)) continue;  // removed since the listing was taken
    used += fuse_add_direntry(req, buffer.data() + used, size - used, name.c_str(), &st, next);
  }
  fuse_reply_buf(req, buffer.data(), used);
}

// The number and kind of a name in a directory; false if it has no such name.
bool Mount::fill_listed(KernelNode id, const std::string& name, struct stat& st) const {
  st.st_ino = id;
  st.st_mode = S_IFDIR;
  return service_.replica().read([&](const tree::Tree& tree) {
    Node node;
    if (znode_of(tree, id, node) == nullptr) return false;
    if (name == "." || name == "..") return true;
    if (node.control != Control::kNone) {
      bool is_staging = node.control == Control::kTxn;
      bool is_directory = is_staging || is_control_directory(control_named(name, true));
      st.st_mode = is_directory ? S_IFDIR : S_IFREG;
      return true;
    }
    std::string path = tree::join_path(node.path, name);
    const tree::ZNode* child = tree.find(path);
    if (child != nullptr) st = stat_of(view(tree, *child, path));
    return child != nullptr;
  });
}

void Mount::releasedir(fuse_req_t req, const fuse_file_info* info) {
  listings_.take(info->fh);
  fuse_reply_err(req, 0);
}

// ---- extended attributes: the Stat, read-only

namespace {

std::vector<std::pair<std::string, std::string>> stat_lines(const tree::Stat& stat) {
  auto zxid = [](tree::Zxid value) { return fmt::format("0x{:x}", value.value); };
  return {{"czxid", zxid(stat.czxid)},
          {"mzxid", zxid(stat.mzxid)},
          {"pzxid", zxid(stat.pzxid)},
          {"ctime", std::to_string(stat.ctime_ms)},
          {"mtime", std::to_string(stat.mtime_ms)},
          {"version", std::to_string(stat.version)},
          {"cversion", std::to_string(stat.cversion)},
          {"aversion", std::to_string(stat.aversion)},
          {"ephemeralOwner", std::to_string(stat.ephemeral_owner)},
          {"dataLength", std::to_string(stat.data_length)},
          {"numChildren", std::to_string(stat.num_children)}};
}

void reply_xattr(fuse_req_t req, const std::string& value, size_t size) {
  if (size == 0) {
    fuse_reply_xattr(req, value.size());
  } else if (size < value.size()) {
    fuse_reply_err(req, ERANGE);
  } else {
    fuse_reply_buf(req, value.data(), value.size());
  }
}

}  // namespace

void Mount::getxattr(fuse_req_t req, fuse_ino_t id, const char* name, size_t size) {
  std::optional<Node> node = live_node(req, id);
  if (!node) return;
  std::string_view text(name);
  // ls -l asks each file for its POSIX ACL and its security label, unless it hears that there are
  // no such things here.
  if (!text.starts_with("user.")) return static_cast<void>(fuse_reply_err(req, EOPNOTSUPP));
  if (!text.starts_with(kXattrPrefix)) return static_cast<void>(fuse_reply_err(req, ENODATA));
  text.remove_prefix(kXattrPrefix.size());
  if (text == "quorum" && id == kRootNode) {
    return reply_xattr(req, writer_.has_leader() ? "yes" : "no", size);
  }
  if (text == "deadline" && has_deadline(node->control)) {
    return reply_xattr(req, std::to_string(session_.deadline_ms()), size);
  }
  if (node->control != Control::kNone) return static_cast<void>(fuse_reply_err(req, ENODATA));
  std::optional<tree::Stat> stat =
      service_.replica().read([&](const tree::Tree& tree) -> std::optional<tree::Stat> {
        Node now;
        const tree::ZNode* znode = znode_of(tree, id, now);
        if (znode == nullptr) return std::nullopt;
        return tree.stat_of(*znode);
      });
  if (!stat) return static_cast<void>(fuse_reply_err(req, ESTALE));
  for (const auto& [key, value] : stat_lines(*stat)) {
    if (key == text) return reply_xattr(req, value, size);
  }
  fuse_reply_err(req, ENODATA);
}

void Mount::listxattr(fuse_req_t req, fuse_ino_t id, size_t size) {
  std::optional<Node> node = live_node(req, id);
  if (!node) return;
  std::string names;
  if (node->control == Control::kNone) {
    for (const auto& [key, value] : stat_lines(tree::Stat{})) {
      names += std::string(kXattrPrefix) + key + '\0';
    }
    if (id == kRootNode) names += std::string(kXattrPrefix) + "quorum" + '\0';
  }
  reply_xattr(req, names, size);
}

std::string stat_text(const tree::Stat& stat) {
  std::string text;
  for (const auto& [key, value] : stat_lines(stat)) text += key + " " + value + "\n";
  return text;
}

}  // namespace zabfs::fsd
