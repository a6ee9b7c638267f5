#include "consensus/learner_supply.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tree/jute.h"
#include "tree/snapshot.h"

namespace zabfs::consensus {

namespace {

std::string snapshot_signature() {
  std::string signature;
  tree::jute::Writer(signature).string(kSnapshotSignature);
  return signature;
}

}  // namespace

LearnerSupply::LearnerSupply(Options options, Environment& environment, Transport& transport,
                             LogPipeline& log, SnapshotStore& snapshots, const RecentTxns& recent,
                             Outcomes outcomes)
    : options_(options),
      environment_(environment),
      transport_(transport),
      log_(log),
      snapshots_(snapshots),
      recent_(recent),
      outcomes_(std::move(outcomes)) {}

// ---- for one learner

void LearnerSupply::send(LinkId link, const std::string& bytes) {
  auto learner = supplies_.find(link);
  if (learner == supplies_.end()) return transport_.send(link, bytes);
  learner->second.waiting_bytes += bytes.size();
  learner->second.queue.emplace_back(bytes);
}

void LearnerSupply::send_history(const action::SendHistory& send) {
  if (send.after >= send.through) return;
  supplies_[send.link].queue.emplace_back(send);
}

void LearnerSupply::send_snapshot(const action::SendSnapshot& send, bool awaits_newer) {
  Supply& supply = supplies_[send.link];
  supply.queue.emplace_back(send);
  supply.awaits_snapshot = supply.awaits_snapshot || awaits_newer;
}

void LearnerSupply::forget(LinkId link) {
  supplies_.erase(link);
  feeds_.erase(link);
}

// ---- for all

void LearnerSupply::snapshot_over() {
  for (auto& [link, supply] : supplies_) supply.awaits_snapshot = false;
}

void LearnerSupply::clear() {
  supplies_.clear();
  feeds_.clear();
}

size_t LearnerSupply::max_waiting_bytes() const {
  size_t bytes = 0;
  for (const auto& [link, supply] : supplies_) bytes = std::max(bytes, supply.waiting_bytes);
  return bytes;
}

std::vector<LinkId> LearnerSupply::take_fed() {
  std::vector<LinkId> fed;
  for (auto entry = feeds_.begin(); entry != feeds_.end();) {
    auto& [link, feed] = *entry;
    uint64_t delivered = transport_.flow(link).delivered;
    if (delivered > feed.delivered) fed.push_back(link);
    feed.delivered = delivered;
    bool is_over = delivered >= feed.end && !supplies_.contains(link);
    entry = is_over ? feeds_.erase(entry) : std::next(entry);
  }
  return fed;
}

bool LearnerSupply::supply() {
  bool sent = false;
  std::vector<LinkId> links;
  for (const auto& [link, supply] : supplies_) links.push_back(link);
  for (LinkId link : links) sent = supply_learner(link) || sent;
  return sent;
}

bool LearnerSupply::supply_learner(LinkId link) {
  auto learner = supplies_.find(link);
  if (learner == supplies_.end()) return false;  // it was cut off with another
  Supply& supply = learner->second;
  if (supply.waiting_bytes > options_.max_waiting_bytes) {
    outcomes_.cut_off(link, "it takes its history too slowly");
    return false;
  }
  bool sent = false;
  while (!supply.queue.empty() && !supply.reading && !supply.awaits_snapshot &&
         transport_.unsent(link) < options_.piece_bytes) {
    auto& next = supply.queue.front();
    if (const auto* bytes = std::get_if<std::string>(&next)) {
      supply.waiting_bytes -= bytes->size();
      transport_.send(link, *bytes);
      supply.queue.pop_front();
    } else if (const auto* history = std::get_if<action::SendHistory>(&next)) {
      if (history->after < recent_.base()) {
        supply.reading = true;
        read_history(*history);
        continue;
      }
      send_txns(*history, recent_.txns());
      supply.queue.pop_front();
    } else {
      supply.reading = true;
      if (supply.snapshot) {
        read_snapshot(supply.snapshot, link, std::get<action::SendSnapshot>(next).to_zabfs);
      } else {
        find_snapshot(std::get<action::SendSnapshot>(next));
      }
      continue;
    }
    sent = true;
  }
  if (supply.queue.empty()) supplies_.erase(link);
  return sent;
}

// What a learner is to be told of the past, as opposed to all else on its link.
void LearnerSupply::send_past(LinkId link, const std::string& bytes) {
  transport_.send(link, bytes);
  feeds_[link].end = transport_.flow(link).sent;
}

// ---- history

void LearnerSupply::send_txns(const action::SendHistory& send, const std::deque<LogTxn>& txns) {
  auto txn = std::partition_point(txns.begin(), txns.end(),
                                  [&](const LogTxn& any) { return any.zxid <= send.after; });
  std::string bytes;
  for (; txn != txns.end() && txn->zxid <= send.through; ++txn) {
    encode_packet(Packet(PacketType::kProposal, txn->zxid, txn->txn), bytes);
    if (send.commit) encode_packet(Packet(PacketType::kCommit, txn->zxid), bytes);
  }
  send_past(send.link, bytes);
}

void LearnerSupply::read_history(const action::SendHistory& send) {
  action::SendHistory piece = send;
  piece.through = std::min(send.through, recent_.base());
  log_.read_in_background(
      outcomes_.history(), piece.after, piece.through, options_.piece_bytes,
      [this, piece](const LogPipeline::Reading& reading) { history_read(piece, reading); });
}

void LearnerSupply::history_read(const action::SendHistory& piece,
                                 const LogPipeline::Reading& reading) {
  auto learner = supplies_.find(piece.link);
  if (learner == supplies_.end()) return;
  if (reading.is_whole) {
    Supply& supply = learner->second;
    supply.reading = false;
    send_txns(piece, reading.txns);
    auto& rest = std::get<action::SendHistory>(supply.queue.front());
    rest.after = reading.txns.empty() ? piece.through : reading.txns.back().zxid;
    if (rest.after >= rest.through) supply.queue.pop_front();
    return;
  }
  // A purge under way may have removed it, and have yet to say so.
  if (piece.after < outcomes_.history().base() || outcomes_.is_purging()) {
    return outcomes_.cut_off(piece.link, "the log that it needs was purged meanwhile");
  }
  // From here on learners that need it get a snapshot.
  outcomes_.report_damage(
      fmt::format("the log before 0x{:x}; `zabfs check` says where", recent_.base().value));
  outcomes_.log_unreadable(recent_.base());
  outcomes_.cut_off(piece.link, "the log for this learner is damaged");
}

// ---- snapshots

// Looks for the newest snapshot that will do, and opens it.
void LearnerSupply::find_snapshot(const action::SendSnapshot& send) {
  struct Work {
    History history;
    std::shared_ptr<SnapshotReader> reader;  // null: there is none
    Unreadable unreadable;
  };
  auto work = std::make_shared<Work>(Work{outcomes_.history(), nullptr, {}});
  environment_.run_background(
      [this, work, through = send.through] {
        for (Zxid zxid : snapshots_.list()) {
          if (zxid > through || !work->history.goes_on_from(zxid)) continue;
          work->reader = std::make_shared<SnapshotReader>();
          Status status = snapshots_.open(zxid, *work->reader);
          if (!status.ok()) work->unreadable = take_away(snapshots_, zxid, status.why());
          return;
        }
      },
      [this, work, send] {
        auto learner = supplies_.find(send.link);
        if (learner == supplies_.end()) return;
        learner->second.reading = false;
        if (!work->unreadable.problem.empty()) {
          return snapshot_unreadable(send.link, work->unreadable);
        }
        if (!work->reader && work->history.base() != Zxid{}) {
          outcomes_.snapshot_missing();
          return outcomes_.cut_off(send.link, "the snapshot for this learner is gone");
        }
        begin_snapshot(learner->second, send, work->reader);
      });
}

// SNAP, and what follows it once the stream has ended.
void LearnerSupply::begin_snapshot(Supply& supply, const action::SendSnapshot& send,
                                   std::shared_ptr<SnapshotReader> reader) {
  Zxid zxid = reader ? reader->zxid() : Zxid{};
  std::string bytes;
  encode_packet(Packet(PacketType::kSnap, zxid), bytes);
  supply.queue.insert(supply.queue.begin() + 1,
                      action::SendHistory{send.link, zxid, send.through, true});
  if (reader) {
    send_past(send.link, bytes);
    supply.snapshot = std::move(reader);
  } else {
    send_empty_snapshot(send.link, std::move(bytes));
    supply.queue.pop_front();
  }
}

void LearnerSupply::send_empty_snapshot(LinkId link, std::string bytes) {
  tree::Tree empty;
  std::unique_ptr<tree::SnapshotCursor> cursor = empty.begin_snapshot();
  while (cursor->next(bytes, kSnapshotChunkBytes)) {
  }
  send_past(link, bytes + snapshot_signature());
}

void LearnerSupply::read_snapshot(std::shared_ptr<SnapshotReader> reader, LinkId link,
                                  bool to_zabfs) {
  struct Work {
    std::string bytes;
    Unreadable unreadable;
    bool at_end = false;
  };
  auto work = std::make_shared<Work>();
  environment_.run_background(
      [this, reader, work, to_zabfs] {
        std::string chunk;
        Status status;
        while (status.ok() && !work->at_end && work->bytes.size() < options_.piece_bytes) {
          status = reader->next(chunk);
          if (to_zabfs || !tree::is_times_block(chunk)) work->bytes += chunk;
          work->at_end = chunk.empty();
        }
        if (!status.ok()) {
          work->unreadable = take_away(snapshots_, reader->zxid(), status.why());
        }
      },
      [this, work, link] {
        auto learner = supplies_.find(link);
        if (learner == supplies_.end()) return;
        if (!work->unreadable.problem.empty()) return snapshot_unreadable(link, work->unreadable);
        Supply& supply = learner->second;
        supply.reading = false;
        if (work->at_end) work->bytes += snapshot_signature();
        send_past(link, work->bytes);
        if (!work->at_end) return;
        supply.snapshot.reset();
        supply.queue.pop_front();
      });
}

// On the lane: a snapshot that can't be read goes, unless a purge has removed it just now.
LearnerSupply::Unreadable LearnerSupply::take_away(SnapshotStore& snapshots, Zxid zxid,
                                                   const std::string& problem) {
  std::vector<Zxid> left = snapshots.list();
  bool is_there = std::find(left.begin(), left.end(), zxid) != left.end();
  if (is_there) snapshots.remove(zxid);
  return {problem, is_there};
}

void LearnerSupply::snapshot_unreadable(LinkId link, const Unreadable& unreadable) {
  if (unreadable.was_removed) outcomes_.report_damage(unreadable.problem + "; it is removed");
  outcomes_.snapshot_missing();
  outcomes_.cut_off(link, "the snapshot for this learner is corrupt");
}

}  // namespace zabfs::consensus
