// A copy of a running ensemble's tree: an observer's part of ZAB, up to where it would begin to
// serve (consensus/learner.h; Java: Observer, Learner.syncWithLeader).
//
// The leader of Apache ZooKeeper sends its snapshot while it goes on writing, and behind it all
// that it wrote meanwhile. With UPTODATE it says that the ensemble has agreed on all of that. So
// the copy is exact at the last txn before, and nothing in it can be taken back. Who observes
// counts for no quorum: it changes nothing at the others, and none of them waits for it.
//
// Pure: bytes in, bytes out. Not thread-safe. Memory: the tree, kMaxWaitingBytes, and one packet.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "consensus/learner.h"
#include "consensus/messages.h"
#include "consensus/protocol.h"
#include "fsd/migrate/java_data.h"
#include "tree/java_replay.h"
#include "tree/status.h"

namespace zabfs::migrate {

class LiveCopy {
 public:
  // Of txns that wait for their COMMIT: more is not taken.
  static constexpr size_t kMaxWaitingBytes = size_t{64} << 20;

  // `me`: a number that no server of the ensemble has. Begins to speak at once.
  explicit LiveCopy(tree::ServerId me);
  LiveCopy(const LiveCopy&) = delete;  // the learner refers to what is here
  LiveCopy& operator=(const LiveCopy&) = delete;

  // What the leader is to be told now.
  std::string take_outgoing();
  // What the leader sent. Fails if it does not lead to a copy: the connection is to be closed.
  Status feed(std::string_view bytes);

  // The leader has said that it leads.
  bool has_leader() const { return has_leader_; }
  // The leader has begun to send its snapshot, and sends all later txns behind it.
  bool has_snapshot() const { return learner_->took_snapshot(); }
  // There is a copy. It goes on with all that is fed to it.
  bool is_done() const { return epoch_.has_value(); }
  // Of the copy, once it is done.
  bool has_session(tree::SessionId session) const;
  // Once it is done, and once. Fails if the leader sent something impossible.
  StatusOr<JavaData> finish();

 private:
  void on_packet(consensus::Packet packet);
  void on_snapshot(std::unique_ptr<tree::Tree> tree);
  void step(const consensus::Event& event);
  void carry_out(consensus::Action& action);
  void apply(std::string_view txn);
  void apply_waiting(tree::Zxid through);
  void count(const consensus::Packet& packet);
  void fail(std::string why);

  const consensus::ZabConfig config_;
  consensus::ZabState state_;
  std::optional<consensus::Learner> learner_;
  consensus::LinkReader reader_;
  std::optional<tree::JavaReplay> replay_;
  std::string configuration_;              // of the snapshot
  std::deque<consensus::LogTxn> waiting_;  // for the leader to say that they are committed
  std::deque<size_t> proposed_bytes_;      // of proposals without a COMMIT
  size_t waiting_bytes_ = 0;               // of both
  std::string outgoing_;
  bool has_leader_ = false;
  bool is_informed_ = false;       // the packet in hand is an INFORM
  std::optional<uint32_t> epoch_;  // that the leader serves in, at the end
  Status status_;
};

}  // namespace zabfs::migrate
