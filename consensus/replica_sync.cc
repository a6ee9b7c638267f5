// How a leader brings a learner up to date from its disk, beside its other work: a piece of the log
// or of a snapshot at a time, read in the background, and no faster than the learner takes it.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "consensus/replica.h"
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

void Replica::send_bytes(LinkId link, const std::string& bytes) {
  auto place = supplies_.find(link);
  if (place == supplies_.end()) return transport_.send(link, bytes);
  place->second.waiting_bytes += bytes.size();
  place->second.queue.emplace_back(bytes);
}

// A receiver would close the link, be sent the same again, and close it again.
std::string Replica::encode(const Packet& packet) {
  std::string bytes;
  if (!is_sendable(packet.bytes().size(), packet.identities)) {
    environment_.die(fmt::format("{}: {} of {} bytes at 0x{:x} is more than a member takes",
                                 place(), packet_name(packet.type), packet.bytes().size(),
                                 packet.zxid.value));
  }
  encode_packet(packet, bytes);
  return bytes;
}

void Replica::send_packet(LinkId link, const Packet& packet) { send_bytes(link, encode(packet)); }

// What a learner is to be told of the past, as opposed to all else on its link.
void Replica::send_to(LinkId link, const std::string& bytes) {
  transport_.send(link, bytes);
  feeds_[link].end = transport_.flow(link).sent;
}

// The core is told of learners that take what they are sent of the past.
void Replica::note_what_was_fed() {
  std::vector<LinkId> fed;
  for (auto place = feeds_.begin(); place != feeds_.end();) {
    auto& [link, feed] = *place;
    uint64_t delivered = transport_.flow(link).delivered;
    if (delivered > feed.delivered) fed.push_back(link);
    feed.delivered = delivered;
    bool is_over = delivered >= feed.end && !supplies_.contains(link);
    place = is_over ? feeds_.erase(place) : std::next(place);
  }
  for (LinkId link : fed) step(event::LearnerFed{link});
}

size_t Replica::supply_bytes() const {
  size_t bytes = 0;
  for (const auto& [link, supply] : supplies_) bytes = std::max(bytes, supply.waiting_bytes);
  return bytes;
}

void Replica::send_txns(const action::SendHistory& send, const std::deque<LogTxn>& txns) {
  auto txn = std::partition_point(txns.begin(), txns.end(),
                                  [&](const LogTxn& any) { return any.zxid <= send.after; });
  std::string bytes;
  for (; txn != txns.end() && txn->zxid <= send.through; ++txn) {
    encode_packet(Packet(PacketType::kProposal, txn->zxid, txn->txn), bytes);
    if (send.commit) encode_packet(Packet(PacketType::kCommit, txn->zxid), bytes);
  }
  send_to(send.link, bytes);
}

void Replica::send_history(const action::SendHistory& send) {
  if (send.after >= send.through) return;
  supplies_[send.link].queue.emplace_back(send);
}

void Replica::send_snapshot(const action::SendSnapshot& send) {
  Supply& supply = supplies_[send.link];
  supply.queue.emplace_back(send);
  // The log after an old snapshot is long: better a new one. It is of the tree as it is now, so all
  // that follows it is still behind it in the queue.
  if (last_snapshot_ >= zab_->state().diff_from) return;
  take_snapshot();
  supply.awaits_snapshot = snapshot_busy_;
}

// Whether anything was sent.
bool Replica::supply_learners() {
  bool sent = false;
  std::vector<LinkId> links;
  for (const auto& [link, supply] : supplies_) links.push_back(link);
  for (LinkId link : links) sent = supply_learner(link) || sent;
  return sent;
}

bool Replica::supply_learner(LinkId link) {
  bool sent = false;
  Supply& supply = supplies_[link];
  if (supply.waiting_bytes > config_.max_supply_bytes) {
    cut_off(link, "it takes its history too slowly");
    return false;
  }
  while (!supply.queue.empty() && !supply.reading && !supply.awaits_snapshot &&
         transport_.unsent(link) < config_.piece_bytes) {
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
    } else if (!supply.snapshot) {
      if (!begin_snapshot(supply, std::get<action::SendSnapshot>(next))) return sent;
    } else {
      supply.reading = true;
      read_snapshot(supply.snapshot, std::get<action::SendSnapshot>(next));
      continue;
    }
    sent = true;
  }
  if (supply.queue.empty()) supplies_.erase(link);
  return sent;
}

void Replica::cut_off(LinkId link, const std::string& reason) {
  forget_link(link);
  transport_.close(link, reason);
  step(event::LinkDown{link});
}

