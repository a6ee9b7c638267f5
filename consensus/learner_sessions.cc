#include "consensus/learner_sessions.h"

#include <utility>

#include "tree/jute.h"

namespace zabfs::consensus {

static_assert(LearnerSessions::kMaxTouchedInPing * 12 <= kMaxPacketData);

std::string LearnerSessions::take_touched(size_t max_sessions) {
  std::string data;
  tree::jute::Writer out(data);
  for (size_t i = 0; i < max_sessions && !touched_.empty(); ++i) {
    auto touched = touched_.extract(touched_.begin());
    out.i64(touched.key().value);
    out.i32(touched.mapped());
  }
  return data;
}

std::string LearnerSessions::question(SessionId session, int32_t timeout_ms) {
  std::string question;
  tree::jute::Writer out(question);
  out.i64(session.value);
  out.i32(timeout_ms);
  return question;
}

std::string LearnerSessions::revalidate(SessionId session, int32_t timeout_ms, Completion done) {
  revalidating_.emplace(session, std::move(done));
  return question(session, timeout_ms);
}

std::optional<Completion> LearnerSessions::take_revalidated(SessionId session) {
  auto found = revalidating_.lower_bound(session);
  if (found == revalidating_.end() || found->first != session) return std::nullopt;
  Completion done = std::move(found->second);
  revalidating_.erase(found);
  return done;
}

std::vector<Completion> LearnerSessions::take_revalidating() {
  std::vector<Completion> taken;
  for (auto& [session, done] : revalidating_) taken.push_back(std::move(done));
  revalidating_.clear();
  return taken;
}

}  // namespace zabfs::consensus
