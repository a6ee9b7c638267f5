// What a replica needs from the world, and nothing else: in production threads, sockets and clocks
// (host.h), in the simulator a model of them (tests/sim). Both drive the same Replica.
//
// All calls are made on the replica's strand; what they start answers on it too.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "consensus/protocol.h"

namespace zabfs::consensus {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

class Environment {
 public:
  virtual ~Environment() = default;
  virtual int64_t now_ms() = 0;  // monotonic, and goes on while the machine sleeps
  // Monotonic, for what is measured: nothing else depends on it. On lanes, too.
  virtual int64_t now_us() { return now_ms() * 1'000; }
  virtual int64_t wall_ms() = 0;  // since 1970
  virtual uint64_t random() = 0;
  // Calls Replica::on_timer at that time; one timer, the last call counts.
  virtual void wake_at(int64_t time_ms) = 0;
  // Runs `job` where blocking is allowed, one after the other, then `done` on the strand.
  virtual void run_io(std::function<void()> job, std::function<void()> done) = 0;
  // The same for long work (snapshots), beside the I/O lane.
  virtual void run_background(std::function<void()> job, std::function<void()> done) = 0;
  virtual void log(LogLevel level, const std::string& line) = 0;
  // A line that somebody else can cause as often as he likes. Of many, the log is told the first,
  // and how many came (line_limiter.h).
  virtual void log_limited(LogLevel level, const std::string& line) { log(level, line); }
  // The node can't go on: a failed sync, a broken invariant. Does not return in production.
  virtual void die(const std::string& why) = 0;
};

// Of a link since it came up, in bytes.
struct LinkFlow {
  uint64_t sent = 0;       // by `send`
  uint64_t delivered = 0;  // of these, what has reached the peer
};

// A port of another member's.
enum class Door { kElection, kQuorum };

// What the transport tells the replica of. All calls are made on the strand.
class Receiver {
 public:
  virtual ~Receiver() = default;
  virtual void on_vote(ServerId from, const Notification& notification) = 0;
  // Two servers seem to have this number; `text` says which.
  virtual void on_double(ServerId id, std::string text) = 0;
  // A connection to that server's port is there; or none is any more, or came about, and `why`.
  virtual void on_reached(ServerId, Door) {}
  virtual void on_unreachable(ServerId, Door, const std::string& /*why*/) {}
  // A learner link that was dialled is up.
  virtual void on_link_up(LinkId link) = 0;
  // One has come in, with the number that the replica has given it.
  virtual LinkId new_link_id() = 0;
  virtual void on_link_accepted(LinkId link) = 0;
  virtual void on_link_down(LinkId link) = 0;
  virtual void on_packet(LinkId link, Packet packet) = 0;
  virtual void on_part(LinkId link) = 0;  // bytes came of something that is not whole yet
  virtual void on_snapshot(LinkId link, std::unique_ptr<tree::Tree> tree) = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  // Who is dialled where from now on.
  virtual void set_members(const std::map<ServerId, Member>& members) = 0;
  // The election mesh: the newest vote for a peer replaces one not yet sent.
  virtual void send_vote(ServerId to, const Notification& notification) = 0;
  // Learner links. A dial ends in Receiver::on_link_up or on_link_down.
  virtual void dial(ServerId leader, LinkId link) = 0;
  virtual void send(LinkId link, const std::string& bytes) = 0;
  // Bytes of a link that wait for room. Once there is some, the strand has another batch.
  virtual size_t unsent(LinkId link) = 0;
  virtual LinkFlow flow(LinkId link) = 0;
  // While a link is held, nothing more is read from it: the peer has to wait. What was read before
  // may still come.
  virtual void hold(LinkId link, bool held) = 0;
  virtual void close(LinkId link, const std::string& reason) = 0;
  // The end of a batch of sends: whatever was buffered goes out.
  virtual void flush() = 0;
};

}  // namespace zabfs::consensus
