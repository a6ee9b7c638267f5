#include "fsd/migrate/live_copy.h"

#include <fmt/format.h>

#include <utility>

namespace zabfs::migrate {

namespace action = consensus::action;
namespace event = consensus::event;
using consensus::Action;
using consensus::Actions;
using consensus::Packet;
using consensus::PacketType;

namespace {

// The clock stands still: who has the connection says how long it may be silent.
constexpr int64_t kNow = 0;
constexpr tree::ServerId kLeader{0};  // its number does not matter here

consensus::ZabConfig observer(tree::ServerId me) {
  consensus::ZabConfig config;
  config.me = me;
  config.wants_vote = false;
  return config;
}

}  // namespace

LiveCopy::LiveCopy(tree::ServerId me) : config_(observer(me)) {
  Actions dial;
  learner_.emplace(config_, state_, tree::Zxid{}, kLeader, true, kNow, dial);
  step(event::LinkUp{learner_->link()});
}

std::string LiveCopy::take_outgoing() { return std::exchange(outgoing_, {}); }

Status LiveCopy::feed(std::string_view bytes) {
  consensus::LinkReader::Handlers handlers;
  handlers.packet = [this](Packet packet) { on_packet(std::move(packet)); };
  handlers.snapshot = [this](std::unique_ptr<tree::Tree> tree) { on_snapshot(std::move(tree)); };
  Status status = reader_.feed(bytes, handlers);
  return status_.ok() ? status : status_;
}

void LiveCopy::fail(std::string why) {
  if (status_.ok()) status_ = Status::failed(std::move(why));
}

void LiveCopy::on_packet(Packet packet) {
  if (!status_.ok()) return;
  if (packet.type == PacketType::kLeaderInfo) {
    has_leader_ = true;
    if (consensus::decode_leader_info(packet.bytes()).is_zabfs) {
      return fail("the leader is zabfsd: `zabfs backup`, on its machine, copies its tree");
    }
  }
  count(packet);
  is_informed_ =
      packet.type == PacketType::kInform || packet.type == PacketType::kInformAndActivate;
  if (status_.ok()) step(event::PacketReceived{learner_->link(), std::move(packet)});
}

// A leader whose proposals nobody commits would fill the memory.
void LiveCopy::count(const Packet& packet) {
  bool is_commit =
      packet.type == PacketType::kCommit || packet.type == PacketType::kCommitAndActivate;
  if (packet.type == PacketType::kProposal) {
    proposed_bytes_.push_back(packet.bytes().size() + sizeof(consensus::LogTxn));
    waiting_bytes_ += proposed_bytes_.back();
  } else if (is_commit && !proposed_bytes_.empty()) {
    waiting_bytes_ -= proposed_bytes_.front();
    proposed_bytes_.pop_front();
  }
  if (waiting_bytes_ > kMaxWaitingBytes) {
    fail(fmt::format("the leader has sent {} MB of transactions without a word that they count",
                     waiting_bytes_ >> 20));
  }
}

void LiveCopy::on_snapshot(std::unique_ptr<tree::Tree> tree) {
  if (!status_.ok()) return;
  if (replay_) return fail("the leader sent a second snapshot");
  configuration_ = consensus::configuration_of(*tree);
  tree::JavaSnapshot snapshot;
  snapshot.tree = std::move(tree);
  replay_.emplace(std::move(snapshot));
}

void LiveCopy::step(const consensus::Event& event) {
  Actions actions;
  learner_->step(kNow, event, actions);
  if (!learner_->failure().empty()) return fail(learner_->failure());
  for (Action& todo : actions) {
    if (status_.ok()) carry_out(todo);
  }
}

void LiveCopy::carry_out(Action& todo) {
  if (auto* send = std::get_if<action::Send>(&todo)) {
    encode_packet(send->packet, outgoing_);
  } else if (auto* ping = std::get_if<action::AnswerPing>(&todo)) {
    encode_packet(Packet(PacketType::kPing, ping->zxid, std::string()), outgoing_);
  } else if (auto* save = std::get_if<action::SaveAcceptedEpoch>(&todo)) {
    step(event::AcceptedEpochSaved{save->epoch, save->votes, save->ensemble, save->secret});
  } else if (auto* end = std::get_if<action::EndSync>(&todo)) {
    step(event::EpochSaved{end->epoch});
  } else if (auto* add = std::get_if<action::ApplyToSnapshot>(&todo)) {
    apply(*add->txn);
  } else if (auto* begin = std::get_if<action::BeginSync>(&todo)) {
    bool has_snapshot = begin->mode == consensus::SyncMode::kSnap && replay_;
    if (!has_snapshot) return fail("the leader sent no snapshot");
    step(event::SnapshotReceived{begin->link, configuration_});
  } else if (auto* append = std::get_if<action::Append>(&todo)) {
    // An INFORM is a commit as well: many may come before UPTODATE.
    if (is_informed_ && waiting_.empty()) return apply(*append->txn);
    waiting_bytes_ += append->txn->size() + sizeof(consensus::LogTxn);
    waiting_.push_back({append->zxid, append->txn});
  } else if (auto* commit = std::get_if<action::Commit>(&todo)) {
    apply_waiting(commit->through);
  } else if (auto* serve = std::get_if<action::Serve>(&todo)) {
    epoch_ = serve->epoch;
  }
}

void LiveCopy::apply(std::string_view txn) {
  if (!replay_) return fail("the leader sent a transaction before its snapshot");
  Status status = replay_->apply(txn);
  if (!status.ok()) fail(status.why());
}

void LiveCopy::apply_waiting(tree::Zxid through) {
  while (status_.ok() && !waiting_.empty() && waiting_.front().zxid <= through) {
    apply(*waiting_.front().txn);
    waiting_bytes_ -= waiting_.front().txn->size() + sizeof(consensus::LogTxn);
    waiting_.pop_front();
  }
}

bool LiveCopy::has_session(tree::SessionId session) const {
  return replay_->tree().sessions().contains(session);
}

StatusOr<JavaData> LiveCopy::finish() {
  Status status = replay_->finish();
  if (!status.ok()) return status;
  JavaData data;
  take_replay(*replay_, data);
  data.current_epoch = data.accepted_epoch = *epoch_;
  return data;
}

}  // namespace zabfs::migrate
