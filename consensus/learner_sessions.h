// What a learner has to tell its leader of the sessions of its clients, and asks it about them.
//
// A leader expires sessions, and only members hear from clients. So a learner notes each session
// that it hears of, and names them in its next answer to PING (ZAB.md section 4.1).
//
// Where a Java server leads, a client that comes to this node is no transaction. The learner asks
// with REVALIDATE instead whether the session still lives (ZAB.md section 4.2). A client may have
// come twice before the first answer. Then the answers go to those who asked in the order of the
// questions.
//
// Limits: an answer to PING names at most kMaxTouchedInPing sessions, the rest goes with the next.
//
// Threading: an object of the strand. Pure: it sends nothing, runs no completion, knows no time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "consensus/completion.h"
#include "consensus/messages.h"

namespace zabfs::consensus {

class LearnerSessions {
 public:
  static constexpr size_t kMaxTouchedInPing = 100'000;

  void touch(SessionId session, int32_t timeout_ms) { touched_[session] = timeout_ms; }
  // The data of an answer to PING; what it names is forgotten here. (i64 session, i32 timeout)
  // each.
  std::string take_touched(size_t max_sessions = kMaxTouchedInPing);

  // The data of REVALIDATE: i64 session, i32 timeout.
  static std::string question(SessionId session, int32_t timeout_ms);
  // The leader is asked with the data that comes back.
  std::string revalidate(SessionId session, int32_t timeout_ms, Completion done);
  // The leader's answer came; nullopt: nobody waits for it.
  std::optional<Completion> take_revalidated(SessionId session);
  // The leader is gone: all who wait.
  std::vector<Completion> take_revalidating();

 private:
  std::map<SessionId, int32_t> touched_;  // since the last PING, by session: its timeout in ms
  std::multimap<SessionId, Completion> revalidating_;
};

}  // namespace zabfs::consensus
