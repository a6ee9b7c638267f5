#include "fsd/fuse/names.h"

#include <cerrno>
#include <utility>

#include "fsd/recipes/room.h"
#include "fsd/view/control.h"
#include "tree/path.h"

namespace zabfs::fsd {

// ---- names

void Names::lookup(const RequestPtr& request, KernelNode parent, const std::string& name) {
  std::optional<Node> node = parts_.reader.find(parent);
  if (!node || node->gone) return static_cast<void>(request->reply(ENOENT));
  if (node->control != Control::kNone) return lookup_control(request, *node, name);
  if (name.size() > tree::kMaxNameBytes) return static_cast<void>(request->reply(ENAMETOOLONG));
  if (name == kHidden) {
    fuse_entry_param entry = {};
    bool found = parts_.answers.fill_control_entry(*node, Control::kRoom, "", entry);
    return static_cast<void>(found ? request->reply_entry(entry) : request->reply(ENOENT));
  }
  std::string path = tree::join_path(node->path, name);
  if (parts_.replays.is_helper(request->asker()) && parts_.replays.lookup(request, path)) return;
  auto again = [this, request, parent, name] { lookup(request, parent, name); };
  if (parts_.gate.holds(path, again)) return;
  lookup_child(request, parent, name);
}

void Names::lookup_child(const RequestPtr& request, KernelNode parent, const std::string& name) {
  fuse_entry_param entry = {};
  bool must_wait = false;
  bool found = parts_.reader.read([&](const tree::Tree& tree) {
    Node directory;
    if (parts_.reader.znode_of(tree, parent, directory) == nullptr) return false;
    std::string path = tree::join_path(directory.path, name);
    bool is_held = parts_.nodes.held(path) != 0;
    if (parts_.answers.fill_entry(tree, path, false, entry, &must_wait)) {
      bool is_kept = entry.entry_timeout > 0;
      if (is_held && is_kept)
        parts_.cache.note_looked_up_again(request->asker().pid, {parent, name});
      return true;
    }
    entry = {};
    bool keeps = !parts_.replayer.is_pending(path) &&
                 parts_.cache.may_keep_names_in(directory.path) && parts_.nodes.note_absent(path);
    entry.entry_timeout = keeps ? KernelCache::kLongSeconds : 0;
    return false;
  });
  if (must_wait) {
    return parts_.turns.tell_later(entry.ino, [this, request, parent, name, id = entry.ino] {
      forget(id, 1);  // it is counted again
      lookup_child(request, parent, name);
    });
  }
  if (!found && entry.entry_timeout <= 0) return static_cast<void>(request->reply(ENOENT));
  request->reply_entry(entry);
}

void Names::lookup_control(const RequestPtr& request, const Node& parent, const std::string& name) {
  if (parts_.past && is_of_the_past(parent.control))
    return parts_.past->look_up(request, parent, name);
  fuse_entry_param entry = {};
  bool found = false;
  if (parent.control == Control::kRoom) {
    Control control = control_named(name, parent.path == "/");
    found =
        control != Control::kNone && parts_.answers.fill_control_entry(parent, control, "", entry);
  } else if (parent.control == Control::kTxn) {
    if (tree::is_valid_name(name)) {
      parts_.answers.reply_entry(request, txn_path(parent.path, name), false, ENOENT);
      return;
    }
  } else if (parent.control == Control::kEphemeral) {
    // An ephemeral that is there is opened, not created; who may is decided then.
    std::string path = tree::join_path(parent.path, name);
    bool exists = parts_.reader.read([&](const tree::Tree& tree) {
      const tree::ZNode* node = tree.find(path);
      return node != nullptr && tree::owner_kind(node->stat.owner) == tree::OwnerKind::kEphemeral;
    });
    found =
        exists && parts_.answers.fill_control_entry(parent, Control::kEphemeralFile, name, entry);
  } else {
    Control control = member_named(parent.control, name);
    std::string below = parent.name.empty() ? name : parent.name + "/" + name;
    found = control != Control::kNone &&
            parts_.answers.fill_control_entry(parent, control, below, entry);
  }
  static_cast<void>(found ? request->reply_entry(entry) : request->reply(ENOENT));
}

void Names::forget(KernelNode id, uint64_t lookups) {
  if (parts_.nodes.forget(id, lookups)) parts_.turns.forget(id);
}

// ---- attributes

void Names::attributes(const RequestPtr& request, KernelNode id,
                       const std::shared_ptr<OpenFile>& file) {
  std::optional<Node> node = parts_.nodes.find(id);
  if (!node || (file && file->cached && file->lost)) {
    return static_cast<void>(request->reply(ESTALE));
  }
  if (parts_.past && is_of_the_past(node->control)) return parts_.past->attributes(request, *node);
  auto again = [this, request, id, file] { attributes(request, id, file); };
  bool is_control = node->control != Control::kNone;
  if (!is_control && parts_.gate.holds(node->path, again)) return;
  if (file && file->cached) {
    return parts_.turns.ask(request, id, file, [this, id](const RequestPtr& asked) {
      parts_.answers.reply_attributes(asked, id, true);
    });
  }
  if (!is_control && file && file->writable) {
    return parts_.service.post([this, request, id, file] {
      std::optional<size_t> size;
      if (file->written.is_dirty()) size = file->written.image(parts_.commits.committed(id)).size();
      parts_.answers.reply_writers_attributes(request, id, size);
    });
  }
  parts_.answers.reply_attributes(request, id, true);
}

void Names::link(const RequestPtr& request, KernelNode id) {
  std::optional<Node> named = parts_.reader.find(id);
  if (parts_.past && named && !named->gone && is_of_the_past(named->control)) {
    return parts_.past->link(request, *named);
  }
  tree::Bytes target;
  bool is_link = parts_.reader.read([&](const tree::Tree& tree) {
    Node node;
    const tree::ZNode* znode = parts_.reader.znode_of(tree, id, node);
    if (znode == nullptr ||
        parts_.reader.view(tree, *znode, node.path).kind != tree::Kind::kSymlink) {
      return false;
    }
    target = znode->data;
    return true;
  });
  if (!is_link) return static_cast<void>(request->reply(ESTALE));
  if (target.is_null()) return static_cast<void>(request->reply(ENOENT));
  request->reply_link(std::string(target.view()));
}

}  // namespace zabfs::fsd
