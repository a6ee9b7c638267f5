// Makes the tree of a running ensemble what another one is (tree/tree_difference.h), by commits:
// every member follows, clients keep their sessions, and their watches tell what has changed.
//
// The requests are the superuser's, in a session of their own. As many are in one commit as fit,
// and many commits are on the way at once. Where a client was faster, a further pass mends it, up
// to kMaxPasses. What was committed stays: after a failure the tree is part the one and part the
// other, until the restore is done again.
//
// Lives until it has called `done`. On the strand.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "consensus/service.h"
#include "tree/status.h"
#include "tree/tree_difference.h"

namespace zabfs::fsd::admin {

class Restore : public std::enable_shared_from_this<Restore> {
 public:
  static constexpr int kMaxPasses = 20;

  // With the number of requests that were done.
  using Done = std::function<void(const StatusOr<size_t>& changes)>;

  Restore(consensus::Service& service, std::shared_ptr<const tree::Tree> wanted, Done done);
  void start();

 private:
  // A multi, or a single request that none can have.
  struct Commit {
    bool is_single = false;
    std::vector<tree::MultiOp> ops;
    size_t bytes = 0;
  };
  using CommitPtr = std::shared_ptr<Commit>;

  void pump();
  void step();
  void pump_later();
  void end_pass();
  void put(tree::MultiOp op);
  void submit(CommitPtr commit);
  void ended(const Commit& commit, const tree::Outcome& outcome);
  void fail(std::string why);
  void finish();

  consensus::Service& service_;
  const std::shared_ptr<const tree::Tree> wanted_;
  tree::TreeDifference difference_;
  const Done done_;
  tree::SessionId session_;
  int32_t cxid_ = 0;
  bool is_posted_ = false, is_pumping_ = false;
  bool is_more_ = true;                   // of this pass
  CommitPtr commit_;                      // that is being filled
  size_t on_the_way_ = 0, requests_ = 0;  // bytes, and commits, that have no answer yet
  bool has_conflict_ = false;             // in this pass
  int passes_ = 1;
  Status status_;
  size_t changes_ = 0;
};

}  // namespace zabfs::fsd::admin
