// Writes in the mount's session, as programs wait for them: held back while there is no leader,
// refused with kReadOnly past quorumGrace. A write that has no answer by commitTimeout ends as
// unknown.
//
// On the strand, but for `is_read_only` and `has_leader`.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "consensus/service.h"
#include "fsd/session/session.h"
#include "fsd/view/file_error.h"

namespace zabfs::fsd {

class Writer {
 public:
  using Completion = consensus::Completion;
  using Done = std::function<void(FileError error)>;

  Writer(consensus::Service& service, ClientSession& session, int64_t quorum_grace_ms,
         int64_t commit_timeout_ms)
      : service_(service),
        session_(session),
        quorum_grace_ms_(quorum_grace_ms),
        commit_timeout_ms_(commit_timeout_ms) {}

  void start();
  void stop() { stopping_ = true; }
  void standing_changed();

  bool has_leader() const { return leaderless_since_ms_ == 0; }
  bool is_read_only() const;
  // Runs `body` once there is a leader, or `refuse` with kReadOnly past the grace.
  void when_writable(std::function<void()> body, Done refuse);

  // `done` gets the outcome, or kOperationTimeout if none came in time; then `late`, if given, gets
  // it when it comes. With `only`, it is done in that session or not at all. `sent` is as in
  // `ClientSession::submit`.
  void commit(tree::OpCode type, std::string body, Completion done, Completion late = nullptr,
              tree::SessionId only = {}, ClientSession::Sent sent = nullptr);

  // `expire` runs after commitTimeout unless `settled` comes first.
  uint64_t expect(std::function<void()> expire);
  // The same for what takes no effect, as a barrier: `expire` also runs once the node is read-only.
  uint64_t expect_while_writable(std::function<void()> expire);
  void settled(uint64_t expected) { expected_.erase(expected); }

 private:
  struct Expected {
    int64_t deadline_ms;
    std::function<void()> expire;
    bool ends_read_only = false;
  };
  struct Waiting {
    std::function<void()> body;
    Done refuse;
    ClientSession::Actor actor;
  };
  void tick();
  void expire_due();

  consensus::Service& service_;
  ClientSession& session_;
  int64_t quorum_grace_ms_, commit_timeout_ms_;
  std::map<uint64_t, Expected> expected_;  // in order of their deadlines
  uint64_t next_ = 1;
  std::vector<Waiting> waiting_;
  std::atomic<int64_t> leaderless_since_ms_{0};  // 0: there is a leader
  bool stopping_ = false;
};

}  // namespace zabfs::fsd
