#include "consensus/recovery.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "consensus/fetch.h"

namespace zabfs::consensus {

namespace {

// Of the node's number, its last zxid, and the voters there were.
constexpr const char* kBeginAlonePage =
    "server {0} has everything through 0x{1:x}, and would begin an ensemble of its own with that.\n"
    "Servers {2} voted until now. What a majority of them committed beyond 0x{1:x} would be lost.\n"
    "  - If enough of them can be started for a majority, start those instead: nothing is lost.\n"
    "  - Of the servers that are left, take the one with the largest zxid: ask each of them so.\n"
    "  - Keep a copy of the dataDir.\n"
    "  - The others must not come back with their data. Empty their dataDirs, then start them and\n"
    "    make them members again by `zabfs members add`.\n"
    "To do it, stop this node and run: zabfsd --force-new-ensemble=0x{1:x} ZOO.CFG";

}  // namespace

Recovery::Recovery(Options options, Environment& environment, Disk& promises,
                   SnapshotStore& snapshots, LogPipeline& log, VisibleTree& tree, Outcomes outcomes)
    : options_(std::move(options)),
      environment_(environment),
      snapshots_(snapshots),
      log_(log),
      tree_(tree),
      outcomes_(std::move(outcomes)),
      epochs_(promises) {}

// ---- at a start

StatusOr<Recovery::Recovered> Recovery::recover(const Intervention& wanted) {
  mending_.reset();
  Found found;
  Status status = read_disks(found);
  if (!status.ok()) return status;
  if (found.lost.empty() && !found.damage.empty()) {
    Log& log = log_.at_rest();
    bool can_mend = found.votes && log.missing() && !has_given_up_mending_;
    if (can_mend && log.missing()->empty()) {
      DiskStatus mended = log.mend({});
      if (!mended.ok()) return Status::failed(mended.message());
      warn("mended the log; no txn was in what was damaged");
      return recover(wanted);
    }
    if (can_mend && !options_.is_alone) {
      mending_.emplace(*log.missing());
    } else if (set_old_damage_aside()) {
      return recover(wanted);
    } else {
      found.lost = found.damage.front();
    }
  }
  return load(std::move(found), wanted);
}

Status Recovery::read_disks(Found& found) {
  auto [promise, problem] = epochs_.open();
  LogRecovery log = log_.at_rest().open();
  if (!log.error.empty()) return Status::failed(log.error);
  for (const std::string& damage : log.damage) report_damage(damage);
  // One bad copy may be no more than a save that a crash stopped.
  if (promise == EpochStore::State::kLost) report_damage(problem);
  if (promise == EpochStore::State::kIntact && !problem.empty()) warn(problem);
  if (!log.note.empty()) environment_.log(LogLevel::kWarning, log.note);
  snapshots_.remove_leftovers();
  found.damage = std::move(log.damage);
  found.promise_is_whole = promise == EpochStore::State::kIntact && problem.empty();
  find_what_is_lost(promise, problem, found);
  return {};
}

void Recovery::find_what_is_lost(EpochStore::State promise, const std::string& problem,
                                 Found& found) {
  // A first start that a crash ended may have begun a log; nothing is written to it before a
  // promise is saved.
  found.is_empty = promise == EpochStore::State::kNew && found.damage.empty() &&
                   log_.at_rest().holds_nothing() && snapshots_.list().empty();
  found.votes = epochs_.promise().votes;
  if (promise == EpochStore::State::kLost) {
    found.lost = problem;
  } else if (promise == EpochStore::State::kNew && !found.is_empty) {
    found.lost = "accepted.0 and accepted.1 are gone: what this node promised is lost";
  } else if (found.votes && log_.at_rest().is_new()) {
    found.lost = "the log is gone";
  }
  if (options_.is_alone && promise != EpochStore::State::kIntact) {
    found.lost.clear();  // who votes alone promises to nobody
    found.votes = true;
  }
  if (found.is_empty && options_.initialize) found.votes = true;
}

// Damage before the newest intact snapshot is in what this node can do without.
bool Recovery::set_old_damage_aside() {
  for (Zxid zxid : snapshots_.list()) {
    if (!snapshots_.check(zxid).ok()) continue;
    if (!log_.at_rest().set_aside_before(zxid)) return false;
    has_given_up_mending_ = false;  // less is missing now
    warn(fmt::format("set the log before its snapshot at 0x{:x} aside", zxid.value));
    return true;
  }
  return false;
}

// The newest intact snapshot that the log can go on from, or any if `history` is null.
std::shared_ptr<tree::Tree> Recovery::load_snapshot(const History* history, bool& is_damaged) {
  const Log& log = log_.at_rest();
  for (Zxid zxid : snapshots_.list()) {
    if (history != nullptr && !history->goes_on_from(zxid)) continue;
    bool is_doubtful = zxid == log.history().base() && !log.knows_committed(zxid);
    if (history == nullptr && is_doubtful) continue;
    StatusOr<std::unique_ptr<tree::Tree>> loaded = snapshots_.load(zxid);
    if (loaded.ok()) return std::move(*loaded);
    report_damage(loaded.why() + "; an older snapshot and the log have what it said");
    is_damaged = true;
  }
  return nullptr;
}

StatusOr<Recovery::Recovered> Recovery::load(Found found, const Intervention& wanted) {
  Log& log = log_.at_rest();
  Recovered recovered;
  const History& history = mending_ ? log.mended_history() : log.history();
  if (found.lost.empty()) {
    recovered.tree = load_snapshot(&history, recovered.lacks_snapshot);
    if (!recovered.tree && log.history().base() != Zxid{}) {
      found.lost = fmt::format("no intact snapshot at or after 0x{:x}, where the log begins",
                               log.history().base().value);
      mending_.reset();
    }
  }
  Status status = found.lost.empty() ? Status{} : give_up_vote(found.lost, recovered);
  if (!status.ok()) return status;
  if (!found.lost.empty()) found.votes = false;
  // The log is there before a vote is, so that a vote without a log says that it was lost.
  DiskStatus saved = log.begin();
  if (saved.ok() && found.lost.empty()) saved = save_votes(found);
  if (!saved.ok()) return Status::failed(saved.message());
  if (recovered.tree && recovered.tree->last_zxid() == history.base() &&
      !log.knows_committed(history.base())) {
    environment_.log(
        LogLevel::kInfo,
        fmt::format("node {}: has a leader's snapshot at 0x{:x}, and waits for a leader "
                    "to know whether all in it was committed",
                    options_.me.value, history.base().value));
    recovered.is_committed = false;
  }
  if (!recovered.tree) recovered.tree = std::make_shared<tree::Tree>();
  log_end_ = log.history().last();
  status = read_txns(recovered);
  if (status.ok()) status = describe(found, wanted, recovered);
  if (!status.ok()) return status;
  return recovered;
}

// An epoch that the log has was accepted, too.
uint32_t Recovery::accepted_epoch() {
  return std::max(epochs_.promise().accepted_epoch, log_.at_rest().current_epoch());
}

// This node may not vote with the rest of the log: that is no history.
Status Recovery::give_up_vote(const std::string& lost, Recovered& recovered) {
  Log& log = log_.at_rest();
  if (options_.is_alone) {
    return Status::failed(fmt::format(
        "{}; the log held txns up to 0x{:x}, and no other member has a copy. Restore the data "
        "directory, or move it away to start empty",
        lost, log.history().last().value));
  }
  // First of all, so that no crash below lets this node vote with what is left.
  DiskStatus status = epochs_.save({accepted_epoch(), false});
  if (!status.ok()) return Status::failed(status.message());
  environment_.log(LogLevel::kError,
                   fmt::format("node {}: {}; this node has no vote until the others have brought "
                               "it up to date",
                               options_.me.value, lost));
  recovered.tree = load_snapshot(nullptr, recovered.lacks_snapshot);
  status =
      log.restart_at(recovered.tree ? recovered.tree->last_zxid() : Zxid{}, log.current_epoch());
  return status.ok() ? Status{} : Status::failed(status.message());
}

// Where nothing was lost: both copies of the promise say what counts.
DiskStatus Recovery::save_votes(const Found& found) {
  if (!found.is_empty && !found.promise_is_whole) {
    return epochs_.save({accepted_epoch(), found.votes});
  }
  if (found.is_empty && found.votes) return epochs_.save({0, true});
  return {};
}

Status Recovery::read_txns(Recovered& recovered) {
  const History& history = log_.at_rest().history();
  Zxid base = recovered.tree->last_zxid();
  LogPipeline::Reading reading = log_.read(history, base, history.last());
  recovered.txns = std::move(reading.txns);
  Zxid last = recovered.txns.empty() ? base : recovered.txns.back().zxid;
  // Of a log that is to be mended, the intact beginning is enough to go on serving reads.
  bool is_whole = (reading.is_whole || mending_) && last == history.last();
  if (history.last() > base && !is_whole) return Status::failed("the log can't be read back");
  return {};
}

// The state of the core: all that is known of this node's place in the protocol.
Status Recovery::describe(const Found& found, const Intervention& wanted, Recovered& recovered) {
  const Log& log = log_.at_rest();
  const History& history = log.history();
  ZabState& state = recovered.state;
  state.votes = found.votes;
  state.empty = found.is_empty;
  state.nonce = kFirstNonce | static_cast<int64_t>(environment_.random() >> 2);
  while (state.fresh_secret.size() < kSecretBytes) {
    uint64_t word = environment_.random();
    state.fresh_secret.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  state.secret = epochs_.promise().secret;
  state.accepted_epoch = accepted_epoch();
  state.ensemble = epochs_.promise().ensemble.value_or(0);
  state.ensemble_holds = history.last() != Zxid{};
  state.current_epoch = log.current_epoch();
  state.history = history;
  state.durable = history.last();
  // Behind damage a TRUNC may have taken back the end of what is intact.
  Zxid last = history.last();
  if (mending_) last = std::min(last, log.mended_history().last_of_epoch(last.epoch()));
  Zxid shown = recovered.is_committed ? recovered.tree->last_zxid() : Zxid{};
  state.committed = std::max(std::min(log.committed(), last), shown);
  state.membership = Membership(options_.configured);
  state.membership.adopt(configuration_of(*recovered.tree));
  for (const LogTxn& txn : recovered.txns) state.membership.appended(txn.zxid, *txn.txn);
  state.membership.committed(state.committed);
  if (wanted.begin_alone) return begin_alone(found, *wanted.begin_alone, state);
  if (!wanted.readdress) return {};
  Status status = state.membership.readdress(options_.configured);
  return status.ok() ? status : Status::failed("--readdress: " + status.why());
}

// Its number is another one from here on: the servers that are given up may not be lost after all,
// and must not be taken for members.
Status Recovery::begin_alone(const Found& found, Zxid expected, ZabState& state) {
  if (mending_ || !found.lost.empty() || state.empty) {
    return Status::failed("--force-new-ensemble: this node's data is " +
                          std::string(state.empty ? "empty" : "damaged") +
                          "; take another server that is left, or a backup");
  }
  Zxid last = state.history.last();
  if (expected != last) {
    return Status::failed(fmt::format(kBeginAlonePage, options_.me.value, last.value,
                                      state.membership.in_force().voter_names()));
  }
  Status status = state.membership.begin_alone(options_.me, options_.configured);
  if (!status.ok()) return Status::failed("--force-new-ensemble: " + status.why());
  state.ensemble = state.nonce;
  state.ensemble_holds = true;
  state.votes = true;
  DiskStatus saved = epochs_.save({state.accepted_epoch, true, state.ensemble, {}});
  if (!saved.ok()) return Status::failed(saved.message());
  warn(fmt::format("is an ensemble of its own now, with all through 0x{:x}", last.value));
  return {};
}

// ---- mending

void Recovery::ask_next() {
  if (mending_->link() != 0) outcomes_.close(mending_->link(), "it does not answer");
  std::optional<ServerId> member =
      mending_->ask_next(outcomes_.peers().others, outcomes_.new_link(), environment_.now_ms());
  if (member) outcomes_.dial(*member, mending_->link());
}

void Recovery::on_timer() {
  if (environment_.now_ms() >= mending_->next_step_ms()) ask_next();
}

void Recovery::on_link_up() { ask(); }

void Recovery::on_link_down() { mending_->link_down(environment_.now_ms()); }

void Recovery::ask() {
  if (mending_->asks_whether_it_leads()) {
    // It claims nothing: neither a vote, nor an epoch, nor a configuration.
    LearnerInfo me = outcomes_.peers().me;
    me.id = without_vote(me.id);
    me.config_version = 0;
    return outcomes_.send(mending_->link(),
                          Packet(PacketType::kObserverInfo, Zxid{}, encode_learner_info(me)));
  }
  outcomes_.send(mending_->link(),
                 Packet(PacketType::kFetchTxns, Zxid{},
                        encode_fetch({mending_->question(), outcomes_.peers().me})));
}

void Recovery::on_packet(const Packet& packet) {
  LinkId link = mending_->link();
  Mending::Next next =
      mending_->take(packet, outcomes_.peers().others.size(), environment_.now_ms());
  if (next == Mending::Next::kMore) return;
  if (next == Mending::Next::kAskAgain) return ask();
  outcomes_.close(link, "the fetch is over");
  if (next == Mending::Next::kComplete) finish();
  if (next == Mending::Next::kGiveUp) give_up();
}

void Recovery::finish() {
  DiskStatus status = log_.at_rest().mend(mending_->found());
  if (status.is_full()) {
    report_damage(status.message() + "; the log can't be mended until there is room");
    return mending_->wait_for_room(environment_.now_ms() + LogPipeline::kRoomProbeMs);
  }
  if (!status.ok()) return environment_.die(status.message());
  warn(fmt::format("mended the log with {} txns from server {}", mending_->found().size(),
                   mending_->member().value));
  outcomes_.over();
}

void Recovery::give_up() {
  has_given_up_mending_ = true;
  // This node goes on where the intact beginning ends, which it has served from.
  std::shared_ptr<VisibleTree::Walk> walk = tree_.begin_walk();
  DiskStatus status = snapshots_.write(
      walk->zxid(), [&](std::string& out) { return walk->next(out, options_.chunk_bytes); });
  walk->end();
  if (!status.ok() && !status.is_full()) return environment_.die(status.message());
  outcomes_.over();
}

// ---- promises

void Recovery::save(Promise promise, std::function<void(const Promise&, const DiskStatus&)> done) {
  struct Work {
    Promise promise;
    DiskStatus status;
  };
  auto work = std::make_shared<Work>(Work{std::move(promise), {}});
  log_.run(
      [this, work](const Log&) {
        // One that is on its way to the disk gives this node its vote.
        work->promise.votes = work->promise.votes || epochs_.promise().votes;
        work->status = epochs_.save(work->promise);
      },
      [work, done = std::move(done)] { done(work->promise, work->status); });
}

void Recovery::report_damage(const std::string& what) {
  environment_.log(LogLevel::kError, fmt::format("node {}: DAMAGE: {}", options_.me.value, what));
}

void Recovery::warn(const std::string& text) {
  environment_.log(LogLevel::kWarning, fmt::format("node {}: {}", options_.me.value, text));
}

}  // namespace zabfs::consensus
