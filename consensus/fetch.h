// FETCHTXNS: how a node asks another member for txns that its damaged log has lost, and how that
// member answers (ZAB.md section 3.6). Who asks is in mending.h.
//
//   question   i32 number of ranges; of each i64 after, i64 through; LearnerInfo of who asks
//   answer     one PROPOSAL for each txn that is there, then FETCHTXNS: i32, 1 if this node serves
//
// A member answers in any role: its log has a txn or not. Strangers and other ensembles get
// nothing.
//
// Limits: an answer has at most Options::max_bytes of txns, and one. The one who asks asks again.
// One question is answered at a time: another one meanwhile ends its link.
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
std::string encode_fetch_end(bool serves);
bool decode_fetch_end(std::string_view data);  // whether it serves

class FetchAnswers {
 public:
  // What it asks the replica, and tells it, on the strand.
  struct Outcomes {
    std::function<bool(const LearnerInfo&)> may_fetch;
    std::function<bool(LinkId)> is_up;
    std::function<bool()> serves;
    std::function<void(LinkId, const Packet&)> send;
    std::function<void(LinkId, const std::string& reason)> cut_off;
  };

  FetchAnswers(size_t max_bytes, LogPipeline& log, Outcomes outcomes);

  // A question came by this link.
  void answer(LinkId link, std::string_view question);

 private:
  void send(LinkId link, const std::map<Zxid, Payload>& found);

  const size_t max_bytes_;
  LogPipeline& log_;
  const Outcomes outcomes_;
  bool is_busy_ = false;
};

}  // namespace zabfs::consensus
