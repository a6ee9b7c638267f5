// The mount's session: what its writes, locks and ephemerals are done in.
//
// It opens when there is a leader, is renewed by barriers (which a quorum proves), and is replaced
// by a new one when it is lost. While it holds something it has a local deadline: its timeout after
// the sending of the last renewal that was answered. When the deadline passes, this node gives the
// session up. The ensemble expires it later, so nobody else holds anything of it yet (DESIGN.md,
// "Losing it is known in time").
//
// Everything is on the strand, except `deadline_ms`.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "consensus/completion.h"
#include "consensus/service.h"
#include "tree/origin.h"
#include "tree/plain_requests.h"
#include "tree/request.h"

namespace zabfs::fsd {

class ClientSession {
 public:
  static constexpr int kMaxTries = 100;

  using Completion = consensus::Completion;
  using Sent = std::function<void(int32_t cxid)>;
  // Who asked for a write. It goes into the txn.
  using Actor = tree::LocalUser;
  // Is told of every write that was answered.
  using Witness = std::function<void(const Actor& actor, tree::SessionId session, tree::OpCode type,
                                     const std::string& body, const tree::Outcome& outcome)>;

  // As long as it lives, what is submitted is that user's. So is what follows from the answers.
  class Acting {
   public:
    Acting(ClientSession& session, Actor actor)
        : session_(session), before_(std::exchange(session.actor_, std::move(actor))) {}
    ~Acting() { session_.actor_ = std::move(before_); }
    Acting(const Acting&) = delete;
    Acting& operator=(const Acting&) = delete;

   private:
    ClientSession& session_;
    Actor before_;
  };

  ClientSession(consensus::Service& service, int32_t timeout_ms)
      : service_(service), timeout_ms_(timeout_ms) {}

  // Called with the session that was lost, after `id` has changed.
  void set_on_lost(std::function<void(tree::SessionId)> on_lost) { on_lost_ = std::move(on_lost); }
  void set_witness(Witness witness) { witness_ = std::move(witness); }
  void start();
  // Closes the session; `done` runs when that is committed, or at once if there is none.
  void close(std::function<void()> done);

  // A write in this session, as the superuser. One that was refused because the session had expired
  // is done again in the next one. One that finds no session open waits for it. `sent` gets the
  // cxid each time before the write goes out. Under a leader of Apache ZooKeeper the write goes as
  // requests that that one knows (tree/plain_requests.h), and is tried kMaxTries times while others
  // are faster; then it fails with kBadLimit.
  void submit(tree::OpCode type, std::string body, Completion done, Sent sent = nullptr);
  // The same, but only in this very session: kSessionExpired if it is gone.
  void submit_held(tree::SessionId session, tree::OpCode type, std::string body, Completion done,
                   Sent sent = nullptr);

  const Actor& actor() const { return actor_; }
  tree::SessionId id() const { return id_; }
  bool is_open() const { return open_; }
  // What depends on the session's life: a lock, an ephemeral.
  void hold() { ++held_; }
  void let_go() { --held_; }
  // The session holds something, and was not renewed in time.
  bool is_past_deadline() const;
  // Gives the session up if its deadline has passed: to be called before every answer that says
  // that something is held.
  void check_deadline();
  // CLOCK_BOOTTIME in ms; what is held is lost then unless a renewal comes before.
  int64_t deadline_ms() const { return deadline_ms_; }

 private:
  struct Waiting {
    tree::OpCode type;
    std::string body;
    Completion done;
    Sent sent;
    bool is_bound = false;  // to `session`
    Actor actor = {};
    tree::SessionId session = {};  // that it was sent in last
    int tries = 0;                 // as plain requests
  };
  using WaitingPtr = std::shared_ptr<Waiting>;
  using PlainPtr = std::shared_ptr<tree::PlainRequests>;
  void open();
  void renew();
  void tick();
  void lose();
  void submit(Waiting write);
  void resume(const WaitingPtr& write);
  void send(const WaitingPtr& write);
  void send_request(const WaitingPtr& write, tree::OpCode type, std::string body, Completion then);
  void send_plain(const WaitingPtr& write);
  void send_plain(const WaitingPtr& write, const PlainPtr& plain, size_t step);
  void send_rest(const WaitingPtr& write, tree::ExtSetPosix rest, const tree::Outcome& outcome);
  void fail(const Waiting& write, tree::Error error);
  void answered(const Waiting& write, const tree::Outcome& outcome);

  consensus::Service& service_;
  int32_t timeout_ms_;
  std::function<void(tree::SessionId)> on_lost_;
  tree::SessionId id_;
  bool open_ = false, opening_ = false, closed_ = false;
  bool renewing_ = false;
  int32_t cxid_ = 0;
  int32_t next_cxid() { return cxid_ = cxid_ == INT32_MAX ? 1 : cxid_ + 1; }
  int64_t held_ = 0;
  std::atomic<int64_t> deadline_ms_{0};
  int64_t last_renewal_ms_ = 0;
  std::deque<Waiting> waiting_;
  Actor actor_;
  Witness witness_;
};

}  // namespace zabfs::fsd
