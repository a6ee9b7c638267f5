// The replica's half that mends a damaged log with what other members have, and gives them what
// they lack.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "consensus/replica.h"
#include "tree/jute.h"

namespace zabfs::consensus {

namespace {

constexpr int64_t kNextPeerMs = 300;        // between one member that could not help and the next
constexpr int64_t kFetchTimeoutMs = 5'000;  // a member that does not answer
constexpr size_t kMaxFetchRanges = 10'000;

}  // namespace

void Replica::ask_next_member() {
  std::map<ServerId, Member> members = zab_->membership().addresses();
  auto next = members.upper_bound(mending_->member);
  if (next != members.end() && next->first == config_.zab.me) ++next;
  if (next == members.end()) next = members.begin();
  if (next->first == config_.zab.me) ++next;
  mending_->member = next->first;
  if (mending_->link != 0) {
    forget_link(mending_->link);
    transport_.close(mending_->link, "it does not answer");
  }
  mending_->link = new_link_id();
  mending_->next_step_ms = environment_.now_ms() + kFetchTimeoutMs;
  transport_.dial(mending_->member, mending_->link);
}

// What no member has sent yet.
std::vector<Log::Range> Replica::still_missing() const {
  std::vector<Log::Range> missing;
  for (const Log::Range& range : mending_->missing) {
    for (Zxid zxid = range.after.next(); zxid <= range.through; zxid = zxid.next()) {
      if (mending_->found.contains(zxid)) continue;
      Zxid before{zxid.value - 1};
      if (missing.empty() || missing.back().through != before) missing.push_back({before, before});
      missing.back().through = zxid;
    }
  }
  return missing;
}

void Replica::ask_for_missing() {
  std::vector<Log::Range> missing = still_missing();
  if (missing.size() > kMaxFetchRanges) missing.resize(kMaxFetchRanges);
  mending_->had = mending_->found.size();
  std::string data;
  tree::jute::Writer out(data);
  out.count(missing.size());
  for (const Log::Range& range : missing) {
    out.i64(range.after.value);
    out.i64(range.through.value);
  }
  out.raw(encode_learner_info({config_.zab.me, zab_->membership().in_force().version(), true,
                               zab_->state().settled_ensemble()}));
  send_packet(mending_->link, Packet(PacketType::kFetchTxns, Zxid{}, std::move(data)));
}

void Replica::on_mending_packet(const Packet& packet) {
  mending_->next_step_ms = environment_.now_ms() + kFetchTimeoutMs;
  if (packet.type == PacketType::kProposal && packet.data) {
    bool is_wanted = std::any_of(mending_->missing.begin(), mending_->missing.end(),
                                 [zxid = packet.zxid](const Log::Range& range) {
                                   return zxid > range.after && zxid <= range.through;
                                 });
    if (is_wanted) mending_->found[packet.zxid] = packet.data;
    return;
  }
  if (packet.type != PacketType::kFetchTxns) return;
  bool complete = still_missing().empty();
  if (!complete && mending_->found.size() > mending_->had) return ask_for_missing();  // more
  bool serves = tree::jute::Reader(packet.bytes()).i32() == 1;
  forget_link(mending_->link);
  transport_.close(std::exchange(mending_->link, 0), "the fetch is over");
  // Members may each have a part of it.
  if (complete) return finish_mending();
  mending_->refused.insert(mending_->member);
  // With a leader among the others this node can do without its vote; without one, it holds on to
  // what it has until every other member was asked.
  size_t others = zab_->membership().addresses().size() - 1;
  if (serves || mending_->refused.size() == others) return give_up_mending();
  mending_->next_step_ms = environment_.now_ms() + kNextPeerMs;
}

void Replica::on_mending_link_down() {
  mending_->link = 0;
  mending_->next_step_ms = environment_.now_ms() + kNextPeerMs;
}

void Replica::finish_mending() {
  size_t count = mending_->found.size();
  DiskStatus status = log_.at_rest().mend(mending_->found);
  mending_->lacks_room = status.is_full();
  if (mending_->lacks_room) {
    report_damage(status.message() + "; the log can't be mended until there is room");
    mending_->next_step_ms = environment_.now_ms() + LogPipeline::kRoomProbeMs;
    return;
  }
  if (!status.ok()) return environment_.die(status.message());
  environment_.log(LogLevel::kWarning,
                   fmt::format("node {}: mended the log with {} txns from server {}",
                               config_.zab.me.value, count, mending_->member.value));
  recover_again();
}

void Replica::give_up_mending() {
  mending_given_up_ = true;
  // What was served from the intact beginning is where this node goes on.
  std::shared_ptr<VisibleTree::Walk> walk = tree_.begin_walk();
  DiskStatus status = snapshots_.write(walk->zxid(), walk->digest(), [&](std::string& out) {
    return walk->next(out, chunk_bytes());
  });
  tree_.end_walk(*walk);
  if (!status.ok() && !status.is_full()) return environment_.die(status.message());
  recover_again();
}

void Replica::recover_again() {
  mending_.reset();
  std::string error = recover();
  if (!error.empty()) return environment_.die(error);
  if (mending_) return ask_next_member();  // the disk did it again
  start_core();
}

// Another member asks for txns by their zxids; whatever this node's role, its log has them or not.
// Who is no member gets none, and one is answered at a time.
void Replica::answer_fetch(LinkId link, const Packet& packet) {
  tree::jute::Reader in(packet.bytes());
  std::vector<Log::Range> ranges(std::min(in.count(16), kMaxFetchRanges));
  for (Log::Range& range : ranges) {
    range.after.value = in.i64();
    range.through.value = in.i64();
  }
  std::optional<LearnerInfo> asker;
  if (in.ok()) asker = decode_learner_info(in.rest());
  if (!asker || !may_learn(zab_->config(), zab_->membership(), asker->id) ||
      zab_->state().is_foreign(asker->ensemble)) {
    return send_fetched(link, {});
  }
  if (std::exchange(fetching_, true)) return cut_off(link, "others are fetching from this log");
  log_.find_in_background(std::move(ranges), config_.max_fetch_bytes,
                          [this, link](const std::map<Zxid, Payload>& found) {
                            fetching_ = false;
                            if (links_.contains(link)) send_fetched(link, found);
                          });
}

void Replica::send_fetched(LinkId link, const std::map<Zxid, Payload>& found) {
  for (const auto& [zxid, txn] : found) {
    send_packet(link, Packet(PacketType::kProposal, zxid, txn));
  }
  std::string data;
  tree::jute::Writer(data).i32(is_serving() ? 1 : 0);
  send_packet(link, Packet(PacketType::kFetchTxns, Zxid{}, std::move(data)));
}

}  // namespace zabfs::consensus
