#include "consensus/snapshotter.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tree/snapshot.h"
#include "tree/txn.h"

namespace zabfs::consensus {

namespace {

// Beside the count of txns: the log that a start has to read and a learner may have to be sent
// stays within this, or within the size of the tree.
constexpr size_t kMinLogBytes = 64u << 20;
constexpr size_t kZnodeBytes = 100;  // in a snapshot, beside its data

}  // namespace

Snapshotter::Snapshotter(Options options, Environment& environment, SnapshotStore& store,
                         LogPipeline& log, VisibleTree& tree, Outcomes outcomes)
    : options_(options),
      environment_(environment),
      store_(store),
      log_(log),
      tree_(tree),
      outcomes_(std::move(outcomes)) {}

size_t Snapshotter::estimate_bytes(const tree::Tree& tree) {
  return tree.data_bytes() + tree.node_count() * kZnodeBytes;
}

// ---- of its own

void Snapshotter::applied(size_t txns, size_t bytes) {
  txns_since_ += txns;
  log_bytes_since_ += bytes;
}

bool Snapshotter::is_due(bool serves) const {
  // Spread over the members by their number, so that they don't all write at once.
  int64_t spread = options_.me.value % 4 * options_.txns / 16;
  return static_cast<int64_t>(txns_since_) >= options_.txns * 3 / 4 + spread ||
         log_bytes_since_ > std::max(kMinLogBytes, last_bytes_) || (is_wanted_ && serves);
}

void Snapshotter::want_again() {
  is_wanted_ = true;
  last_ = Zxid{};
}

void Snapshotter::restart_at(Zxid last) {
  last_ = last;
  txns_since_ = 0;
  log_bytes_since_ = 0;
}

void Snapshotter::ask(Asker asker) {
  if (is_incoming() || incoming_ || tree_.staged()) {
    return asker(Status::failed(
        "this node is taking over the leader's data: ask again when it has, or ask another"));
  }
  if (tree_.applied() == Zxid{}) return asker(Status::failed("nothing was ever written here"));
  if (!is_busy_ && tree_.applied() == last_) return asker(Stored{last_, store_.path_of(last_)});
  askers_.push_back(std::move(asker));
  take();
}

void Snapshotter::answer(const std::vector<Asker>& askers, const StatusOr<Stored>& stored) const {
  for (const Asker& asker : askers) asker(stored);
}

void Snapshotter::take() {
  if (is_busy_ || incoming_ || tree_.staged() || tree_.applied() == last_) return;
  is_busy_ = true;
  is_wanted_ = false;
  txns_since_ = 0;
  log_bytes_since_ = 0;
  struct Work {
    std::shared_ptr<VisibleTree::Walk> walk;
    Zxid zxid;
    DiskStatus status;
    size_t bytes = 0;
    std::vector<Asker> askers;
  };
  auto work = std::make_shared<Work>();
  work->askers = std::exchange(askers_, {});
  work->walk = tree_.begin_walk();
  work->zxid = work->walk->zxid();
  environment_.run_background(
      [this, work] {
        int64_t begun_us = environment_.now_us();
        work->status = store_.write(work->zxid, [&](std::string& out) {
          size_t before = out.size();
          bool more = work->walk->next(out, options_.chunk_bytes);
          work->bytes += out.size() - before;
          return more;
        });
        write_times_.note(environment_.now_us() - begun_us);
      },
      [this, work] {
        work->walk->end();
        last_bytes_ = work->bytes;
        taken(work->status, work->zxid, std::move(work->askers));
      });
}

void Snapshotter::taken(const DiskStatus& status, Zxid zxid, std::vector<Asker> askers) {
  is_busy_ = false;
  outcomes_.over();
  if (std::exchange(incoming_waits_, false)) write_incoming();
  if (!status.ok()) {
    answer(askers, Status::failed(status.message()));
    answer(std::exchange(askers_, {}), Status::failed(status.message()));
    return outcomes_.log(LogLevel::kError, fmt::format("no snapshot: {}", status.message()));
  }
  last_ = std::max(last_, zxid);
  outcomes_.log(LogLevel::kInfo, fmt::format("snapshot at 0x{:x}", zxid.value));
  answer(askers, Stored{zxid, store_.path_of(zxid)});
  std::optional<Standing> standing = outcomes_.standing();
  if (standing) tidy(standing->history);  // else behind the next one
  for (Asker& asker : std::exchange(askers_, {})) ask(std::move(asker));
}

// Strays go. If what is left is enough, a purge follows.
void Snapshotter::tidy(const History& history) {
  struct Work {
    History history;
    std::vector<Zxid> stored;
  };
  is_tidying_ = true;
  auto work = std::make_shared<Work>(Work{history, {}});
  environment_.run_background(
      [this, work, applied = tree_.applied()] {
        remove_strays(work->history);
        work->stored = store_.list();
        std::erase_if(work->stored,
                      [&](Zxid any) { return any > applied || !work->history.goes_on_from(any); });
      },
      [this, work] {
        is_tidying_ = false;
        if (std::exchange(incoming_waits_, false)) write_incoming();
        if (work->stored.size() >= options_.retain) purge(std::move(work->stored));
      });
}

// What earlier synchronisations staged that did not end. `history` is without any under way.
void Snapshotter::remove_strays(const History& history) {
  for (Zxid zxid : store_.list()) {
    if (zxid > history.base() && !history.goes_on_from(zxid)) store_.remove(zxid);
  }
}

// The log will go on from `base`, also over zxids of which this node has snapshots. They hold
// something else than the log says if this node's history was another one. Example: nodes 1 and 2
// were set back to older copies of their disks, and gave the zxids that node 3 knows to new txns.
void Snapshotter::remove_later(Zxid base) {
  for (Zxid zxid : store_.list()) {
    if (zxid > base) store_.remove(zxid);
  }
}

// Older snapshots go, and the log that only they need, once the ones that stay have been read back
// and found whole.
void Snapshotter::purge(std::vector<Zxid> stored) {
  struct Work {
    std::vector<Zxid> stored;
    std::vector<std::string> damage;
    std::vector<Zxid> damaged;
    size_t whole = 0;
  };
  if (std::exchange(is_purging_, true)) return;
  auto work = std::make_shared<Work>(Work{std::move(stored), {}, {}, 0});
  environment_.run_background(
      [this, work] {
        auto next = work->stored.begin();
        while (next != work->stored.end() && work->whole < options_.retain) {
          Status status = store_.check(*next);
          if (status.ok()) {
            ++work->whole;
            ++next;
          } else {
            work->damage.push_back(status.why());
            work->damaged.push_back(*next);
            store_.remove(*next);
            next = work->stored.erase(next);
          }
        }
      },
      [this, work] {
        for (const std::string& damage : work->damage) {
          outcomes_.report_damage(damage + "; it is removed");
        }
        for (Zxid gone : work->damaged) {
          if (gone == last_) last_ = Zxid{};  // who asks for one is not sent to that file
        }
        // While a synchronisation goes on, what it stages is of no history yet.
        std::optional<Standing> standing = outcomes_.standing();
        is_purging_ = standing && work->whole >= options_.retain;
        if (!is_purging_) return;
        log_.purge(work->stored[options_.retain - 1], standing->votes, [this](Zxid base) {
          is_purging_ = false;
          outcomes_.purged(base);
        });
      });
}

void Snapshotter::keep_diverged(std::shared_ptr<tree::Tree> tree) {
  if (is_busy_) return;  // it walks that tree
  auto status = std::make_shared<DiskStatus>();
  environment_.run_background(
      [this, tree, status] { *status = store_.write_diverged(*tree); },
      [this, status, zxid = tree->last_zxid()] {
        outcomes_.log(LogLevel::kWarning,
                      status->ok() ? fmt::format("what it had is kept as {}",
                                                 SnapshotStore::diverged_name(zxid))
                                   : fmt::format("what it had is not kept: {}", status->message()));
      });
}

// ---- of a leader's

void Snapshotter::begin_fuzzy(LinkId link) {
  incoming_link_ = link;
  is_fuzzy_ = true;
}

// The digests of these txns are of trees that were exact.
void Snapshotter::apply_to_fuzzy(Zxid zxid, std::string_view txn) {
  std::optional<tree::Txn> decoded = tree::decode_txn(txn);
  if (!decoded || decoded->header.zxid != zxid || !incoming_) {
    fault_ = fmt::format("what the leader committed at 0x{:x} is no txn", zxid.value);
    return;
  }
  decoded->digest.reset();
  incoming_->apply(*decoded, nullptr);
}

void Snapshotter::begin_incoming(LinkId link) {
  incoming_link_ = link;
  if (!std::exchange(is_fuzzy_, false) || !incoming_) return;
  incoming_->find_quotas();
  store_incoming();
}

void Snapshotter::store_incoming() {
  incoming_waits_ = is_busy_ || is_tidying_;
  if (!incoming_waits_) write_incoming();
}

// The file is on disk before the log group that makes it the base.
void Snapshotter::write_incoming() {
  LinkId link = incoming_link_;
  if (!incoming_ || !outcomes_.is_up(link)) return;
  std::string path = incoming_->path_without_acl();
  if (fault_.empty() && !path.empty()) fault_ = "the leader's snapshot has no ACL for " + path;
  if (!fault_.empty()) {
    return environment_.run_background([] {},
                                       [this, link, fault = fault_] {
                                         if (outcomes_.is_up(link)) outcomes_.refused(link, fault);
                                       });
  }
  auto status = std::make_shared<DiskStatus>();
  std::shared_ptr<tree::Tree> tree = incoming_;
  log_.run(
      [this, tree, status](const Log& log) {
        remove_strays(log.ended_history());
        remove_later(tree->last_zxid());
        std::unique_ptr<tree::SnapshotCursor> cursor = tree->begin_snapshot();
        *status = store_.write(cursor->zxid(), [&](std::string& out) {
          return cursor->next(out, options_.chunk_bytes);
        });
      },
      [this, tree, link, status] {
        if (status->is_full()) return outcomes_.full(*status, estimate_bytes(*tree));
        if (!status->ok()) return environment_.die(status->message());
        if (outcomes_.is_up(link) && incoming_) outcomes_.stored(link);
      });
}

std::shared_ptr<tree::Tree> Snapshotter::take_incoming() {
  if (incoming_) incoming_link_ = 0;
  return std::exchange(incoming_, nullptr);
}

void Snapshotter::drop_incoming() {
  is_fuzzy_ = false;
  fault_.clear();
  incoming_.reset();
  incoming_link_ = 0;
  incoming_waits_ = false;
}

}  // namespace zabfs::consensus
