// `@/txn/`: many files, one commit. A staging directory `@/txn/NAME` is made of real znodes, in the
// hidden child of the directory; the rename to `NAME.commit` makes one multi of it: each staged
// file becomes the data of the file of its name below the directory, or a new one, and the staging
// directory goes. What changed since the staging directory was made is in conflict with it.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "fsd/recipes/room.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::Kind;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr size_t kOpBytes = 64;  // about what an operation takes beside its path and data

bool may(const View& view, const Room::Caller& caller, uint32_t wanted) {
  if (caller.uid == 0) return true;
  uint32_t bits = view.mode;
  if (caller.uid == view.uid) {
    bits >>= 6;
  } else if (std::find(caller.groups.begin(), caller.groups.end(), view.gid) !=
             caller.groups.end()) {
    bits >>= 3;
  }
  return (bits & wanted) == wanted;
}

constexpr uint32_t kSearch = 01, kWrite = 02;

// Makes the multi of one staging directory, or says why it can't be.
class Composer {
 public:
  Composer(Room& room, const Room::Caller& caller, tree::Zxid base)
      : room_(room), caller_(caller), base_(base) {}

  // An errno. `staged` is the staging directory's znode at `from`; it becomes `to`.
  int compose(const tree::ZNode& staged, const std::string& from, const std::string& to) {
    int error = may_enter(to);
    if (error == 0) error = fill(staged, from, to, false);
    if (error != 0) return error;
    for (auto path = staged_.rbegin(); path != staged_.rend(); ++path) {
      add(OpCode::kDelete, tree::delete_body(*path, tree::kAnyVersion), path->size());
    }
    add(OpCode::kDelete, tree::delete_body(from, tree::kAnyVersion), from.size());
    return bytes_ > tree::kMaxDataBytes ? EFBIG : 0;
  }
  std::string body() const { return tree::multi_body(ops_); }

 private:
  void add(OpCode type, std::string body, size_t bytes) {
    ops_.push_back({type, std::move(body)});
    bytes_ += bytes + kOpBytes;
  }

  // Search permission on the directory and all above it.
  int may_enter(const std::string& directory) {
    std::string path = directory;
    while (true) {
      const tree::ZNode* node = room_.tree().find(path);
      if (node == nullptr) return ESTALE;
      if (!may(room_.view(*node, path), caller_, kSearch)) return EACCES;
      if (path == "/") return 0;
      path = std::string(tree::parent_path(path));
    }
  }

  // `is_new`: this commit makes the directory `to`, so the caller may do all in it.
  int fill(const tree::ZNode& staged, const std::string& from, const std::string& to, bool is_new) {
    int error = 0;
    room_.tree().for_each_child(staged, [&](const tree::ZNode& child) {
      if (error != 0) return;
      std::string name(child.name.view());
      std::string source = tree::join_path(from, name);
      staged_.push_back(source);
      if (name == kHidden) {  // locks and numbers of the staging: they only go with it
        note_below(child, source);
        return;
      }
      error = put(child, source, tree::join_path(to, name), to, is_new);
    });
    return error;
  }

  void note_below(const tree::ZNode& node, const std::string& path) {
    room_.tree().for_each_child(node, [&](const tree::ZNode& child) {
      std::string below = tree::join_path(path, child.name.view());
      staged_.push_back(below);
      note_below(child, below);
    });
  }

  int put(const tree::ZNode& staged, const std::string& from, const std::string& to,
          const std::string& parent, bool parent_is_new) {
    View shown = room_.view(staged, from);
    bool is_directory = shown.kind == Kind::kDirectory;
    const tree::ZNode* target = parent_is_new ? nullptr : room_.tree().find(to);
    if (target == nullptr) {
      const tree::ZNode* directory = parent_is_new ? nullptr : room_.tree().find(parent);
      if (directory && !may(room_.view(*directory, parent), caller_, kWrite | kSearch)) {
        return EACCES;
      }
      add(OpCode::kCreate,
          tree::create_body(to, staged.data.view(), acl_of_new(staged), tree::kCreatePersistent),
          to.size() + staged.data.size());
      return is_directory ? fill(staged, from, to, true) : 0;
    }
    View there = room_.view(*target, to);
    if (is_directory) {
      if (there.kind != Kind::kDirectory) return ENOTDIR;
      if (!may(there, caller_, kSearch)) return EACCES;
      return fill(staged, from, to, false);
    }
    if (there.kind == Kind::kDirectory) return EISDIR;
    if (there.kind != shown.kind) return EEXIST;
    if (shown.kind == Kind::kFile && !may(there, caller_, kWrite)) return EACCES;
    if (target->stat.mzxid > base_ || target->stat.czxid > base_) return ESTALE;
    add(OpCode::kSetData, tree::set_data_body(to, staged.data.view(), target->stat.version),
        to.size() + staged.data.size());
    return 0;
  }

  // As it was staged; a time that was set goes with it, though versions begin anew.
  tree::AclList acl_of_new(const tree::ZNode& staged) const {
    tree::AclList acl = room_.tree().acl_of(staged);
    std::optional<tree::PosixEntry> posix = tree::find_posix(acl);
    if (!posix || !posix->mtime) return acl;
    if (posix->mtime_version != staged.stat.version) posix->mtime.reset();
    posix->mtime_version = 0;
    return tree::with_posix(acl, *posix);
  }

  Room& room_;
  const Room::Caller& caller_;
  tree::Zxid base_;  // the txn that made the staging directory
  std::vector<tree::MultiOp> ops_;
  std::vector<std::string> staged_;  // parents first
  size_t bytes_ = 0;
};

}  // namespace

void Room::commit_txn(const std::string& directory, const std::string& name, const Caller& caller,
                      Handle::Done done) {
  std::string staging = txn_path(directory, name);
  const tree::ZNode* staged = tree().find(staging);
  if (staged == nullptr) return done(ENOENT);
  Composer composer(*this, caller, staged->stat.czxid);
  int error = composer.compose(*staged, staging, directory);
  if (error != 0) return done(error);
  writer_.commit(OpCode::kMulti, composer.body(), [done](const Outcome& outcome) {
    Error first = outcome.error;
    for (const tree::OpOutcome& op : outcome.ops) {
      bool tells = op.error != Error::kOk && op.error != Error::kRuntimeInconsistency;
      if (tells && (first == Error::kOk || first == Error::kRuntimeInconsistency)) first = op.error;
    }
    // Another commit was faster.
    bool conflict = first == Error::kBadVersion || first == Error::kNodeExists ||
                    first == Error::kNoNode || first == Error::kNotEmpty;
    done(conflict ? ESTALE : to_errno(first));
  });
}

}  // namespace zabfs::fsd
