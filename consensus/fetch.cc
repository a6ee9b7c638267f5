#include "consensus/fetch.h"

#include <algorithm>
#include <utility>

#include "tree/jute.h"

namespace zabfs::consensus {

std::string encode_fetch(const FetchQuestion& question) {
  std::string data;
  tree::jute::Writer out(data);
  out.count(question.ranges.size());
  for (const Log::Range& range : question.ranges) {
    out.i64(range.after.value);
    out.i64(range.through.value);
  }
  out.raw(encode_learner_info(question.asker));
  return data;
}

std::optional<FetchQuestion> decode_fetch(std::string_view data) {
  tree::jute::Reader in(data);
  FetchQuestion question;
  question.ranges.resize(std::min(in.count(16), kMaxFetchRanges));
  for (Log::Range& range : question.ranges) {
    range.after.value = in.i64();
    range.through.value = in.i64();
  }
  if (!in.ok()) return std::nullopt;
  std::optional<LearnerInfo> asker = decode_learner_info(in.rest());
  if (!asker) return std::nullopt;
  question.asker = *asker;
  return question;
}

std::string encode_fetch_end(FetchEnd end) {
  std::string data;
  tree::jute::Writer(data).i32(static_cast<int32_t>(end));
  return data;
}

FetchEnd decode_fetch_end(std::string_view data) {
  int32_t end = tree::jute::Reader(data).i32();
  if (end == static_cast<int32_t>(FetchEnd::kServes)) return FetchEnd::kServes;
  return end == static_cast<int32_t>(FetchEnd::kBusy) ? FetchEnd::kBusy : FetchEnd::kLooking;
}

FetchAnswers::FetchAnswers(size_t max_bytes, LogPipeline& log, Outcomes outcomes)
    : max_bytes_(max_bytes), log_(log), outcomes_(std::move(outcomes)) {}

void FetchAnswers::answer(LinkId link, std::string_view question) {
  std::optional<FetchQuestion> decoded = decode_fetch(question);
  if (!decoded || !outcomes_.may_fetch(decoded->asker)) return send(link, {});
  if (std::exchange(is_busy_, true)) return end(link, FetchEnd::kBusy);
  log_.find_in_background(std::move(decoded->ranges), max_bytes_,
                          [this, link](const std::map<Zxid, Payload>& found) {
                            is_busy_ = false;
                            if (outcomes_.is_up(link)) send(link, found);
                          });
}

void FetchAnswers::send(LinkId link, const std::map<Zxid, Payload>& found) {
  for (const auto& [zxid, txn] : found) {
    outcomes_.send(link, Packet(PacketType::kProposal, zxid, txn));
  }
  end(link, outcomes_.serves() ? FetchEnd::kServes : FetchEnd::kLooking);
}

void FetchAnswers::end(LinkId link, FetchEnd how) {
  outcomes_.send(link, Packet(PacketType::kFetchTxns, Zxid{}, encode_fetch_end(how)));
}

}  // namespace zabfs::consensus
