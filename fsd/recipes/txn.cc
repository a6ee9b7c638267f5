// `@/txn/`: many files, one commit. A staging directory `@/txn/NAME` is made of real znodes, in the
// hidden child of the directory; the rename to `NAME.commit` makes one multi of it: each staged
// file becomes the data of the file of its name below the directory, or a new one, and the staging
// directory goes. What changed since the staging directory was made is in conflict with it.
//
// Its caller needs what copying each file there by hand would need: read what is staged, and write,
// create or replace the target. A staging directory is its maker's alone.
#include <algorithm>
#include <utility>

#include "fsd/recipes/placing.h"
#include "fsd/recipes/room.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::Kind;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr size_t kOpBytes = 64;  // about what an operation takes beside its path and data

// Makes the multi of one staging directory, or says why it can't be.
class Composer {
 public:
  Composer(Room& room, const Caller& caller, tree::Zxid base)
      : room_(room),
        caller_(caller),
        placing_(room.tree(), room.view_options(), caller),
        base_(base) {}

  // `staged` is the staging directory's znode at `from`; it becomes `to`.
  FileError compose(const tree::ZNode& staged, const std::string& from, const std::string& to) {
    FileError error = placing_.may_enter(to);
    if (error == FileError::kOk) error = fill(staged, from, to, false);
    if (error != FileError::kOk) return error;
    for (auto path = staged_.rbegin(); path != staged_.rend(); ++path) {
      add(OpCode::kDelete, tree::delete_body(*path, tree::kAnyVersion), path->size());
    }
    add(OpCode::kDelete, tree::delete_body(from, tree::kAnyVersion), from.size());
    return is_too_large() ? FileError::kTooLarge : FileError::kOk;
  }
  std::string body() const { return tree::multi_body(ops_); }
  // Data written by others than root takes setuid and setgid away, before it is committed.
  const std::vector<tree::ExtSetPosix>& first() const { return first_; }

 private:
  void add(OpCode type, std::string body, size_t bytes) {
    ops_.push_back({type, std::move(body)});
    bytes_ += bytes + kOpBytes;
  }
  bool is_too_large() const {
    size_t most = room_.limits().data_bytes();
    return bytes_ > most || staged_.size() * kOpBytes > most;
  }

  // `is_new`: this commit makes the directory `to`, so the caller may do all in it.
  FileError fill(const tree::ZNode& staged, const std::string& from, const std::string& to,
                 bool is_new) {
    FileError error = FileError::kOk;
    room_.tree().for_each_child(staged, [&](const tree::ZNode& child) {
      if (error != FileError::kOk) return;
      std::string name(child.name.view());
      std::string source = tree::join_path(from, name);
      staged_.push_back(source);
      if (name == kHidden) {  // locks and numbers of the staging: they only go with it
        note_below(child, source);
      } else {
        error = put(child, source, tree::join_path(to, name), to, is_new);
      }
      if (error == FileError::kOk && is_too_large()) error = FileError::kTooLarge;
    });
    return error;
  }

  void note_below(const tree::ZNode& node, const std::string& path) {
    room_.tree().for_each_child(node, [&](const tree::ZNode& child) {
      if (is_too_large()) return;
      std::string below = tree::join_path(path, child.name.view());
      staged_.push_back(below);
      note_below(child, below);
    });
  }

  // Files that others have put into the staging directory are taken as far as the caller could copy
  // and remove it.
  bool may_take(const View& staged) const {
    bool is_directory = staged.kind == Kind::kDirectory;
    return staged.uid == caller_.uid ||
           may(staged, caller_, is_directory ? kMayRead | kMayWrite | kMaySearch : kMayRead);
  }

