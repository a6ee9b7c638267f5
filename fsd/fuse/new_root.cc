#include "fsd/fuse/new_root.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <utility>

#include "consensus/replica.h"
#include "fsd/view/view.h"
#include "tree/request.h"

namespace zabfs::fsd {

using tree::Error;
using tree::Outcome;

namespace {

constexpr int64_t kAgainMs = 500;

// Nothing was ever made in it, and its root is as ZooKeeper makes it.
bool is_untouched(const tree::Tree& tree) {
  const tree::NodeStat& root = tree.root().stat;
  return root.cversion == 0 && root.aversion == 0 && root.version == 0;
}

}  // namespace

void NewRoot::look() {
  const consensus::Replica& replica = service_.replica();
  if (replica.is_serving()) return settle();
  // Programs that read their own writes do so across a restart, too: txns of which only a leader
  // can say that they were committed are waited for.
  if (!replica.has_unsettled_txns() && !is_untouched(replica.tree())) note_settled();
}

void NewRoot::settle() {
  if (!is_untouched(service_.replica().tree())) return note_settled();
  if (std::exchange(is_being_made_, true)) return;
  tree::AclList acl = acl_for_new(tree::Kind::kDirectory, mode_, ::geteuid(), ::getegid());
  auto answered = [this](const Outcome& outcome) {
    is_being_made_ = false;
    if (outcome.error == Error::kOk) {
      spdlog::info(
          "the root of this new tree is of user {}, mode {:04o} (zabfs.rootMode). Clients that do "
          "not authenticate write where others may: chmod o+rwx a directory for them",
          ::geteuid(), mode_);
    }
    bool is_over = outcome.error == Error::kOk || outcome.error == Error::kBadVersion;
    if (is_over) return note_settled();  // somebody else was faster, perhaps
    service_.post_after(kAgainMs, [this] {
      if (service_.replica().is_serving()) settle();
    });
  };
  session_.submit(tree::OpCode::kSetAcl, tree::set_acl_body("/", acl, 0), answered);
}

void NewRoot::note_settled() {
  if (!std::exchange(is_settled_, true)) settled_.set_value();
}

}  // namespace zabfs::fsd
