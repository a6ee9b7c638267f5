#include "fsd/fuse/node_answers.h"

#include <cerrno>

#include "tree/path.h"

namespace zabfs::fsd {

bool NodeAnswers::fill_entry(const tree::Tree& tree, const std::string& path, bool is_fresh,
                             fuse_entry_param& entry, bool* must_wait) {
  const tree::ZNode* znode = tree.find(path);
  if (znode == nullptr) return false;
  View shown = reader_.view(tree, *znode, path);
  bool cacheable = false;
  bool is_held = nodes_.held(path) != 0;
  entry = {};
  entry.ino = nodes_.look_up(path, znode->stat.czxid, shown.kind, cacheable);
  entry.attr = stat_of(shown);
  bool keeps = !replayer_.is_pending(path) && cache_.may_keep_names_in(tree::parent_path(path)) &&
               nodes_.note_kept(path);
  entry.entry_timeout = keeps ? KernelCache::kLongSeconds : 0;
  // Attributes in answers that the kernel doesn't order against notifications are not cached. Those
  // of a lookup it does order for a node that it has: if a notification goes before the answer is
  // there, the kernel sees that it can't rely on it (since 6.15). For a node that it is to get by
  // this answer, KernelCache waits: so not where that would be often.
  PageCache::Told told = turns_.tell(entry.ino, znode->stat.mzxid, 0, !is_fresh, entry.attr);
  if (must_wait != nullptr) *must_wait = told == PageCache::Told::kWait;
  bool may_cache = cacheable && !is_fresh && told == PageCache::Told::kTake &&
                   (is_held || turns_.is_calm(*znode)) && !changes_without_txn(path) &&
                   cache_.can_forget_names() && nodes_.note_attributes_kept(entry.ino);
  entry.attr_timeout = may_cache ? KernelCache::kLongSeconds : 0;
  // It may be about to go.
  if (!cacheable) nodes_.note_last(path, entry.attr);
  return true;
}

bool NodeAnswers::fill_control_entry(const Node& parent, Control control, const std::string& name,
                                     fuse_entry_param& entry) {
  Node node;
  node.control = control;
  node.path = parent.path;
  node.czxid = parent.czxid;
  node.name = name;
  entry = {};
  std::optional<View> shown = reader_.control_view(node);
  if (!shown) return false;
  entry.attr = stat_of(*shown);
  entry.ino = nodes_.look_up_control(node.path, node.czxid, control, name);
  return true;
}

bool NodeAnswers::reply_entry(const RequestPtr& request, const std::string& path, bool is_fresh,
                              int error_if_absent) {
  fuse_entry_param entry = {};
  bool found =
      reader_.read([&](const tree::Tree& tree) { return fill_entry(tree, path, is_fresh, entry); });
  if (found) return request->reply_entry(entry) == 0;
  request->reply(error_if_absent);
  return false;
}

void NodeAnswers::reply_attributes(const RequestPtr& request, KernelNode id, bool may_cache) {
  struct stat st = {};
  PageCache::Told told = PageCache::Told::kTake;
  bool cacheable = false;
  Node node;
  pid_t thread = request->asker().pid;
  bool found = reader_.read([&](const tree::Tree& tree) {
    const tree::ZNode* znode = shown_znode(tree, id, node, st);
    if (znode == nullptr) return false;
    cacheable = may_cache && nodes_.is_stable(node.path) && !changes_without_txn(node.path);
    told = turns_.tell(id, znode->stat.mzxid, thread, may_cache, st);
    return true;
  });
  if (!found) return reply_without_znode(request, node);
  if (told == PageCache::Told::kWait) {
    return turns_.tell_later(
        id, [this, request, id, may_cache] { reply_attributes(request, id, may_cache); });
  }
  cacheable = cacheable && told == PageCache::Told::kTake;
  request->reply_attributes(st, cacheable ? KernelCache::kLongSeconds : 0);
}

void NodeAnswers::reply_writers_attributes(const RequestPtr& request, KernelNode id,
                                           std::optional<size_t> written) {
  struct stat st = {};
  Node node;
  bool found = reader_.read([&](const tree::Tree& tree) {
    if (shown_znode(tree, id, node, st) == nullptr) return false;
    turns_.kernel_wrote(id, request->asker().pid);
    return true;
  });
  if (!found) return reply_without_znode(request, node);
  if (written) st.st_size = static_cast<off_t>(*written);
  request->reply_attributes(st, 0);
}

// Under the tree's lock. Null for what is gone, and for files of a control room.
const tree::ZNode* NodeAnswers::shown_znode(const tree::Tree& tree, KernelNode id, Node& node,
                                            struct stat& st) const {
  const tree::ZNode* znode = reader_.znode_of(tree, id, node);
  if (znode == nullptr || node.control != Control::kNone) return nullptr;
  View shown = reader_.view(tree, *znode, node.path);
  if (shown.kind != node.kind && id != kRootNode) return nullptr;
  st = stat_of(shown);
  return znode;
}

void NodeAnswers::reply_without_znode(const RequestPtr& request, const Node& node) {
  if (node.control != Control::kNone && !node.gone) {
    if (std::optional<View> shown = reader_.control_view(node)) {
      request->reply_attributes(stat_of(*shown), 0);
      return;
    }
  } else if (node.last) {  // removed, and open or somebody's working directory
    struct stat st = *node.last;
    if (std::shared_ptr<Orphan> orphan = open_.orphan_of(node.id)) {
      st.st_size = static_cast<off_t>(orphan->size());
    }
    turns_.tell_shown(node.id, st);
    request->reply_attributes(st, 0);
    return;
  }
  request->reply(ESTALE);
}

}  // namespace zabfs::fsd