void Replica::read_history(const action::SendHistory& send) {
  action::SendHistory piece = send;
  piece.through = std::min(send.through, recent_.base());
  log_.read_in_background(
      zab_->state().history, piece.after, piece.through, config_.piece_bytes,
      [this, piece](const LogPipeline::Reading& reading) { history_read(piece, reading); });
}

void Replica::history_read(const action::SendHistory& piece, const LogPipeline::Reading& reading) {
  auto place = supplies_.find(piece.link);
  if (place == supplies_.end()) return;
  if (reading.is_whole) {
    const std::deque<LogTxn>& txns = reading.txns;
    Supply& supply = place->second;
    supply.reading = false;
    send_txns(piece, txns);
    auto& rest = std::get<action::SendHistory>(supply.queue.front());
    rest.after = txns.empty() ? piece.through : txns.back().zxid;
    if (rest.after >= rest.through) supply.queue.pop_front();
    return;
  }
  // A purge under way may have removed it, and have yet to say so.
  if (piece.after < zab_->state().history.base() || purging_) {
    return cut_off(piece.link, "the log that it needs was purged meanwhile");
  }
  // What can't be read can't be sent: from here on learners that need it get a snapshot.
  report_damage(
      fmt::format("the log before 0x{:x}; `zabfs check` says where", recent_.base().value));
  step(event::Purged{recent_.base()});
  take_snapshot();
  cut_off(piece.link, "the log for this learner is damaged");
}

// SNAP, and what follows it once the stream has ended. False: the learner was cut off.
bool Replica::begin_snapshot(Supply& supply, const action::SendSnapshot& send) {
  const History& history = zab_->state().history;
  std::vector<Zxid> stored = snapshots_.list();
  std::erase_if(stored,
                [&](Zxid zxid) { return zxid > send.through || !history.goes_on_from(zxid); });
  if (stored.empty() && history.base() != Zxid{}) {
    want_snapshot();
    cut_off(send.link, "the snapshot for this learner is gone");
    return false;
  }
  Zxid zxid = stored.empty() ? Zxid{} : stored.front();
  std::string bytes;
  encode_packet(Packet(PacketType::kSnap, zxid), bytes);
  supply.queue.insert(supply.queue.begin() + 1,
                      action::SendHistory{send.link, zxid, send.through, true});
  if (stored.empty()) {
    tree::Tree empty;
    std::unique_ptr<tree::SnapshotCursor> cursor = empty.begin_snapshot();
    while (cursor->next(bytes, chunk_bytes())) {
    }
    send_to(send.link, bytes + snapshot_signature());
    supply.queue.pop_front();
    return true;
  }
  send_to(send.link, bytes);
  supply.snapshot = std::make_shared<SnapshotReader>();
  std::string problem = snapshots_.open(zxid, *supply.snapshot);
  if (problem.empty()) return true;
  snapshot_unreadable(send.link, zxid, problem);
  return false;
}

void Replica::read_snapshot(std::shared_ptr<SnapshotReader> reader,
                            const action::SendSnapshot& send) {
  struct Work {
    std::string bytes, problem;
    bool at_end = false;
  };
  auto work = std::make_shared<Work>();
  environment_.run_background(
      [reader, work, piece_bytes = config_.piece_bytes] {
        std::string chunk;
        while (work->problem.empty() && !work->at_end && work->bytes.size() < piece_bytes) {
          work->problem = reader->next(chunk);
          work->bytes += chunk;
          work->at_end = chunk.empty();
        }
      },
      [this, reader, work, link = send.link] {
        auto place = supplies_.find(link);
        if (place == supplies_.end()) return;
        if (!work->problem.empty()) {
          return snapshot_unreadable(link, reader->zxid(), work->problem);
        }
        Supply& supply = place->second;
        supply.reading = false;
        if (work->at_end) work->bytes += snapshot_signature();
        send_to(link, work->bytes);
        if (!work->at_end) return;
        supply.snapshot.reset();
        supply.queue.pop_front();
      });
}

void Replica::snapshot_unreadable(LinkId link, Zxid zxid, const std::string& problem) {
  std::vector<Zxid> left = snapshots_.list();
  if (std::find(left.begin(), left.end(), zxid) != left.end()) {  // else it was purged just now
    report_damage(problem + "; it is removed");
    snapshots_.remove(zxid);
  }
  want_snapshot();
  cut_off(link, "the snapshot for this learner is corrupt");
}

// One is missing, also if nothing happened since it was taken.
void Replica::want_snapshot() {
  snapshot_wanted_ = true;
  last_snapshot_ = Zxid{};
}

}  // namespace zabfs::consensus