  FileError put(const tree::ZNode& staged, const std::string& from, const std::string& to,
                const std::string& parent, bool parent_is_new) {
    View shown = room_.view(staged, from);
    if (!may_take(shown)) return FileError::kNoAccess;
    if (parent_is_new) return create(staged, from, to);
    const tree::ZNode* directory = room_.tree().find(parent);
    if (directory == nullptr) return FileError::kStale;
    View around = room_.view(*directory, parent);
    const tree::ZNode* target = room_.tree().find(to);
    if (target == nullptr) {
      return placing_.may_make_in(around) ? create(staged, from, to) : FileError::kNoAccess;
    }
    View there = room_.view(*target, to);
    bool is_directory = shown.kind == Kind::kDirectory;
    FileError error =
        is_directory ? placing_.may_fill(there) : placing_.may_put_over(shown.kind, around, there);
    if (error != FileError::kOk) return error;
    if (is_directory) return fill(staged, from, to, false);
    if (target->stat.mzxid > base_ || target->stat.czxid > base_) return FileError::kStale;
    replace(*target, there, to, staged.data.view());
    return FileError::kOk;
  }

  FileError create(const tree::ZNode& staged, const std::string& from, const std::string& to) {
    add(OpCode::kCreate,
        tree::create_body(to, staged.data.view(), acl_of_new(staged), tree::kCreatePersistent),
        to.size() + staged.data.size());
    bool is_directory = room_.view(staged, from).kind == Kind::kDirectory;
    return is_directory ? fill(staged, from, to, true) : FileError::kOk;
  }

  void replace(const tree::ZNode& target, const View& there, const std::string& to,
               std::string_view data) {
    uint32_t mode = placing_.mode_when_written(there);
    if (mode != there.mode) {
      tree::PosixChange change;
      change.base = posix_of(there);
      change.mode = mode;
      first_.push_back({to, target.stat.czxid, change});
    }
    add(OpCode::kSetData, tree::set_data_body(to, data, target.stat.version),
        to.size() + data.size());
  }

  // As it was staged. A time that was set goes with it, though versions begin anew; but not a
  // directory's, which changes as its entries are made.
  tree::AclList acl_of_new(const tree::ZNode& staged) const {
    tree::AclList acl = room_.tree().acl_of(staged);
    std::optional<tree::PosixEntry> posix = tree::find_posix(acl);
    if (!posix || !posix->mtime) return acl;
    bool is_of_now = posix->mtime_version == staged.stat.version;
    if (posix->kind == Kind::kDirectory || !is_of_now) posix->mtime.reset();
    posix->mtime_version = 0;
    return tree::with_posix(acl, *posix);
  }

  Room& room_;
  const Caller& caller_;
  const Placing placing_;
  tree::Zxid base_;  // the txn that made the staging directory
  std::vector<tree::MultiOp> ops_;
  std::vector<tree::ExtSetPosix> first_;
  std::vector<std::string> staged_;  // parents first
  size_t bytes_ = 0;
};

}  // namespace

// The sticky rule, without the exception of the directory's owner.
FileError Room::may_change_staging(const std::string& directory, const std::string& name,
                                   const Caller& caller) const {
  std::string path = txn_path(directory, name);
  const tree::ZNode* staged = tree().find(path);
  bool is_ours = staged == nullptr || caller.uid == 0 || view(*staged, path).uid == caller.uid;
  return is_ours ? FileError::kOk : FileError::kNotPermitted;
}

void Room::commit_txn(const std::string& directory, const std::string& name, const Caller& caller,
                      Handle::Done done) {
  std::string staging = txn_path(directory, name);
  const tree::ZNode* staged = tree().find(staging);
  if (staged == nullptr) return done(FileError::kNoEntry);
  FileError error = may_change_staging(directory, name, caller);
  if (error != FileError::kOk) return done(error);
  Composer composer(*this, caller, staged->stat.czxid);
  error = composer.compose(*staged, staging, directory);
  if (error != FileError::kOk) return done(error);
  for (const tree::ExtSetPosix& drop : composer.first()) {
    writer_.commit(OpCode::kExtSetPosix, encode(drop), [](const Outcome&) {});
  }
  writer_.commit(OpCode::kMulti, composer.body(), [done](const Outcome& outcome) {
    Error first = tree::failure_of(outcome).error;
    // Another commit was faster.
    bool conflict = first == Error::kBadVersion || first == Error::kNodeExists ||
                    first == Error::kNoNode || first == Error::kNotEmpty;
    done(conflict ? FileError::kStale : file_error_of(first));
  });
}

}  // namespace zabfs::fsd
