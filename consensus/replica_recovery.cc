// The replica's half that deals in what a disk did to it: recovery at start-up, healing from the
// other members, a full disk (ZAB.md section 3).
//
// Damage takes one of three ways back:
//   - what is missing in the log are single txns, and some member still has them: they are fetched
//     and the log is as it was; nothing was forgotten, so the node keeps its vote;
//   - it is before a snapshot of the node's own: that part of the log is set aside;
//   - anything else: the node gives up its vote (durably, first), sets the log aside, and observes
//     the leader that the others elect until it is as good as any of them (Zab::seek_vote).
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "consensus/replica.h"
#include "tree/jute.h"
#include "tree/snapshot.h"

namespace zabfs::consensus {

std::string Replica::recover() {
  std::string epoch_problem;
  EpochStore::State epochs = epochs_.open(epoch_problem);
  LogRecovery log = log_.at_rest().open();
  if (!log.error.empty()) return log.error;
  for (const std::string& damage : log.damage) report_damage(damage);
  // One bad copy may be no more than a save that a crash stopped.
  if (epochs == EpochStore::State::kLost) report_damage(epoch_problem);
  if (epochs == EpochStore::State::kIntact && !epoch_problem.empty()) {
    environment_.log(LogLevel::kWarning,
                     fmt::format("node {}: {}", config_.zab.me.value, epoch_problem));
  }
  if (!log.note.empty()) environment_.log(LogLevel::kWarning, log.note);
  snapshots_.remove_leftovers();

  // A first start that a crash ended may have begun a log; nothing is written to it before a
  // promise is saved.
  bool is_empty = epochs == EpochStore::State::kNew && log.damage.empty() &&
                  log_.at_rest().holds_nothing() && snapshots_.list().empty();
  bool votes = epochs_.promise().votes;
  std::string lost;
  if (epochs == EpochStore::State::kLost) {
    lost = epoch_problem;
  } else if (epochs == EpochStore::State::kNew && !is_empty) {
    lost = "accepted.0 and accepted.1 are gone: what this node promised is lost";
  } else if (votes && log_.at_rest().is_new()) {
    lost = "the log is gone";
  }
  if (is_alone() && epochs != EpochStore::State::kIntact) {
    lost.clear();  // who votes alone promises to nobody
    votes = true;
  }
  if (is_empty && config_.initialize) votes = true;
  if (lost.empty() && !log.damage.empty()) {
    if (votes && log_.at_rest().missing() && !mending_given_up_ &&
        log_.at_rest().missing()->empty()) {
      DiskStatus status = log_.at_rest().mend({});
      if (!status.ok()) return status.message();
      environment_.log(LogLevel::kWarning,
                       fmt::format("node {}: mended the log; no txn was in what was damaged",
                                   config_.zab.me.value));
      return recover();
    }
    bool can_mend = votes && log_.at_rest().missing() && !mending_given_up_ && !is_alone();
    if (!can_mend && set_old_damage_aside()) return recover();
    if (!can_mend) lost = log.damage.front();
    if (can_mend) mending_.emplace(Mending{*log_.at_rest().missing(), {}, {}, 0, {}, 0});
  }
  return load(votes, is_empty, epochs == EpochStore::State::kIntact && epoch_problem.empty(),
              std::move(lost));
}

// Damage before the newest intact snapshot is in what this node can do without.
bool Replica::set_old_damage_aside() {
  for (Zxid zxid : snapshots_.list()) {
    if (!snapshots_.check(zxid).empty()) continue;
    if (!log_.at_rest().set_aside_before(zxid)) return false;
    mending_given_up_ = false;  // less is missing now
    environment_.log(LogLevel::kWarning,
                     fmt::format("node {}: set the log before its snapshot at 0x{:x} aside",
                                 config_.zab.me.value, zxid.value));
    return true;
  }
  return false;
}

// The newest intact snapshot that the log can go on from, or any if `history` is null.
std::unique_ptr<tree::Tree> Replica::load_snapshot(const History* history) {
  for (Zxid zxid : snapshots_.list()) {
    if (history != nullptr && !history->goes_on_from(zxid)) continue;
    bool is_doubtful =
        zxid == log_.at_rest().history().base() && !log_.at_rest().knows_committed(zxid);
    if (history == nullptr && is_doubtful) continue;
    std::string problem;
    if (std::unique_ptr<tree::Tree> tree = snapshots_.load(zxid, problem)) return tree;
    report_damage(problem + "; an older snapshot and the log have what it said");
    snapshotter_.want();
  }
  return nullptr;
}

std::string Replica::load(bool votes, bool is_empty, bool promise_is_saved, std::string lost) {
  const History& history = mending_ ? log_.at_rest().mended_history() : log_.at_rest().history();
  std::unique_ptr<tree::Tree> tree;
  if (lost.empty()) {
    tree = load_snapshot(&history);
    if (!tree && log_.at_rest().history().base() != Zxid{}) {
      lost = fmt::format("no intact snapshot at or after 0x{:x}, where the log begins",
                         log_.at_rest().history().base().value);
      mending_.reset();
    }
  }
  if (!lost.empty() && is_alone()) {
    return fmt::format(
        "{}; the log held txns up to 0x{:x}, and no other member has a copy. Restore the data "
        "directory, or move it away to start empty",
        lost, log_.at_rest().history().last().value);
  }
  uint32_t accepted = std::max(epochs_.promise().accepted_epoch, log_.at_rest().current_epoch());
  if (!lost.empty()) {
    // First of all, so that no crash below lets this node vote with what is left.
    DiskStatus status = epochs_.save({accepted, false});
    if (!status.ok()) return status.message();
    votes = false;
    environment_.log(LogLevel::kError,
                     fmt::format("node {}: {}; this node has no vote until the others have brought "
                                 "it up to date",
                                 config_.zab.me.value, lost));
    tree = load_snapshot(nullptr);
    status = log_.at_rest().restart_at(tree ? tree->last_zxid() : Zxid{},
                                       log_.at_rest().current_epoch());
    if (!status.ok()) return status.message();
  }
  // The log is there before a vote is, so that a vote without a log says that it was lost.
  DiskStatus begun = log_.at_rest().begin();
  if (!begun.ok()) return begun.message();
  if (lost.empty() && !is_empty && !promise_is_saved) {
    DiskStatus status = epochs_.save({accepted, votes});
    if (!status.ok()) return status.message();
  } else if (is_empty && votes) {
    DiskStatus status = epochs_.save({0, true});
    if (!status.ok()) return status.message();
  }
  tree_.drop_staged();
  if (tree && tree->last_zxid() == history.base() &&
      !log_.at_rest().knows_committed(history.base())) {
    environment_.log(
        LogLevel::kInfo,
        fmt::format("node {}: has a leader's snapshot at 0x{:x}, and waits for a leader "
                    "to know whether all in it was committed",
                    config_.zab.me.value, history.base().value));
    tree_.stage(std::move(tree));
  }
  for (ReplicaListener* listener : listeners_) listener->before_replace();
  tree_.show(tree ? std::shared_ptr<tree::Tree>(std::move(tree)) : std::make_shared<tree::Tree>());
  return load_recent(accepted, votes, is_empty);
}

// The txns behind the snapshot, and the core with all that is known.
std::string Replica::load_recent(uint32_t accepted, bool votes, bool is_empty) {
  const History& history = log_.at_rest().history();
  recovered_ = history.last();
  const tree::Tree& whole_tree = tree_.newest();
  snapshotter_.recovered(whole_tree.last_zxid());
  // Of a log that is to be mended, the intact beginning is enough to go on serving reads.
  bool whole = read_recent(history) || mending_;
  if (history.last() > recent_.base() && (!whole || recent_.last() != history.last())) {
    return "the log can't be read back";
  }
  ZabState state;
  state.votes = votes;
  state.empty = is_empty;
  state.nonce = kFirstNonce | static_cast<int64_t>(environment_.random() >> 2);
  while (state.fresh_secret.size() < kSecretBytes) {
    uint64_t word = environment_.random();
    state.fresh_secret.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  state.secret = epochs_.promise().secret;
  state.accepted_epoch = accepted;
  state.ensemble = epochs_.promise().ensemble.value_or(0);
  state.ensemble_holds = history.last() != Zxid{};
  state.current_epoch = log_.at_rest().current_epoch();
  state.history = history;
  state.durable = history.last();
  // Behind damage a TRUNC may have taken back the end of what is intact.
  Zxid last = history.last();
  if (mending_) last = std::min(last, log_.at_rest().mended_history().last_of_epoch(last.epoch()));
  state.committed = std::max(std::min(log_.at_rest().committed(), last), tree_.applied());
  state.membership = Membership(config_.zab.ensemble);
  state.membership.adopt(configuration_in(whole_tree));
  for (const auto& [zxid, txn] : unapplied_reconfigurations()) {
    state.membership.appended(zxid, *txn);
  }
  state.membership.committed(state.committed);
  if (config_.readdress) {
    std::string problem = state.membership.readdress(config_.zab.ensemble);
    if (!problem.empty()) return "--readdress: " + problem;
  }
  zab_.emplace(config_.zab, state);
  transport_.set_members(zab_->membership().addresses());
  take_configuration();
  for (ReplicaListener* listener : listeners_) listener->tree_replaced();  // recovered again
  apply_committed();
  return {};
}

// The recent txns become what the log holds behind the tree, or behind the staged one; false: that
// can't be read.
bool Replica::read_recent(const History& history) {
  Zxid base = tree_.newest().last_zxid();
  LogPipeline::Reading reading = log_.read(history, base, history.last());
  recent_.restart(base, std::move(reading.txns));
  return reading.is_whole;
}

// What was configured is the data of /zookeeper/config until a transaction says more.
void Replica::take_configuration() {
  if (config_.is_standalone()) return;
  if (version_in(configuration_in(tree())) != 0) return;
  tree_.set_configuration(config_.zab.ensemble.text());
}

std::string Replica::configuration_in(const tree::Tree& tree) {
  const tree::ZNode* node = tree.find(tree::kConfigPath);
  return node == nullptr ? std::string() : std::string(node->data.view());
}

std::vector<std::pair<Zxid, Payload>> Replica::unapplied_reconfigurations() const {
  std::vector<std::pair<Zxid, Payload>> found;
  for (auto txn = recent_.after(tree_.applied()); txn != recent_.txns().end(); ++txn) {
    if (is_reconfiguration(*txn->txn)) found.emplace_back(txn->zxid, txn->txn);
  }
  return found;
}

// An ensemble that may change is never known to be one node by how it was configured.
bool Replica::is_alone() const {
  if (config_.reconfig_enabled) return false;
  return config_.zab.ensemble.is_voter(config_.zab.me) && config_.zab.ensemble.voter_count() == 1;
}

void Replica::report_damage(const std::string& what) {
  environment_.log(LogLevel::kError,
                   fmt::format("node {}: DAMAGE: {}", config_.zab.me.value, what));
}

// ---- a full disk

void Replica::on_disk_full(const DiskStatus& status, size_t of_snapshots) {
  if (log_.note_full(of_snapshots)) {
    environment_.log(LogLevel::kError,
                     fmt::format("{}: {}; it takes no part in writes until there is room, and "
                                 "serves reads",
                                 place(), status.message()));
  }
  step(event::StorageStalled{"the disk is full"});
}

}  // namespace zabfs::consensus
