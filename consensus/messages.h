// What members say to each other, in ZooKeeper 3.8's bytes: packets on the quorum port
// (FORMATS.md section 3) and notifications on the election port (section 4). A server of ZooKeeper
// 3.4 or older is recognised by the forms of its messages, and is no member (7.4).
//
// LinkReader turns a learner link's bytes into packets and, behind a SNAP packet, into a tree.
// Decoders never throw; what they refuse comes with a reason for the log.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "consensus/ensemble.h"
#include "tree/acl.h"
#include "tree/origin.h"
#include "tree/snapshot.h"
#include "tree/status.h"
#include "tree/types.h"

namespace zabfs::consensus {

enum class PacketType : int32_t {
  kRequest = 1,
  kProposal = 2,
  kAck = 3,
  kCommit = 4,
  kPing = 5,
  kRevalidate = 6,
  kSync = 7,
  kInform = 8,
  kCommitAndActivate = 9,
  kNewLeader = 10,
  kFollowerInfo = 11,
  kUpToDate = 12,
  kDiff = 13,
  kTrunc = 14,
  kSnap = 15,
  kObserverInfo = 16,
  kLeaderInfo = 17,
  kAckEpoch = 18,
  kInformAndActivate = 19,
  // zabfs only: asks any member, whatever its role, for txns that this node's log lost. Data:
  // count, then (i64 after, i64 through] each; then who asks, a LearnerInfo. Answered by PROPOSALs,
  // not necessarily all at once, and one kFetchTxns, i32 1 if that member serves.
  kFetchTxns = 20,
  // zabfs only, from the leader: a request will not be prepared. Zxid: its attachment. Data:
  // session, cxid, error.
  kRefused = 21,
  // zabfs only, from a learner, to a leader that is zabfs: its disk is full, so it leaves.
  kDiskFull = 22,
};
const char* packet_name(PacketType type);
std::string zxid_name(Zxid zxid);  // 0x and hexadecimal digits, as logs have it

// Bytes that many hold and nobody changes: a txn on its way to peers, log and tree is one copy.
using Payload = std::shared_ptr<const std::string>;
inline Payload make_payload(std::string bytes) {
  return std::make_shared<const std::string>(std::move(bytes));
}

// A txn as the log holds it.
struct LogTxn {
  Zxid zxid;
  Payload txn;
};

struct Packet {
  PacketType type = PacketType::kPing;
  Zxid zxid;
  Payload data;  // null data and empty data differ on the wire
  tree::Identities identities;

  Packet() = default;
  Packet(PacketType packet_type, Zxid packet_zxid) : type(packet_type), zxid(packet_zxid) {}
  Packet(PacketType packet_type, Zxid packet_zxid, Payload packet_data)
      : type(packet_type), zxid(packet_zxid), data(std::move(packet_data)) {}
  Packet(PacketType packet_type, Zxid packet_zxid, std::string packet_data)
      : Packet(packet_type, packet_zxid, make_payload(std::move(packet_data))) {}

