// FETCHTXNS: how a node asks another member for txns that its damaged log has lost, and how that
// member answers (ZAB.md section 3.6). Who asks is in mending.h.
//
//   question   i32 number of ranges; of each i64 after, i64 through; LearnerInfo of who asks
//   answer     one PROPOSAL for each txn that is there, then FETCHTXNS: i32 FetchEnd
//
// A member answers in any role: its log has a txn or not. Strangers and other ensembles get
// nothing.
//
// Limits: an answer has at most Options::max_bytes of txns, and one. The one who asks asks again.
// One question is answered at a time: the answer to another one meanwhile is kBusy.
//
// Threading: an object of the strand. Its job in the background uses the log's disk.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "consensus/log_pipeline.h"
#include "consensus/messages.h"

namespace zabfs::consensus {

inline constexpr size_t kMaxFetchRanges = 10'000;

struct FetchQuestion {
  std::vector<Log::Range> ranges;
  LearnerInfo asker;
};
std::string encode_fetch(const FetchQuestion& question);
std::optional<FetchQuestion> decode_fetch(std::string_view data);
// How an answer ends, and what that says of who answers.
enum class FetchEnd : int32_t {
  kLooking = 0,  // that was all it has
  kServes = 1,   // the same, and it serves
  kBusy = 2,     // it has not looked, for it answers somebody else
};
std::string encode_fetch_end(FetchEnd end);
FetchEnd decode_fetch_end(std::string_view data);

class FetchAnswers {
 public:
  // What it asks the replica, and tells it, on the strand.
  struct Outcomes {
    std::function<bool(const LearnerInfo&)> may_fetch;
    std::function<bool(LinkId)> is_up;
    std::function<bool()> serves;
    std::function<void(LinkId, const Packet&)> send;
  };

  FetchAnswers(size_t max_bytes, LogPipeline& log, Outcomes outcomes);

  // A question came by this link.
  void answer(LinkId link, std::string_view question);

 private:
  void send(LinkId link, const std::map<Zxid, Payload>& found);
  void end(LinkId link, FetchEnd how);

  const size_t max_bytes_;
  LogPipeline& log_;
  const Outcomes outcomes_;
  bool is_busy_ = false;
};

}  // namespace zabfs::consensus
