#include "fsd/history/replay_past.h"

#include <utility>

#include "tree/txn.h"

namespace zabfs::fsd {

using tree::Zxid;

std::shared_ptr<tree::Tree> ReplayPast::run(Zxid through) {
  for (Zxid zxid : store_.list()) stored_.insert(zxid);
  Zxid after = held_ ? held_->last_zxid() : only_ ? *only_ : Zxid{};
  consensus::CommittedLogVisitor visitor;
  visitor.begin = [this](Zxid base) {
    tip_ = base;
    look(base);
    return true;
  };
  visitor.txn = [this](Zxid zxid, std::string_view bytes) {
    if (!take(zxid, bytes)) return false;
    tip_ = zxid;
    look(zxid);
    return true;
  };
  visitor.gap = [this](const std::string& why, Zxid base) {
    if (is_on_its_way()) {
      tip_ = base;
    } else {
      break_off(tip_, why);
      tip_ = base;
    }
    if (base != Zxid{}) look(base);
    return true;
  };
  consensus::read_committed(log_, after, through, visitor);
  return tree_;
}

// To where it is to begin: what is missing before that is missed by nobody.
bool ReplayPast::is_on_its_way() const { return !had_gap_ && !tree_ && (held_ || only_); }

// Whether a tree is known as of that zxid.
void ReplayPast::look(Zxid zxid) {
  if (tree_) return;
  if (held_ && held_->last_zxid() == zxid) {
    tree_ = std::move(held_);
    since_ = since_ == Zxid{} ? zxid : since_;
    return;
  }
  if (held_ && !had_gap_) return;  // not there yet
  bool is_wanted = !only_ || (*only_ == zxid && !had_gap_);
  if (zxid == Zxid{} && is_wanted && !had_gap_) {
    tree_ = std::make_shared<tree::Tree>();
  } else if (is_wanted && stored_.contains(zxid)) {
    StatusOr<std::unique_ptr<tree::Tree>> loaded = store_.load(zxid);
    if (loaded.ok()) tree_ = std::move(*loaded);
    if (!loaded.ok()) why_ = loaded.why();
  }
  if (!tree_) return;
  if (since_ == Zxid{}) since_ = zxid;
  listener_.begins(*tree_);
}

bool ReplayPast::take(Zxid zxid, std::string_view bytes) {
  if (!tree_) return true;
  std::optional<tree::Txn> txn = tree::decode_txn(bytes);
  if (!txn || txn->header.zxid != zxid) {
    break_off(zxid, "a txn in the log is none");
    return true;
  }
  if (!listener_.before(*txn, *tree_)) return false;
  changes_.clear();
  tree_->apply(*txn, &changes_);
  if (!tree_->digest_agrees()) {
    break_off(zxid, "the log does not fit the snapshot before it");
    return true;
  }
  listener_.after(*txn, changes_, *tree_);
  return true;
}

void ReplayPast::break_off(Zxid at, const std::string& why) {
  had_gap_ = true;
  tree_.reset();
  held_.reset();
  why_ = why;
  listener_.gap(at, why);
}

}  // namespace zabfs::fsd
