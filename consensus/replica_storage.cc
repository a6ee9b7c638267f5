// The replica's part that deals in storage: the log and snapshots.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "consensus/replica.h"
#include "tree/jute.h"
#include "tree/snapshot.h"

namespace zabfs::consensus {

namespace {

// Beside the count of txns: the log that a start has to read and a learner may have to be sent
// stays within this, or within the size of the tree.
constexpr size_t kMinLogBytes = 64u << 20;
constexpr size_t kMaxBatchBytes = 8u << 20;
constexpr int64_t kSealAfterMs = 100;  // an idle log's last batch is sealed
constexpr size_t kZnodeBytes = 100;    // in a snapshot, beside its data

}  // namespace

// ---- the log

void Replica::queue_for_log(LogEntry entry) {
  if (entry.txn) log_queue_bytes_ += entry.txn->size();
  log_queue_.push_back(std::move(entry));
}

// A disk that is slower than the network makes the others wait, by their links, and costs no
// memory. Whom that silences for too long is given up by the rules for silence.
void Replica::hold_links() {
  // No longer than for one write: whoever is not read from seems silent.
  bool hold = log_queue_bytes_ > config_.max_log_queue_bytes;
  if (hold == holding_links_) return;
  holding_links_ = hold;
  for (LinkId link : links_) transport_.hold(link, hold);
}

void Replica::start_log_write() {
  if (io_busy_ || log_queue_.empty() || settling_) return;
  io_busy_ = true;
  auto end = log_queue_.begin();
  for (size_t bytes = 0; end != log_queue_.end() && bytes < kMaxBatchBytes; ++end) {
    if (end->txn) bytes += end->txn->size();
    if (end->txn) log_queue_bytes_ -= end->txn->size();
  }
  std::vector<LogEntry> rest(std::make_move_iterator(end),
                             std::make_move_iterator(log_queue_.end()));
  log_queue_.erase(end, log_queue_.end());
  auto batch = std::make_shared<std::vector<LogEntry>>(std::exchange(log_queue_, std::move(rest)));
  auto status = std::make_shared<DiskStatus>();
  auto wants_spare = std::make_shared<bool>(false);
  environment_.run_io(
      [this, batch, status, wants_spare, committed = applied_] {
        *status = log_.write(*batch, committed);
        *wants_spare = log_.wants_spare();
      },
      [this, batch, status, wants_spare] {
        log_written(std::move(*batch), *status, *wants_spare);
      });
}

void Replica::log_written(std::vector<LogEntry> batch, const DiskStatus& status, bool wants_spare) {
  io_busy_ = false;
  if (status.is_full()) return on_disk_full(status);
  if (!status.ok()) return environment_.die(status.message());
  if (settling_) return;
  bool only_seal = batch.size() == 1 && batch[0].type == log_format::RecordType::kSeal;
  seal_at_ms_ = INT64_MAX;
  if (!only_seal) seal_soon();
  Zxid synced;
  for (const LogEntry& entry : batch) {
    if (entry.type == log_format::RecordType::kTxn) synced = entry.zxid;
  }
  if (synced != Zxid{}) step(event::Synced{synced});
  for (const LogEntry& entry : batch) {
    if (entry.type != log_format::RecordType::kEndSync) continue;
    stage_incoming_tree();
    step(event::EpochSaved{entry.extra});
  }
  if (wants_spare && !spare_wanted_) {
    spare_wanted_ = true;
    auto spare_status = std::make_shared<DiskStatus>();
    environment_.run_background([this, spare_status] { *spare_status = log_.prepare_spare(); },
                                [this] { spare_wanted_ = false; });
  }
}

void Replica::seal_soon() { seal_at_ms_ = environment_.now_ms() + kSealAfterMs; }

// The last batch gets a witness of its having been synced (log_format.h).
void Replica::seal_log() {
  seal_at_ms_ = INT64_MAX;
  if (io_busy_ || settling_ || disk_full_ || !log_queue_.empty()) return;
  queue_for_log({log_format::RecordType::kSeal, Zxid{}, 0, nullptr});
}

// ---- snapshots

void Replica::on_snapshot(LinkId link, std::unique_ptr<tree::Tree> tree) {
  if (!links_.contains(link) || link != incoming_link_) return;
  incoming_tree_ = std::move(tree);
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
  environment_.run_io(
      [this, staged, status] {
        remove_strays(log_.ended_history());
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
  for (auto& [link, supply] : supplies_) supply.awaits_snapshot = false;
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
        auto base = std::make_shared<Zxid>();
        environment_.run_io(
            [this, oldest, base, work, votes = zab_->state().votes] {
              for (Zxid any : snapshots_.list()) {
                if (any < oldest) snapshots_.remove(any);
              }
              *base = log_.purge(oldest);
              if (votes) log_.forget_damaged();
            },
            [this, base] {
              purging_ = false;
              if (*base > zab_->state().history.base()) step(event::Purged{*base});
            });
      });
}

}  // namespace zabfs::consensus
