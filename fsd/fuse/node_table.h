// The names and nodes the kernel holds, and what it may cache of them.
//
// A node is what one kernel node id stands for: a znode by path and czxid, or a file of the control
// room. Names given out as absent are remembered too. When a commit is about to become visible,
// `begin_change` marks what it touches and says what the kernel must forget; until `end_change`
// nothing marked is given out for caching. Readers register what they give out in the same section
// (under the tree's shared lock) in which they read it, so no reply can slip between. What a node
// stands for changes with the tree, under the tree's exclusive lock.
//
// Thread-safe. Lock order: the tree's lock, then this table's.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "consensus/mutex.h"
#include "fsd/view/control.h"
#include "tree/posix.h"
#include "tree/types.h"

namespace zabfs::fsd {

using KernelNode = uint64_t;  // fuse_ino_t
inline constexpr KernelNode kRootNode = 1;

// A copy of what is known of a node; valid at the time of asking.
struct Node {
  KernelNode id = 0;
  Control control = Control::kNone;
  std::string path;  // of the znode; in the control room, of its directory
  std::string name;  // of a file in one of the room's directories
  tree::Zxid czxid;  // in the control room, its directory's
  tree::Kind kind = tree::Kind::kFile;
  bool gone = false;  // the znode it stood for is no more
  // Its attributes when it went: open files and working directories are still asked for them.
  std::optional<struct stat> last;
  tree::Zxid retyped;  // of a directory: when a child last became a file, or one again
};

// Whether that is the znode which the node stands for, or whose room it is in.
inline bool stands_for(const Node& node, tree::Zxid czxid) {
  return node.path == "/" || node.czxid == czxid;
}

class NodeTable {
 public:
  // A name that the kernel may have in its cache.
  struct HeldName {
    KernelNode parent;
    std::string name;
    bool operator==(const HeldName&) const = default;
  };
  // What the kernel must be told before a commit becomes visible.
  struct Forget {
    std::vector<KernelNode> attributes;
    std::vector<HeldName> names;
    bool all_names = false;
    bool local = false;  // the kernel has one of the names in its cache that it is changing itself
  };

  NodeTable();

  std::optional<Node> find(KernelNode id) const;
  // The node of a znode, made if new; counts one lookup. A node that stood for another znode or
  // kind at that path is gone from here on. `cacheable` says whether the kernel may keep it.
  KernelNode look_up(const std::string& path, tree::Zxid czxid, tree::Kind kind, bool& cacheable);
  KernelNode look_up_control(const std::string& directory, tree::Zxid czxid, Control control,
                             const std::string& name);
  // The node that the kernel holds for a path now; 0 if it holds none.
  KernelNode held(const std::string& path) const;
  // The same, with those that were set aside.
  std::vector<KernelNode> all_held(const std::string& path) const;
  // What it is held as, the root aside.
  std::optional<tree::Kind> held_kind(const std::string& path) const;
  // For a name that is gone: the node it had, if the kernel still holds that, else a new one that
  // stands for nothing. Counts one lookup.
  KernelNode look_up_gone(KernelNode before, const std::string& path, tree::Kind kind);
  // True if that was the last of its lookups: the kernel doesn't hold it any more.
  bool forget(KernelNode id, uint64_t lookups);
  // Whether the name may be given out to be kept, with the node that it is held as.
  bool note_kept(const std::string& path);
  // The same of a node's attributes; and whether they were since it is held.
  bool note_attributes_kept(KernelNode id);
  bool were_attributes_kept(KernelNode id) const;
  // Whether absence of the name may be cached: only from the second time it is asked for, so that
  // files that are looked for and then made cost no invalidation.
  bool note_absent(const std::string& path);
  // Before the kernel is told to forget all names: of those that were given out nothing is kept.
  void forgetting_all_names();
  // Whether attributes just read may be cached.
  bool is_stable(const std::string& path) const;

  // Uncommitted data in handles: attributes of such a file are not cached.
  void add_dirty(const std::string& path, int delta);

  // Changes of a commit: paths created or deleted, and paths whose attributes change. `local` are
  // names that an operation of this kernel's is changing: it knows.
  Forget begin_change(const std::vector<std::string>& names,
                      const std::vector<std::string>& attributes,
                      const std::unordered_set<std::string>& local);
  // Everything may have changed.
  Forget begin_change_of_all();
  void end_change();
  // The znode at `path` is about to be no more, and looks like this.
  void note_last(const std::string& path, const struct stat& last);
  // Of a node that is gone.
  void change_last(KernelNode id, const std::function<void(struct stat&)>& change);
  // The znode at `path` is no more; its node is gone.
  void drop(const std::string& path);
  // It is of another kind: its node is gone, and the name stands for another one.
  Forget end_name(const std::string& path);
  // The node stands for its znode, as before, but the name is given out with another from here on.
  void set_aside(KernelNode id);
  void note_retyped(const std::string& directory, tree::Zxid when);
  // The znode was renamed: nodes at and below `from` now stand for `to`. Those that stood for it
  // before are gone.
  void rename(const std::string& from, const std::string& to);
  // After a rename: what nodes at and below `top` stand for now. `czxid_of` gives a path's.
  void refresh_identities(const std::string& top,
                          const std::function<tree::Zxid(const std::string&)>& czxid_of);

 private:
  struct Entry {
    Node node;
    uint64_t lookups = 0;
    bool attributes_kept = false;  // given out to be kept, at least once
    uint64_t kept_in = 0;  // the age of names in which its name was last given out to be kept
  };
  static std::string control_key(const std::string& directory, Control control,
                                 const std::string& name);
  void unlink(Entry& entry) REQUIRES(mutex_);
  void drop_locked(const std::string& path) REQUIRES(mutex_);
  std::vector<KernelNode> all_held_locked(const std::string& path) const REQUIRES(mutex_);
  void drop_aliases(const std::string& path) REQUIRES(mutex_);
  KernelNode add(Node node, const std::string& key) REQUIRES(mutex_);
  bool is_stable_locked(const std::string& path) const REQUIRES(mutex_);
  void move_absences(const std::string& from, const std::string& to) REQUIRES(mutex_);
  bool is_kept(const std::string& path) const REQUIRES(mutex_);
  void end_keeping(const std::string& path, Forget& forget) REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::unordered_map<KernelNode, std::unique_ptr<Entry>> entries_ GUARDED_BY(mutex_);
  std::unordered_map<std::string, KernelNode> by_path_ GUARDED_BY(mutex_);  // live znodes
  // Nodes that were set aside: they stand for what has that name.
  std::unordered_map<std::string, std::vector<KernelNode>> aliases_ GUARDED_BY(mutex_);
  std::unordered_map<std::string, KernelNode> by_control_ GUARDED_BY(mutex_);
  std::unordered_set<std::string> absent_ GUARDED_BY(mutex_);
  std::unordered_set<std::string> asked_once_ GUARDED_BY(mutex_);
  std::unordered_set<std::string> changing_ GUARDED_BY(mutex_);
  bool all_changing_ GUARDED_BY(mutex_) = false;
  bool forget_names_ GUARDED_BY(mutex_) = false;  // absences were dropped to bound their number
  uint64_t age_ GUARDED_BY(mutex_) = 1;  // of names: one more each time that all are forgotten
  std::unordered_map<std::string, int> dirty_ GUARDED_BY(mutex_);
  KernelNode next_ GUARDED_BY(mutex_) = kRootNode + 1;
};

}  // namespace zabfs::fsd
