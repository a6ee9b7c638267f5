// The ZAB core's vocabulary: the events that go in, the actions that come out, and the state that
// its parts share. zab.h is the core itself.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "consensus/ensemble.h"
#include "consensus/history.h"
#include "consensus/membership.h"
#include "consensus/messages.h"

namespace zabfs::consensus {

using LinkId = uint64_t;  // one connection between a learner and a leader; never reused

enum class Role { kSettling, kLooking, kFollowing, kObserving, kLeading };
const char* role_name(Role role);

enum class SyncMode { kDiff, kTrunc, kSnap };

// Who knows a session's password: the servers of the ensemble alone, or, at Java's servers and
// older ones of ours, everybody who knows the session.
enum class Passwords : int32_t { kUnknown, kSecret, kPublic };

// What a member last said of itself, or its leader of it.
struct MemberFacts {
  std::string version;     // of zabfs, or kZooKeeper; empty: not known
  bool disk_full = false;  // it stepped aside for that, and has not come back
  std::optional<int64_t> heard_ms = std::nullopt;  // when its leader heard of it, by our clock
};
// The version of who is not zabfs: Java's servers don't say theirs.
inline constexpr std::string_view kZooKeeper = "ZooKeeper";

// One member's standing, as the leader knows it.
struct MemberStatus {
  ServerId id;
  Role role = Role::kLooking;
  Zxid zxid;
  Passwords passwords = Passwords::kUnknown;
  MemberFacts facts = {};
};

namespace event {
struct Tick {};
struct VoteReceived {
  ServerId from;
  Notification notification;
};
struct LinkUp {  // a dial of ours succeeded
  LinkId link;
};
struct LinkAccepted {  // a learner dialled us
  LinkId link;
};
struct LinkDown {  // closed by the peer, failed, or a dial came to nothing
  LinkId link;
};
struct PacketReceived {
  LinkId link;
  Packet packet;
};
struct PartReceived {  // bytes of something long: a snapshot, a packet
  LinkId link;
};
struct SnapshotReceived {  // the snapshot behind a SNAP packet arrived whole and is on disk
  LinkId link;
  std::string configuration;  // the data of its /zookeeper/config
};
struct Synced {  // every append up to this zxid is durable
  Zxid zxid;
};
struct AcceptedEpochSaved {
  uint32_t epoch;
  bool votes;
  std::optional<int64_t> ensemble = std::nullopt;  // none: as it was
  std::string secret = {};                         // empty: as it was
};
struct EpochSaved {  // current epoch, and all that was appended before its EndSync, are durable
  uint32_t epoch;
};
struct Settled {
  History history;
  uint32_t current_epoch;
  // Those of the log that this node has not applied.
  std::vector<std::pair<Zxid, Payload>> reconfigurations;
};
struct Propose {  // from the driver, of a leader that serves
  Zxid zxid;
  Payload txn;
};
struct ConfirmLeadership {  // answered by action::Confirmed once a quorum proves it
  uint64_t token;
};
struct Purged {  // the log now begins after this zxid
  Zxid base;
};
struct LearnerFed {  // a learner took more of its history, by the word of the network
  LinkId link;
};
struct SnapshotIsShorter {  // than the log, for a learner whose own ends before this zxid
  Zxid before;
};
struct Diverged {  // this node's tree is not the leader's: its history must come anew
  std::string why;
};
struct StorageStalled {  // nothing can be written for now; Settled says when it can be again
  std::string why;
};
}  // namespace event

using Event = std::variant<event::Tick, event::VoteReceived, event::LinkUp, event::LinkAccepted,
                           event::LinkDown, event::PacketReceived, event::PartReceived,
                           event::SnapshotReceived, event::Synced, event::AcceptedEpochSaved,
                           event::EpochSaved, event::Settled, event::Propose,
                           event::ConfirmLeadership, event::Purged, event::LearnerFed,
                           event::SnapshotIsShorter, event::Diverged, event::StorageStalled>;

namespace action {
struct SendVote {
  ServerId to;
  Notification notification;
};
struct Dial {
  ServerId leader;
  LinkId link;
};
struct Send {
  std::vector<LinkId> links;
  Packet packet;
};
// The txns in (after, through] to a learner: each as PROPOSAL, and COMMIT behind it if `commit`.
struct SendHistory {
  LinkId link;
  Zxid after, through;
  bool commit;
};
// SNAP and the stream of the newest snapshot, then PROPOSAL and COMMIT of all after it up to
// `through`. To a Java learner without the blocks that it can't read (tree/snapshot.h).
struct SendSnapshot {
  LinkId link;
  Zxid through;
  bool to_zabfs = false;
};
// INFORM with the txn of that zxid, to observers.
struct Inform {
  std::vector<LinkId> links;
  Zxid zxid;
  std::optional<ServerId> next_leader;  // of a reconfiguration: INFORMANDACTIVATE
};
struct Close {
  LinkId link;
  std::string reason;
};
struct Append {
  Zxid zxid;
  Payload txn;
};
// A Java leader's snapshot comes in on `link`. It is taken while txns are applied, so that it has
// parts of those that follow it on the link (ZAB.md section 3.4). It becomes the base of the log at
// BeginSync, when all of them have been applied to it.
struct ReceiveSnapshot {
  LinkId link;
};
struct ApplyToSnapshot {  // to the one that came in
  Zxid zxid;
  Payload txn;
};
// Opens the group of a synchronisation in the log; for kSnap, the snapshot that was received on
// `link` becomes the base.
struct BeginSync {
  SyncMode mode;
  Zxid zxid;
  LinkId link;
};
struct EndSync {  // closes the group; answered by event::EpochSaved
  uint32_t epoch;
};
struct SaveAcceptedEpoch {
  uint32_t epoch;
  bool votes;  // and this node has a vote from now on; false: as it was
  std::optional<int64_t> ensemble = std::nullopt;  // none: as it was
  std::string secret = {};                         // empty: as it was
};
struct Commit {
  Zxid through;
};
struct Settle {};
struct RoleChanged {
  Role role;
  ServerId leader;  // of kFollowing, kObserving, kLeading
  std::string why;
};
struct Serve {  // the role is established: requests are taken from here on
  uint32_t epoch;
  bool leader_is_zabfs;
  SyncMode mode;
};
struct Forwarded {  // REQUEST or REVALIDATE from a learner, at the leader
  LinkId link;
  ServerId from;
  bool is_from_zabfs;  // and not from Apache ZooKeeper's server
  Packet packet;
};
struct SessionsTouched {  // from a learner's answer to PING
  ServerId from;
  Payload data;
};
struct AnswerPing {
  Zxid zxid;
  std::vector<MemberStatus> members;  // the leader's word on them, if it is zabfs
};
struct Answered {  // SYNC, REVALIDATE or REFUSED from the leader, at a learner
  Packet packet;
};
struct Confirmed {
  uint64_t token;
};
// Other members count now, or have other addresses: Zab::membership.
struct MembershipChanged {};
struct Notice {  // for the log: a member came or went
  std::string text;
};
struct Doubled {  // what seems to be two servers connects as this one
  ServerId id;
};
}  // namespace action

using Action =
    std::variant<action::SendVote, action::Dial, action::Send, action::SendHistory,
                 action::SendSnapshot, action::Inform, action::Close, action::Append,
                 action::ReceiveSnapshot, action::ApplyToSnapshot, action::BeginSync,
                 action::EndSync, action::SaveAcceptedEpoch, action::Commit, action::Settle,
                 action::RoleChanged, action::Serve, action::Forwarded, action::SessionsTouched,
                 action::AnswerPing, action::Answered, action::Confirmed, action::MembershipChanged,
                 action::Notice, action::Doubled>;
using Actions = std::vector<Action>;

struct ZabConfig {
  ServerId me;
  std::string version;  // of zabfs, as the others are told
  Ensemble ensemble;    // as configured; what counts is Membership
  // A new ensemble, once all voters have been seen empty; Java: db.autocreate.
  bool begins_by_itself = true;
  // Who is in no configuration may follow, for it may come to be in one.
  bool admits_strangers = false;
  bool wants_vote = true;  // where no configuration has this node: it follows, and isn't counted
  int32_t tick_ms = 2000;
  int32_t init_limit = 10;  // ticks
  int32_t sync_limit = 5;   // ticks
  // A txn with this counter is its epoch's last: the next begins before the counter runs out.
  uint32_t last_counter = 0xfffffff0;

