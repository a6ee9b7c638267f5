// The requests that make the living tree what another one is. `restore` at the admin port sends
// them (fsd/admin/restore.h).
//
// It goes through both trees from the root down, and removes what the wanted tree does not have
// before it goes further down. It looks at a few znodes at a time. The living tree may change
// between two looks, by these requests and by others. Example: a client removes /a while the
// creation of /a/b is on its way. That request fails with kNoNode, and a second pass from the root
// makes both. A pass of which no request failed is the last one.
//
// These stay as they are in the living tree:
//
//   - /zookeeper/config, for the members are those that run, and what else is in /zookeeper but the
//     quotas;
//   - what a quota says is used, for the servers count that;
//   - ephemerals, as long as their parents stay: their sessions live. Ephemerals of the wanted tree
//     are not made: their sessions don't.
//
// A znode that is made anew has a Stat of its own, and counts its sequential children from 0.
//
// Pure.
#pragma once

#include <string>
#include <vector>

#include "tree/request.h"
#include "tree/tree.h"

namespace zabfs::tree {

class TreeDifference {
 public:
  // `wanted` outlives it, and does not change.
  explicit TreeDifference(const Tree& wanted) : wanted_(wanted) { begin(); }

  // From the root again.
  void begin();
  // Looks at so many znodes and appends the requests that they need, to be sent in that order.
  // false: that was all.
  bool next(const Tree& living, size_t looks, std::vector<MultiOp>& requests);

 private:
  struct Wanted {
    const ZNode* node;
    std::string path;
    bool is_new;  // it is not there, or will not be when the requests before have been done
  };
  struct Removal {
    std::string path;
    bool is_empty;  // the removals of its children come before
  };
  void look(const Tree& living, Wanted at, std::vector<MultiOp>& requests);
  void compare(const ZNode& there, const AclList& acl_there, const Wanted& at,
               std::vector<MultiOp>& requests) const;
  void make(const Wanted& at, std::vector<MultiOp>& requests) const;
  void remove(const Tree& living, std::vector<MultiOp>& requests);
  void remove_others(const Tree& living, const ZNode& there, const Wanted& at);

  const Tree& wanted_;
  std::vector<Wanted> left_;
  std::vector<Removal> removals_;  // come first
};

}  // namespace zabfs::tree