  std::string_view bytes() const { return data ? std::string_view(*data) : std::string_view(); }
};
// What one packet carries at most: of data, a txn or a request with its headers (Java: twice
// jute.maxbuffer). A receiver closes the link of who sends more, so nobody may.
inline constexpr size_t kMaxPacketData = 2 * tree::kMaxRequestBytes;
inline constexpr size_t kMaxPacketIdentities = 1'000;
inline constexpr size_t kMaxPacketIdentityBytes = tree::Limits::kDefaultBytes;
inline constexpr size_t kPacketMarginBytes =
    64;  // what goes before a txn or a request, in its data
static_assert(tree::kMaxTxnBytes + tree::kMaxOriginBytes + kPacketMarginBytes <= kMaxPacketData);
// Whether a receiver takes a packet of that.
bool is_sendable(size_t data_bytes, const tree::Identities& identities);
void encode_packet(const Packet& packet, std::string& out);

// LearnerInfo and LEADERINFO's data, with zabfs's capability bytes trailing, which Java ignores,
// and behind them the ensemble that the sender belongs to (ZabState::ensemble; 0: none, or
// unknown); in LearnerInfo also its version, and in LEADERINFO its secret (ZabState::secret; empty:
// none).
struct LearnerInfo {
  ServerId id;
  int64_t config_version = 0;
  bool is_zabfs = false;
  int64_t ensemble = 0;
  bool has_secret = true;    // it makes passwords with the ensemble's secret
  std::string version = {};  // of zabfs; at most kMaxVersionBytes of printable ASCII, or empty
  bool is_too_old = false;   // no server from ZooKeeper 3.5 on says so little
};
inline constexpr size_t kMaxVersionBytes = 32;
// What does not look like a version is empty then.
std::string checked_version(std::string_view text);
struct LeaderInfo {
  bool is_zabfs = false;
  int64_t ensemble = 0;
  std::string secret = {};
};
inline constexpr size_t kSecretBytes = 32;
std::string encode_learner_info(const LearnerInfo& info);
std::optional<LearnerInfo> decode_learner_info(std::string_view data);
std::string encode_leader_info(int64_t ensemble, std::string_view secret);
LeaderInfo decode_leader_info(std::string_view data);

// Why a server can be no member, for the log: `sign` is what shows that it runs ZooKeeper 3.4 or
// older. Such a server ends at the txns of newer ones (create2, containers, reconfigurations).
std::string too_old(ServerId id, std::string_view sign);

// Of a server of Apache ZooKeeper: whether zabfs nodes take its clients' sessions for those of
// mounts. The last byte of its number is at their top.
inline bool makes_mounts_ids(ServerId id) { return (id.value & 0xff) == 0; }
// That, for the log.
std::string unusable_number(ServerId id);

// The votes of fast leader election.
enum class PeerState : int32_t { kLooking = 0, kFollowing = 1, kLeading = 2, kObserving = 3 };

struct Vote {
  ServerId leader;
  Zxid zxid;
  int64_t peer_epoch = 0;
  bool operator==(const Vote&) const = default;
};

struct Notification {
  PeerState state = PeerState::kLooking;
  Vote vote;
  int64_t round = 0;  // electionEpoch
  std::string config;
  // Of a configuration that is proposed; trails for zabfs nodes, Java ignores it. Who lacks that
  // transaction learns from it whom else may lead.
  std::string proposed;
  // The ensemble whose history the sender has; trails, too. 0: none, or unknown.
  int64_t ensemble = 0;
};
std::string encode_notification(const Notification& notification);
std::optional<Notification> decode_notification(std::string_view payload);
inline constexpr size_t kMaxNotificationBytes = 524'288;
// What is wrong with what decode_notification gave for a message of that server; empty: nothing.
// Servers from ZooKeeper 3.5 on always send their configuration.
std::string problem_of(ServerId from, const std::optional<Notification>& notification);

// The first bytes on an election connection.
struct ElectionHello {
  ServerId from;
  std::string address;  // host:port of its election address
};
std::string encode_hello(const ElectionHello& hello);
// The first eight of them are a version: from 3.6 on, a server with multiAddress.enabled has
// another one. Before 3.5 they are the server's number, and all of the hello.
inline constexpr size_t kHelloVersionBytes = 8;
// What is wrong with these; empty: a hello of a kind that is known follows.
std::string hello_problem(std::string_view version);
// The addresses of a hello, each host:port: with multiAddress.enabled there may be several, in no
// order.
std::vector<std::string> addresses_in(std::string_view hello_address);

// Incremental decoder of one direction of a learner link. Feed it what the socket gave.
class LinkReader {
 public:
  struct Handlers {
    std::function<void(Packet)> packet;
    // The snapshot behind a SNAP packet, which was handed to `packet` before.
    std::function<void(std::unique_ptr<tree::Tree>)> snapshot;
    // The bytes of a feed completed nothing: they are a part of something long. May be null.
    std::function<void()> part = {};
  };
  // Fails if the connection must be closed. Handlers run inside.
  Status feed(std::string_view bytes, const Handlers& handlers);

 private:
  Status feed_snapshot(std::string_view& input, const Handlers& handlers);

  std::string buffer_;
  std::unique_ptr<tree::SnapshotLoader> loader_;
  Zxid snapshot_zxid_;
  bool signature_next_ = false;
};

inline constexpr std::string_view kSnapshotSignature = "BenWasHere";

}  // namespace zabfs::consensus