  int64_t init_ms() const { return int64_t{tick_ms} * init_limit; }
  int64_t sync_ms() const { return int64_t{tick_ms} * sync_limit; }
};

// Epochs above it are refused, whoever names them: they come one by one, and must not run out.
inline constexpr uint32_t kMaxEpoch = 0x7ff00000;

// Rounds of an election are counted up from 1; what is larger than this is a nonce instead.
constexpr int64_t kFirstNonce = int64_t{1} << 62;

// What election, leader and learner share: the node's place in the protocol.
struct ZabState {
  Membership membership;
  bool votes = true;   // false: its history or its promises may be incomplete (ZAB.md section 3);
                       // true does not make it a voter, that is the membership's to say
  bool empty = false;  // nothing was ever here
  // Of this start of the process: a node without a vote asks with it.
  int64_t nonce = kFirstNonce;
  // Its tree differs from the ensemble's. It follows without a vote, and takes a whole snapshot
  // from the next leader whatever its log ends with.
  bool diverged = false;
  // The leader of this epoch has another history than this node before the snapshot that this
  // node's begins with, which no TRUNC can mend; or txns are missing in what it sends as the
  // difference. It is asked for a whole snapshot, too.
  uint32_t parted_in_epoch = 0;
  // Which ensemble this is, so that histories of two can't be taken for one where their epochs
  // meet: a random number, 0 for none. A leader that knows of no epoch gives it out with its own
  // (LEADERINFO); a node saves its leader's before it acknowledges NEWLEADER. It holds once the
  // node has txns, and while it serves. Two numbers never hold in one ensemble: a txn belongs to an
  // epoch that a quorum has saved, behind its number; whoever is elected later has that epoch or a
  // later one (ACKEPOCH), so it gives out no number of its own. Java servers have none, and give
  // none.
  int64_t ensemble = 0;
  bool ensemble_holds = false;
  // What passwords of sessions are made with (fsd/wire/auth.h); empty: none is known. A leader
  // without one takes `fresh_secret` and saves it with its epoch; a learner takes over and saves
  // its leader's before it acknowledges NEWLEADER. So whoever is elected later has it.
  std::string secret, fresh_secret;
  std::set<ServerId> public_passwords;    // whose are, as last heard
  std::map<ServerId, MemberFacts> facts;  // of at most 2 * kMaxMembers; strangers give way
  uint32_t accepted_epoch = 0;
  uint32_t current_epoch = 0;
  History history;  // appended, not necessarily durable
  Zxid durable;     // appended and durable
  Zxid committed;   // known committed when the node started
  Zxid diff_from;   // a learner whose log ends before this gets a snapshot: it is shorter
  uint64_t next_link = 1;

  void note_passwords(ServerId id, Passwords passwords) {
    if (passwords == Passwords::kPublic) public_passwords.insert(id);
    if (passwords == Passwords::kSecret) public_passwords.erase(id);
  }
  int64_t settled_ensemble() const { return ensemble_holds ? ensemble : 0; }
  bool is_foreign(int64_t other) const {
    return other != 0 && settled_ensemble() != 0 && other != ensemble;
  }
};

// Whether this node is to vote, once its history and promises are whole: as a voter of some
// configuration, or so that it can become one.
inline bool is_to_vote(const ZabConfig& config, const Membership& membership) {
  return membership.is_voter(config.me) || (config.wants_vote && !membership.is_member(config.me));
}

// Whether that server, which says so itself, may have what members have: our history.
inline bool may_learn(const ZabConfig& config, const Membership& membership, ServerId id) {
  return config.admits_strangers || membership.knows(member_of(id));
}

// Whether it has a vote now. Who does not understand a configuration can't tell what its vote does.
inline bool may_vote(const ZabConfig& config, const ZabState& state) {
  return state.votes && state.membership.is_understood() && is_to_vote(config, state.membership);
}

}  // namespace zabfs::consensus
