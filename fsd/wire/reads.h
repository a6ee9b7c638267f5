// The requests of ZooKeeper's clients that a server answers from its own tree (Java:
// FinalRequestProcessor; order of checks: FORMATS.md 2.1).
//
// The caller holds the tree still. Setting and firing the read's watches is part
// of the answer.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "consensus/mutex.h"
#include "tree/tree.h"
#include "tree/watches.h"

namespace zabfs::fsd::wire {

// The watches of all connections of this node. Thread-safe; its lock is taken under the tree's and
// under a connection's, and nothing is locked under it.
class WatchBoard {
 public:
  explicit WatchBoard(tree::WatchLimits limits = {}) : tables_(limits) {}

  template <class Body>
  auto with(const Body& body) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    return body(tables_);
  }

 private:
  Mutex mutex_;
  tree::WatchTables tables_ GUARDED_BY(mutex_);
};

struct ReadContext {
  const tree::Tree& tree;
  WatchBoard& watches;
  tree::Watcher watcher;
  tree::SessionId session;
  const tree::Identities& identities;
  bool skip_acl = false;
};

// An answer that would be longer is the error kBadArguments. Clients take 1 MiB, or what their
// jute.maxbuffer says.
inline constexpr size_t kMaxAnswerBytes = 16u << 20;

// Answers one read: event frames that come before the answer, and the answer, appended to `out`.
// Returns the error that it told, or kOk.
tree::Error append_answer(const ReadContext& context, int32_t xid, tree::OpCode type,
                          std::string_view body, std::string& out);

// Requests that are answered from this node's tree. Others go to the leader, or are refused.
bool is_read(tree::OpCode type);
// About as many bytes as the answer will have, if the tree is still the same by then: what a read
// that has to wait counts as. Costs a look-up, or one for each part of a multi-read.
size_t expected_answer_bytes(const tree::Tree& tree, tree::OpCode type, std::string_view body);

// Whether one answer may take long, though it be short: nothing else is read under the same hold of
// the tree's lock.
bool is_long(tree::OpCode type);
// A client that can't have its watches back after a reconnect does not look at the answer. Without
// its connection it tries elsewhere.
bool is_lost_without_watches(tree::OpCode type, tree::Error error);

}  // namespace zabfs::fsd::wire
