// The configurations that count at one node: the one in force, and one that was proposed after it
// (ZAB.md section 6; Java: QuorumPeer's quorumVerifier and lastSeenQuorumVerifier).
//
// A configuration is the data of /zookeeper/config, and travels as a transaction (OpCode::
// kReconfig); its version is the zxid of that. It is proposed from when the transaction is in the
// log, and in force from when that is known to be committed. At most one is proposed at a time, so
// if a second one is in the log, the first is committed.
//
// One that this node does not understand counts all the same, for others: this node can't know what
// a quorum is, and has no vote until one that it understands is in force instead.
//
// Pure value.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "consensus/ensemble.h"
#include "tree/tree.h"

namespace zabfs::consensus {

class Membership {
 public:
  Membership() = default;
  explicit Membership(Ensemble in_force) : in_force_(std::move(in_force)) {}

  const Ensemble& in_force() const { return in_force_; }
  const Ensemble* proposed() const { return proposed_ ? &*proposed_ : nullptr; }
  Zxid proposed_at() const { return proposed_at_; }
  // What this node tells others is proposed: also what it has only heard of, so that all come to
  // know the same of whom they may elect.
  const Ensemble* known_as_proposed() const {
    if (proposed_) return &*proposed_;
    return heard_of_.version() > in_force_.version() ? &heard_of_ : nullptr;
  }
  // Rises with every change.
  uint64_t changes() const { return changes_; }

  // A newer configuration than that in force which this node does not understand.
  struct Riddle {
    int64_t version;
    EnsembleError problem;
  };
  const Riddle* not_understood() const;
  bool is_understood() const { return not_understood() == nullptr; }

  // Of either configuration, or of one that was only heard of.
  bool is_voter(ServerId id) const;
  // A voter that has no weight wherever it is one: it must not lead.
  bool is_weightless(ServerId id) const;
  bool is_member(ServerId id) const;
  // Of one that was only heard of, too.
  bool knows(ServerId id) const { return is_member(id) || heard_of_.find(id) != nullptr; }
  // Where everybody is who may be dialled; hearsay included.
  std::map<ServerId, Member> addresses() const;
  std::set<ServerId> voters() const;
  // Whether `ids` holds a quorum of each configuration.
  bool is_quorum(const std::set<ServerId>& ids) const;
  // The largest zxid that is committed, given how far each server's log has come: a proposed
  // configuration, and what is behind it, needs quorums of both.
  Zxid quorum_zxid(const std::map<ServerId, Zxid>& reached) const;

  // The servers have moved, all of them: where the configurations known so far have them at other
  // addresses, those of `configured` count. It fails if anything else does not agree. Only in this
  // node's memory: a leader that has readdressed commits it (Replica).
  Status readdress(const Ensemble& configured);
  // The other members are lost for good: this one, at its address, is the configuration from here
  // on. Only in this node's memory, until it leads and commits that. It fails if no configuration
  // knows its address.
  Status begin_alone(ServerId me, const Ensemble& configured);
  // The configuration in force was committed with other addresses, or with more members.
  bool is_overridden() const { return overridden_; }

  // A txn was appended to the log; only reconfigurations matter here.
  void appended(Zxid zxid, std::string_view txn);
  // The log ends at `last` now.
  void truncate(Zxid last);
  // Everything through that zxid is committed. True: a configuration came into force.
  bool committed(Zxid through);
  // A configuration that is in force elsewhere, as text. True: it is news, and either in force
  // here, too, or not understood.
  bool adopt(std::string_view text);
  // A configuration that is proposed elsewhere. It counts for no quorum here, but its voters take
  // part: without them it can't be committed. True: it is news.
  bool hear_of(std::string_view text);

 private:
  void come_into_force(Ensemble next);
  Ensemble where_it_is_now(Ensemble known) const;

  Ensemble in_force_;
  std::optional<Ensemble> proposed_;
  Zxid proposed_at_;
  std::optional<Riddle> riddle_;           // in force elsewhere
  std::optional<Riddle> proposed_riddle_;  // in this node's log, not known to be committed
  Ensemble heard_of_;
  uint64_t changes_ = 0;
  Ensemble moved_;              // whose addresses count instead
  int64_t moved_through_ = -1;  // in configurations up to that version
  bool overridden_ = false;
};

// Whether a txn's bytes are a reconfiguration; without decoding them.
bool is_reconfiguration(std::string_view txn);
// The data of /zookeeper/config; empty: there is none.
std::string configuration_of(const tree::Tree& tree);

}  // namespace zabfs::consensus
