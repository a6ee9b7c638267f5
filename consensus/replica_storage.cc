// The replica's part that deals in storage: the log and snapshots.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "consensus/mutants.h"
#include "consensus/replica.h"
#include "tree/jute.h"
#include "tree/snapshot.h"

namespace zabfs::consensus {

namespace {

// Beside the count of txns: the log that a start has to read and a learner may have to be sent
// stays within this, or within the size of the tree.
constexpr size_t kMinLogBytes = 64u << 20;
constexpr size_t kZnodeBytes = 100;  // in a snapshot, beside its data

}  // namespace

// ---- the log

LogPipeline::Outcomes Replica::log_outcomes() {
  return {[this](const LogPipeline::Written& written) { on_log_written(written); },
          [this](const DiskStatus& status) { on_disk_full(status); },
          [this](LogPipeline::Settled settled) { on_settled(std::move(settled)); },
          [this] { return plan_reading(); },
          [this](bool held) {
            for (LinkId link : links_) transport_.hold(link, held);
          }};
}

void Replica::on_log_written(const LogPipeline::Written& written) {
  if (written.last != Zxid{}) step(event::Synced{written.last});
  for (uint32_t epoch : written.ended_epochs) {
    stage_incoming_tree();
    step(event::EpochSaved{epoch});
  }
}

// ---- snapshots

void Replica::on_snapshot(LinkId link, std::unique_ptr<tree::Tree> tree) {
  if (!links_.contains(link) || link != incoming_link_) return;
  incoming_tree_ = std::move(tree);
  if (is_mutant(Mutant::kSnapshotAheadOfDisk)) {
    stage_incoming_tree();
    install_staged_tree();
    return step(event::SnapshotReceived{link, configuration_in(*tree_)});
  }
  environment_.log(LogLevel::kInfo,
                   fmt::format("{}: received a snapshot of {} znodes at 0x{:x}", place(),
                               incoming_tree_->node_count(), incoming_tree_->last_zxid().value));
  // One of this node's own that is being written must not appear behind it.
  incoming_waits_ = snapshot_busy_;
  if (!incoming_waits_) write_incoming();
}

// The file is on disk before the log group that makes it the base.
void Replica::write_incoming() {
  LinkId link = incoming_link_;
  if (!incoming_tree_ || !links_.contains(link)) return;
  auto status = std::make_shared<DiskStatus>();
  std::shared_ptr<tree::Tree> staged = incoming_tree_;
  log_.run(
      [this, staged, status](const Log& log) {
        remove_strays(log.ended_history());
        remove_later(staged->last_zxid());
        std::unique_ptr<tree::SnapshotCursor> cursor = staged->begin_snapshot();
        *status = snapshots_.write(cursor->zxid(), cursor->digest(), [&](std::string& out) {
          return cursor->next(out, chunk_bytes());
        });
      },
      [this, staged, link, status] {
        if (status->is_full()) return on_disk_full(*status, estimate_snapshot(*staged));
        if (!status->ok()) return environment_.die(status->message());
        if (!links_.contains(link) || !incoming_tree_) return;
        step(event::SnapshotReceived{link, configuration_in(*incoming_tree_)});
      });
}

size_t Replica::estimate_snapshot(const tree::Tree& tree) const {
  return tree.data_bytes() + tree.node_count() * kZnodeBytes;
}

// What earlier synchronisations staged that did not end. `history` is without any under way.
void Replica::remove_strays(const History& history) {
  for (Zxid zxid : snapshots_.list()) {
    if (zxid > history.base() && !history.goes_on_from(zxid)) snapshots_.remove(zxid);
  }
}

// The log will go on from `base`, also over zxids of which this node has snapshots. They hold
// something else than the log says if this node's history was another one. Example: nodes 1 and 2
// were set back to older copies of their disks, and gave the zxids that node 3 knows to new txns.
void Replica::remove_later(Zxid base) {
  for (Zxid zxid : snapshots_.list()) {
    if (zxid > base) snapshots_.remove(zxid);
  }
}

void Replica::maybe_snapshot() {
  // Spread over the members by their number, so that they don't all write at once.
  int64_t spread = config_.zab.me.value % 4 * config_.snapshot_txns / 16;
  bool due = txns_since_snapshot_ >= config_.snapshot_txns * 3 / 4 + spread ||
             log_since_snapshot_ > std::max(kMinLogBytes, last_snapshot_bytes_);
  if (due || (snapshot_wanted_ && is_serving())) take_snapshot();
}

void Replica::take_snapshot() {
  // The log does not go on from `tree_` when it goes on from a staged one, or will.
  if (snapshot_busy_ || staged_tree_ || incoming_tree_ || applied_ == last_snapshot_) return;
  if (!divergence_.empty() && !is_alone()) return;
  snapshot_busy_ = true;
  snapshot_wanted_ = false;
  txns_since_snapshot_ = 0;
  log_since_snapshot_ = 0;
  struct Work {  // the cursor goes before the tree it walks
    std::shared_ptr<tree::Tree> tree;
    std::unique_ptr<tree::SnapshotCursor> cursor;
    DiskStatus status;
    size_t bytes = 0;
  };
  auto work = std::make_shared<Work>();
  work->tree = tree_;
  {
    std::unique_lock lock(tree_mutex_);
    work->cursor = work->tree->begin_snapshot();
  }
  environment_.run_background(
      [this, work] {
        if (is_mutant(Mutant::kFuzzySnapshot)) {  // of a later state, under the old zxid
          Zxid label = work->cursor->zxid();
          work->cursor.reset();
          work->cursor = work->tree->begin_snapshot();
          work->status = snapshots_.write(label, work->cursor->digest(), [&](std::string& out) {
            return work->cursor->next(out, chunk_bytes());
          });
          return;
        }
        tree::SnapshotCursor& cursor = *work->cursor;
        work->status = snapshots_.write(cursor.zxid(), cursor.digest(), [&](std::string& out) {
          std::shared_lock lock(tree_mutex_);
          size_t before = out.size();
          bool more = cursor.next(out, chunk_bytes());
          work->bytes += out.size() - before;
          return more;
        });
      },
      [this, work] {
        Zxid zxid = work->cursor->zxid();
        {
          std::unique_lock lock(tree_mutex_);
          work->cursor.reset();
        }
        last_snapshot_bytes_ = work->bytes;
        snapshot_done(work->status, zxid);
      });
}

void Replica::snapshot_done(const DiskStatus& status, Zxid zxid) {
  snapshot_busy_ = false;
  supply_.snapshot_over();
  if (std::exchange(incoming_waits_, false)) write_incoming();
  if (!status.ok()) {
    environment_.log(LogLevel::kError,
                     fmt::format("{}: no snapshot: {}", place(), status.message()));
    return;
  }
  last_snapshot_ = std::max(last_snapshot_, zxid);
  environment_.log(LogLevel::kInfo, fmt::format("{}: snapshot at 0x{:x}", place(), zxid.value));
  if (!is_serving()) return;  // the next one will do
  const History& history = zab_->state().history;
  remove_strays(history);
  std::vector<Zxid> stored = snapshots_.list();
  std::erase_if(stored, [&](Zxid stored_zxid) {
    return stored_zxid > applied_ || !history.goes_on_from(stored_zxid);
  });
  if (stored.size() < config_.snapshot_retain) return;
  purge(std::move(stored));
}

// Older snapshots go, and the log that only they need, once the ones that stay have been read back
// and found whole.
void Replica::purge(std::vector<Zxid> stored) {
  struct Work {
    std::vector<Zxid> stored;
    std::vector<std::string> damage;
    size_t whole = 0;
  };
  if (std::exchange(purging_, true)) return;
  auto work = std::make_shared<Work>(Work{std::move(stored), {}, 0});
  environment_.run_background(
      [this, work] {
        auto place = work->stored.begin();
        while (place != work->stored.end() && work->whole < config_.snapshot_retain) {
          std::string problem = snapshots_.check(*place);
          if (problem.empty()) {
            ++work->whole;
            ++place;
          } else {
            work->damage.push_back(problem);
            snapshots_.remove(*place);
            place = work->stored.erase(place);
          }
        }
      },
      [this, work] {
        for (const std::string& damage : work->damage) report_damage(damage + "; it is removed");
        // While a synchronisation goes on, what it stages is of no history yet.
        purging_ = is_serving() && work->whole >= config_.snapshot_retain;
        if (!purging_) return;
        Zxid oldest = work->stored[config_.snapshot_retain - 1];
        log_.purge(oldest, zab_->state().votes, [this](Zxid base) {
          purging_ = false;
          if (base > zab_->state().history.base()) step(event::Purged{base});
        });
      });
}

}  // namespace zabfs::consensus
