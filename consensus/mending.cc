#include "consensus/mending.h"

#include <algorithm>
#include <utility>

#include "consensus/fetch.h"

namespace zabfs::consensus {

std::optional<ServerId> Mending::ask_next(const std::set<ServerId>& others, LinkId link,
                                          int64_t now_ms) {
  next_step_ms_ = now_ms + kAnswerMs;
  link_ = 0;
  is_asked_ = false;
  if (others.empty()) return std::nullopt;
  auto next = others.upper_bound(member_);
  member_ = next == others.end() ? *others.begin() : *next;
  link_ = link;
  return member_;
}

std::vector<Log::Range> Mending::still_missing() const {
  std::vector<Log::Range> missing;
  for (const Log::Range& range : missing_) {
    for (Zxid zxid = range.after.next(); zxid <= range.through; zxid = zxid.next()) {
      if (found_.contains(zxid)) continue;
      Zxid before{zxid.value - 1};
      if (missing.empty() || missing.back().through != before) missing.push_back({before, before});
      missing.back().through = zxid;
    }
  }
  return missing;
}

std::vector<Log::Range> Mending::question() {
  had_ = found_.size();
  is_asked_ = true;
  std::vector<Log::Range> missing = still_missing();
  if (missing.size() > kMaxFetchRanges) missing.resize(kMaxFetchRanges);
  return missing;
}

bool Mending::asks_whether_it_leads() { return silent_.erase(member_) > 0; }

bool Mending::is_missing(Zxid zxid) const {
  return std::any_of(missing_.begin(), missing_.end(), [zxid](const Log::Range& range) {
    return zxid > range.after && zxid <= range.through;
  });
}

Mending::Next Mending::take(const Packet& packet, size_t others, int64_t now_ms) {
  next_step_ms_ = now_ms + kAnswerMs;
  is_asked_ = false;
  have_answered_.insert(member_);
  if (packet.type == PacketType::kProposal && packet.data && is_missing(packet.zxid)) {
    found_[packet.zxid] = packet.data;
  }
  if (packet.type == PacketType::kLeaderInfo) {
    link_ = 0;
    next_step_ms_ = now_ms + kPauseMs;
    return decode_leader_info(packet.bytes()).is_zabfs ? Next::kWait : Next::kGiveUp;
  }
  if (packet.type != PacketType::kFetchTxns) return Next::kMore;
  bool complete = still_missing().empty();
  if (!complete && found_.size() > had_) return Next::kAskAgain;
  link_ = 0;
  if (complete) return Next::kComplete;
  FetchEnd end = decode_fetch_end(packet.bytes());
  next_step_ms_ = now_ms + kPauseMs;
  if (end == FetchEnd::kBusy) return Next::kWait;
  refused_.insert(member_);
  bool is_over = end == FetchEnd::kServes || refused_.size() == others;
  return is_over ? Next::kGiveUp : Next::kWait;
}

void Mending::link_down(int64_t now_ms) {
  link_ = 0;
  next_step_ms_ = now_ms + kPauseMs;
  if (std::exchange(is_asked_, false) && !have_answered_.contains(member_)) silent_.insert(member_);
}

void Mending::wait_for_room(int64_t until_ms) {
  lacks_room_ = true;
  next_step_ms_ = until_ms;
}

}  // namespace zabfs::consensus
