// The control room of one mount: its open handles, its lock queues, and what all recipes share.
//
// Recipes are clients of the mount's session like any other: they write through `Writer`, and learn
// what happened from commits in order. On the strand.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "consensus/replica.h"
#include "fsd/facts/registry.h"
#include "fsd/recipes/handle.h"
#include "fsd/session/lock.h"
#include "fsd/session/session.h"
#include "fsd/session/writer.h"

namespace zabfs::fsd {

// The child of a directory's hidden `@` that staging directories are in.
inline constexpr std::string_view kTxnChild = "txn";
// The child of it that the items of `@/work` are in.
inline constexpr std::string_view kWorkChild = "work";
std::string txn_path(const std::string& directory, std::string_view name);

class Room {
 public:
  Room(consensus::Service& service, ClientSession& session, Writer& writer,
       ViewOptions view_options)
      : service_(service),
        session_(session),
        writer_(writer),
        view_options_(view_options),
        locks_(service, session, writer) {}

  // The handle of a file of the room; nullptr for directories and for what is made by create.
  // `name` is that of a file in one of the room's directories.
  std::shared_ptr<Handle> open(Control control, const std::string& directory,
                               const std::string& name, Opener opener);

  // `@/seq/PREFIX` and `@/ephemeral/NAME` are made, not opened.
  using Made = std::function<void(FileError error, std::shared_ptr<Handle> handle)>;
  void make(Control control, const std::string& directory, const std::string& name, Opener opener,
            Made made);

  // Whether that caller may commit or remove the staging directory `@/txn/NAME`.
  FileError may_change_staging(const std::string& directory, const std::string& name,
                               const Caller& caller) const;
  // Applies it as one commit (recipes/txn.cc).
  void commit_txn(const std::string& directory, const std::string& name, const Caller& caller,
                  Handle::Done done);

  void published(const std::vector<tree::Change>& changes);
  void tree_replaced();
  void session_lost(tree::SessionId session);
  // Whose text is `@/metrics`. This room's own facts go there, too, as long as it lives.
  void tell(Registry& registry);
  const Registry* registry() const { return registry_; }
  // `@/handles`: root sees all, others their own.
  std::string handles_text(const Caller& reader) const;

  // ---- for handles
  const tree::Tree& tree() const { return service_.replica().tree(); }
  const tree::Limits& limits() const { return service_.replica().config().prepare.limits; }
  consensus::Service& service() { return service_; }
  ClientSession& session() { return session_; }
  Writer& writer() { return writer_; }
  LockTable& locks() { return locks_; }
  View view(const tree::ZNode& node, const std::string& path) const {
    return view_of(tree(), node, path, view_options_);
  }
  bool allows(const tree::ZNode& node, const std::string& path, const Caller& caller,
              uint32_t wanted) const {
    return may(view(node, path), caller, wanted);
  }
  const ViewOptions& view_options() const { return view_options_; }
  // The ACL of a file that somebody makes in a directory.
  tree::AclList acl_for_made(const std::string& directory, const Opener& by) const;
  // What a contender writes about itself: NODE PID NAME.
  std::string owner_text(const Opener& opener) const;
  // A child of the directory's hidden `@`, made with it if it is new; kNodeExists is as good.
  void create_hidden(const std::string& directory, const std::string& child,
                     const std::string& data, Writer::Completion done);
  // Handles add themselves, and listen to commits if they ask to.
  void add(Handle* handle) { handles_[next_handle_++] = handle; }
  void remove(Handle* handle);
  void listen(Handle* handle) { listening_.push_back(handle); }
  // Readers of a directory's `@/queue` or `@/work` are served in the order they came, whatever
  // their handles.
  void serve(Control queue, const std::string& directory);
  // When the last change of a znode was made that this node has seen, by the leader's clock; 0:
  // none since it started.
  int64_t last_change_ms() const;
  // A whole subtree is held in memory, or on its way into the tree: of a few at a time.
  bool begin_transfer() { return transfers_ < kMaxTransfers && ++transfers_ > 0; }
  void end_transfer() { --transfers_; }
  // Items of these that are being taken by this node.
  std::set<std::string>& claimed() { return claimed_; }
  // `@/counter` of one directory changes by one writer of this node at a time.
  void take_turn(const std::string& path, std::function<void()> turn);
  void end_turn(const std::string& path);
  // The next child of a directory in turn, by weight; empty if there is none.
  std::string pick(const std::string& directory);

 private:
  std::vector<std::shared_ptr<Handle>> listeners() const;

  consensus::Service& service_;
  ClientSession& session_;
  Writer& writer_;
  ViewOptions view_options_;
  LockTable locks_;
  const Registry* registry_ = nullptr;
  std::map<uint64_t, Handle*> handles_;  // in order of their opening
  uint64_t next_handle_ = 1;
  std::vector<Handle*> listening_;
  static constexpr int kMaxTransfers = 4;
  std::string last_changed_;  // the path of it
  tree::ChangeType last_change_ = tree::ChangeType::kDeleted;
  int transfers_ = 0;
  std::set<std::string> claimed_;
  std::map<std::string, std::deque<std::function<void()>>> turns_;
  // How often each child was picked, over its weight; by directory.
  std::map<std::string, std::map<std::string, double>> picked_;
};

}  // namespace zabfs::fsd
