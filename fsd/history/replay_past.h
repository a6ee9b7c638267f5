// Replays a log over its snapshots: from a tree to the trees that followed.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "consensus/committed_log.h"
#include "consensus/disk.h"
#include "consensus/snapshot_store.h"
#include "tree/tree.h"

namespace zabfs::fsd {

class ReplayPast {
 public:
  static constexpr const char* kNotSoFar = "the log does not go back so far";

  // All are called in the order of the log.
  struct Listener {
    // From here on the tree is known: at the beginning, and behind each gap.
    std::function<void(const tree::Tree&)> begins = [](const tree::Tree&) {};
    // Before and after a txn is applied. The first says whether to go on.
    std::function<bool(const tree::Txn&, const tree::Tree&)> before =
        [](const tree::Txn&, const tree::Tree&) { return true; };
    std::function<void(const tree::Txn&, const std::vector<tree::Change>&, const tree::Tree&)>
        after = [](const tree::Txn&, const std::vector<tree::Change>&, const tree::Tree&) {};
    std::function<void(tree::Zxid at, const std::string& why)> gap = [](tree::Zxid,
                                                                        const std::string&) {};
  };

  ReplayPast(consensus::Disk& log, consensus::Disk& snapshots, Listener listener)
      : log_(log), store_(snapshots), listener_(std::move(listener)) {}

  // With a tree to go on from; it is changed.
  void begin_with(std::shared_ptr<tree::Tree> tree) { held_ = std::move(tree); }
  // With that snapshot alone; zero: with the empty tree that the log began with.
  void begin_at(tree::Zxid snapshot) { only_ = snapshot; }
  // Else with the oldest snapshot that the log has.

  // Up to the end of the log. The tree there; null: there is none, since the last gap.
  std::shared_ptr<tree::Tree> run(tree::Zxid through);
  // Why there is none.
  const std::string& why() const { return why_; }
  tree::Zxid since() const { return since_; }

 private:
  bool is_on_its_way() const;
  void look(tree::Zxid zxid);
  bool take(tree::Zxid zxid, std::string_view bytes);
  void break_off(tree::Zxid at, const std::string& why);

  consensus::Disk& log_;
  consensus::SnapshotStore store_;
  const Listener listener_;
  std::shared_ptr<tree::Tree> held_, tree_;
  std::optional<tree::Zxid> only_;
  std::set<tree::Zxid> stored_;
  bool had_gap_ = false;
  tree::Zxid tip_, since_;
  std::string why_ = kNotSoFar;
  std::vector<tree::Change> changes_;
};

}  // namespace zabfs::fsd
