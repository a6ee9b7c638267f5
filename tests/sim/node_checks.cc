// What one node must have done before it says something to another (ZAB.md section 1), compared
// with what its disk would hold after the worst crash, and with its leader's history.
#include <fmt/format.h>

#include "consensus/crc32c.h"
#include "consensus/epoch_store.h"
#include "consensus/log.h"
#include "sim/world.h"
#include "tree/jute.h"

namespace zabfs::sim {

using consensus::History;
using consensus::PacketType;
using consensus::Role;
using tree::Zxid;

namespace {

// Reading a whole log back for every ACK would take most of a run's time.
constexpr uint64_t kAcksPerLook = 48;

// What `history` holds of epochs before `epoch` ends there. Where it has been purged into `epoch`
// itself, nobody can tell.
Zxid end_before(const History& history, uint32_t epoch) {
  if (history.base().epoch() >= epoch) return Zxid{};
  for (uint32_t before = epoch - 1; before > history.base().epoch(); --before) {
    if (Zxid last = history.last_of_epoch(before); last != Zxid{}) return last;
  }
  return history.base();
}

}  // namespace

struct SimNode::Durable {
  bool damaged = false;
  History history;
  uint32_t current_epoch = 0;
  uint32_t accepted_epoch = 0;
};

SimNode::Durable SimNode::after_worst_crash() const {
  SimDisk disk = disk_.after_worst_crash({"log."});
  const SimDisk& promises = world_.options().separate_disks ? snapshot_disk_ : disk_;
  SimDisk promise_disk = promises.after_worst_crash({"accepted."});
  consensus::Log log(disk, consensus::Log::Options{replica_->config().segment_bytes});
  consensus::LogRecovery recovery = log.open();
  consensus::EpochStore epochs(promise_disk);
  bool lost = epochs.open().state == consensus::EpochStore::State::kLost;
  return {lost || !recovery.damage.empty() || !recovery.error.empty(), log.history(),
          log.current_epoch(), epochs.promise().accepted_epoch};
}

void SimNode::check_sent(LinkId link, const std::string& bytes) {
  tree::jute::Reader in(bytes);
  auto type = static_cast<PacketType>(in.i32());
  Zxid zxid{in.i64()};
  if (!in.ok()) return;
  const consensus::Zab& zab = replica_->zab();
  if (link == zab.link_to_leader()) {
    if (type == PacketType::kAck && zxid.counter() != 0) check_ack(zxid);
    if (type == PacketType::kAck && zxid.counter() == 0) check_new_leader_ack(zxid.epoch());
    if (type == PacketType::kAckEpoch) check_promise(zab.state().accepted_epoch);
  } else if (zab.role() == Role::kLeading) {
    if (type == PacketType::kLeaderInfo && zxid.counter() == 0) check_promise(zxid.epoch());
    bool is_new_leader = type == PacketType::kNewLeader && zxid.counter() == 0;
    if (is_new_leader && zxid.epoch() == zab.epoch()) world_.invariants().leads(id_, zab.epoch());
    // Some bytes are a piece of a snapshot, and may look like anything.
    bool is_broadcast = type == PacketType::kProposal && zxid.epoch() == zab.epoch();
    std::optional<std::string_view> txn = in.buffer();
    if (is_broadcast && txn) {
      check_primary(zxid);
      check_limits(zxid, txn->size());
      world_.invariants().broadcast(id_, zxid, consensus::crc32c(0, *txn));
    }
  }
}

// Whoever acknowledges a txn has it on its disk.
void SimNode::check_ack(Zxid zxid) {
  bool is_durable = zxid <= replica_->zab().state().durable;
  if (is_durable && ++acks_ % kAcksPerLook == 0 && !impaired_) {
    Durable durable = after_worst_crash();
    is_durable = durable.damaged || durable.history.contains(zxid);
  }
  if (is_durable) return;
  throw Violation(fmt::format("node {} acknowledges 0x{:x}, and that is not on its disk", id_.value,
                              zxid.value));
}

// Whoever acknowledges NEWLEADER has the epoch and the leader's initial history on its disk.
void SimNode::check_new_leader_ack(uint32_t epoch) {
  if (impaired_) return;
  Durable durable = after_worst_crash();
  if (durable.damaged) return;
  if (durable.current_epoch < epoch) {
    throw Violation(
        fmt::format("node {} acknowledges NEWLEADER of epoch {}, and epoch {} is on its disk",
                    id_.value, epoch, durable.current_epoch));
  }
  const SimNode& leader = world_.node(replica_->zab().leader());
  if (!leader.is_up()) return;
  const consensus::Zab& theirs = leader.replica_->zab();
  if (theirs.role() != Role::kLeading || theirs.epoch() != epoch) return;
  const History& history = theirs.state().history;
  bool observes = replica_->zab().role() == Role::kObserving;  // it has what is committed
  Zxid end = end_before(history, epoch);
  bool has_all = observes || durable.history.contains(end) || durable.history.last() >= end;
  for (uint32_t any = std::max(history.base().epoch(), durable.history.base().epoch()) + 1;
       any < epoch && !observes; ++any) {
    has_all = has_all && history.last_of_epoch(any) == durable.history.last_of_epoch(any);
  }
  if (has_all) return;
  throw Violation(
      fmt::format("node {} acknowledges NEWLEADER of epoch {} with a log to 0x{:x} on "
                  "its disk, and its leader's is another, to 0x{:x}",
                  id_.value, epoch, durable.history.last().value, end.value));
}

// A promise is on disk before it is given.
void SimNode::check_promise(uint32_t epoch) {
  if (impaired_) return;
  Durable durable = after_worst_crash();
  if (durable.damaged || durable.accepted_epoch >= epoch) return;
  throw Violation(fmt::format("node {} promises epoch {}, and {} is on its disk", id_.value, epoch,
                              durable.accepted_epoch));
}

// What is proposed fits into every log and link, and into its epoch.
void SimNode::check_limits(Zxid zxid, size_t txn_bytes) {
  const consensus::ReplicaConfig& config = replica_->config();
  if (txn_bytes > config.prepare.max_txn_bytes + tree::kMaxOriginBytes) {
    throw Violation(
        fmt::format("node {} proposes 0x{:x} of {} bytes", id_.value, zxid.value, txn_bytes));
  }
  if (zxid.counter() > config.zab.last_counter) {
    throw Violation(
        fmt::format("node {} proposes 0x{:x} behind the last of its epoch", id_.value, zxid.value));
  }
}

// Primary integrity: a leader has delivered all of older epochs before it broadcasts.
void SimNode::check_primary(Zxid zxid) {
  const consensus::Zab& zab = replica_->zab();
  if (zxid.epoch() != zab.epoch() || zxid.counter() != 1) return;
  Zxid end = end_before(zab.state().history, zxid.epoch());
  if (replica_->tree().last_zxid() >= end) return;
  throw Violation(fmt::format("node {} broadcasts 0x{:x} before it has delivered 0x{:x}", id_.value,
                              zxid.value, end.value));
}

void SimNode::check_durable() {
  Zxid said = replica_->zab().state().durable;
  if (said == checked_durable_) return;
  checked_durable_ = said;
  if (++acks_ % kAcksPerLook != 0 || impaired_) return;
  if (!replica_->zab().is_serving()) return;  // a sync says so of the snapshot that is yet to come
  Durable durable = after_worst_crash();
  if (durable.damaged || durable.history.contains(said)) return;
  throw Violation(fmt::format("node {} takes 0x{:x} for durable, and its disk has a log to 0x{:x}",
                              id_.value, said.value, durable.history.last().value));
}

// Process consistency: after NEWLEADER a learner's log is the beginning of its leader's.
void SimNode::check_prefix() {
  const consensus::Zab& zab = replica_->zab();
  if (zab.role() == Role::kLeading || !zab.is_serving()) return;
  const SimNode& leader = world_.node(zab.leader());
  if (!leader.is_up()) return;
  const consensus::Zab& theirs = leader.replica_->zab();
  if (theirs.role() != Role::kLeading || !theirs.is_serving()) return;
  if (theirs.epoch() != zab.epoch()) return;
  if (theirs.state().secret != zab.state().secret) {
    throw Violation(fmt::format("node {} has another secret than its leader", id_.value));
  }
  Zxid last = zab.state().history.last();
  const History& history = theirs.state().history;
  if (last <= history.base() || history.contains(last)) return;
  throw Violation(fmt::format("node {} has 0x{:x} in its log, its leader {} does not", id_.value,
                              last.value, leader.id_.value));
}

}  // namespace zabfs::sim
