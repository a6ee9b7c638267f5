// What the kernel may cache of names and attributes, and what it must forget for a commit.
//
// Commits reach the kernel's caches before they are visible: first the kernel forgets, then the
// tree changes. So a program never sees old after new. For a batch of txns:
//
//   1. `begin_change`: the node table marks what they touch, so that nobody is given that for
//      caching. The kernel forgets what it has of it.
//   2. `publishing`, for each txn, with the tree's lock: nodes stand for what is in the tree now.
//   3. `end_change`: answers may be cached again.
//
// An answer that was given before 1 must not get into a cache after it. The kernel drops one that a
// notification overtook: a name by its epoch, the attributes of a node that it has by their
// version. It takes those of a node that it doesn't have yet; NodeAnswers has them not kept where
// that matters, and `forget` waits for the rest.
//
// On the strand, unless said.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "consensus/service.h"
#include "fsd/fuse/caller_threads.h"
#include "fsd/fuse/landing_threads.h"
#include "fsd/fuse/looking_threads.h"
#include "fsd/fuse/name_forgetter.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/notifications.h"
#include "fsd/fuse/own_writes.h"
#include "fsd/fuse/page_turns.h"
#include "fsd/fuse/shared_directories.h"
#include "fsd/fuse/txn_view.h"

namespace zabfs::fsd {

class KernelCache {
 public:
  // What is told under the tree's lock, in the order of the txns.
  struct Events {
    // Before the nodes follow a rename.
    std::function<void(std::span<const tree::Change>, const RenameSeen&)> renaming;
    // The znode of a node is no more: it was removed, or another one was renamed over it. It had
    // these contents last.
    std::function<void(KernelNode node, const tree::Bytes& last)> gone;
  };

  KernelCache(consensus::Service& service, Notifications& notifications, NodeTable& nodes,
              const NodeReader& reader, const OwnWrites& writes, PageTurns& turns,
              NameForgetter& forgetter, CallerThreads& callers, Events events)
      : service_(service),
        notifications_(notifications),
        nodes_(nodes),
        reader_(reader),
        writes_(writes),
        turns_(turns),
        forgetter_(forgetter),
        callers_(callers),
        events_(std::move(events)) {}

  // Whether this kernel can be made to forget names; else it is to ask for each. On any thread.
  bool can_forget_names();
  // Whether it may keep names in that directory. Where others make and remove names, as programs of
  // its own do, it is to ask for each: so it has nothing to forget there while one of those has the
  // directory's lock. On any thread.
  bool may_keep_names_in(std::string_view directory);
  // How long it keeps what it may keep: commits invalidate.
  static constexpr double kLongSeconds = 86'400;

  // `renames` has one element a txn. `last`: what the kernel changes by itself for the last of
  // them.
  void begin_change(const std::vector<tree::Txn>& txns,
                    const std::vector<std::optional<RenameSeen>>& renames, const LocalChange* last);
  void publishing(std::span<const tree::Change> changes);
  void end_change();
  // Another tree takes this one's place. Nothing that is cached is sure to be in it.
  void begin_change_of_all() { forget(nodes_.begin_change_of_all()); }
  // From here on programs see what was committed, also what this kernel asked for itself.
  void catch_up();
  // Makes the kernel look every name up again.
  void forget_names();
  // A request was read. On a FUSE worker.
  void note_request(const void* request, size_t size);
  // With the tree's lock shared: a name that the kernel may have already is about to be answered,
  // and to be kept. On a FUSE worker.
  void note_looked_up_again(pid_t thread, NodeTable::HeldName name) {
    looking_.add(thread, std::move(name));
  }

 private:
  void forget(const NodeTable::Forget& forget);
  bool forget_each(const std::vector<NodeTable::HeldName>& names);
  bool await_lookups(const std::vector<NodeTable::HeldName>& names);
  void await_answers(std::vector<KernelNode>& coming);
  bool is_up_to_date(KernelNode id);
  void forget_late();
  void note_kind(const std::string& path, NodeTable::Forget& retyped);
  void follow(std::span<const tree::Change> changes, const RenameSeen& rename);
  void note_gone(const tree::Change& change);
  void note_last(const std::string& path);

  consensus::Service& service_;
  Notifications& notifications_;
  NodeTable& nodes_;
  const NodeReader& reader_;
  const OwnWrites& writes_;
  PageTurns& turns_;
  NameForgetter& forgetter_;
  CallerThreads& callers_;
  const Events events_;
  std::atomic<int> names_cacheable_{-1};  // -1: not known yet
  LandingThreads landing_;
  LookingThreads looking_;
  SharedDirectories shared_;
  std::set<KernelNode> late_;  // set aside; the kernel may yet get an outdated answer for them
  // Of the batch in progress:
  std::map<tree::Zxid, RenameSeen> renames_;
  std::map<std::string, tree::Kind> kinds_;  // of znodes that it may make another kind
  std::set<std::string> going_;              // paths that it removes, or renames another one over
};

}  // namespace zabfs::fsd
