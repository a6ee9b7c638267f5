// The words every module speaks: identifiers, ZooKeeper's error codes and operation codes, Result.
//
// Identifiers are distinct types so that a zxid can't be passed where a session is meant.
// Everything here is a value; nothing allocates or throws.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <variant>

namespace zabfs::tree {

// A transaction's place in the total order: epoch in the high 32 bits, counter in the low 32.
struct Zxid {
  int64_t value = 0;

  static constexpr Zxid make(uint32_t epoch, uint32_t counter) {
    return Zxid{static_cast<int64_t>((uint64_t{epoch} << 32) | counter)};
  }
  constexpr uint32_t epoch() const {
    return static_cast<uint32_t>(static_cast<uint64_t>(value) >> 32);
  }
  constexpr uint32_t counter() const { return static_cast<uint32_t>(value & 0xffffffff); }
  constexpr Zxid next() const { return Zxid{value + 1}; }
  // Whether a history may go on with it behind `last`: the next of its epoch, or the first of a
  // later one.
  constexpr bool follows(Zxid last) const {
    if (epoch() == last.epoch()) return counter() == last.counter() + 1;
    return epoch() > last.epoch() && counter() == 1;
  }
  auto operator<=>(const Zxid&) const = default;
};

// An ensemble member, the N of server.N.
struct ServerId {
  int64_t value = 0;
  auto operator<=>(const ServerId&) const = default;
};

// A session; 0 is no session.
struct SessionId {
  int64_t value = 0;
  auto operator<=>(const SessionId&) const = default;
};

// The top byte of a session is the number of the server that made it, as in ZooKeeper. In that of a
// mount it is 0, and the byte below is the number: every server sees whose session it is, and gives
// no connection the session of a mount.
constexpr uint8_t server_byte(ServerId id) {
  auto byte = static_cast<uint8_t>(id.value);
  return byte != 0 ? byte : 0xfe;
}
constexpr bool is_mounts(SessionId session) {
  return static_cast<uint64_t>(session.value) >> 56 == 0;
}
constexpr int16_t maker_of(SessionId session) {
  return static_cast<uint64_t>(session.value) >> (is_mounts(session) ? 48 : 56) & 0xff;
}

// A session's requests come through one server at a time. Each time that its client connects anew,
// the server asks for an attach txn (OpCode::kExtAttach), whose zxid is the session's attachment
// from then on; it is 0 from the session's creation until then. Requests name the attachment that
// they came by, so that what a former server still holds of the session is known to be late.
inline constexpr Zxid kFirstAttachment{0};
inline constexpr Zxid kNoAttachment{-1};  // of those who keep none: Apache ZooKeeper's servers

// The cxid of an attach txn says at which server the session is from then on: server_byte. Others
// were given to attach txns before that, and tell nothing. It also says whether the client has a
// password that was made with the ensemble's secret, and no other is to be accepted. So does the
// cxid of the txn that creates a session: Java's servers, which know no secret, give it another.
inline constexpr int32_t kCreatedWithSecret = -0x4f000000;
inline constexpr int32_t kFirstAttachCxid = -0x50000000;  // and down from there
inline constexpr uint32_t kAttachedWithSecret = 1u << 27;
constexpr int32_t attach_cxid(uint32_t number, uint8_t server, bool with_secret = false) {
  uint32_t bits = (number & 0x7ffff) << 8 | server | (with_secret ? kAttachedWithSecret : 0);
  return kFirstAttachCxid - static_cast<int32_t>(bits);
}
inline constexpr int16_t kWhereItWasMade = 0;
inline constexpr int16_t kAnywhere = -1;
constexpr int16_t attached_to(int32_t cxid) {
  bool says_so = cxid <= kFirstAttachCxid && cxid >= attach_cxid(0x7ffff, 0xff, true);
  return says_so ? static_cast<int16_t>((kFirstAttachCxid - cxid) & 0xff) : kAnywhere;
}
// Of an attach txn and of one that creates a session.
constexpr bool is_with_secret(int32_t cxid) {
  if (cxid == kCreatedWithSecret) return true;
  bool attaches = attached_to(cxid) != kAnywhere;
  return attaches && (static_cast<uint32_t>(kFirstAttachCxid - cxid) & kAttachedWithSecret) != 0;
}

// Whether `a` comes after `b` in the numbers that a server gives to requests: from 1 up, and from
// the largest back to 1.
constexpr bool is_later_cxid(int32_t a, int32_t b) {
  uint32_t distance = (static_cast<uint32_t>(a) - static_cast<uint32_t>(b)) & 0x7fffffff;
  return distance != 0 && distance < 0x40000000;
}

// ZooKeeper's error codes (KeeperException.Code), as they travel on the wire.
enum class Error : int32_t {
  kOk = 0,
  kSystemError = -1,
  kRuntimeInconsistency = -2,
  kDataInconsistency = -3,
  kConnectionLoss = -4,
  kMarshallingError = -5,
  kUnimplemented = -6,
  kOperationTimeout = -7,
  kBadArguments = -8,
  kNewConfigNoQuorum = -13,
  kReconfigInProgress = -14,
  kNoNode = -101,
  kNoAuth = -102,
  kBadVersion = -103,
  kNoChildrenForEphemerals = -108,
  kNodeExists = -110,
  kNotEmpty = -111,
  kSessionExpired = -112,
  kInvalidAcl = -114,
  kAuthFailed = -115,
  kSessionMoved = -118,
  kNotReadOnly = -119,
  kEphemeralOnLocalSession = -120,
  kNoWatcher = -121,
  kReconfigDisabled = -123,
  kSessionClosedRequireSaslAuth = -124,
  kQuotaExceeded = -125,
  kThrottledOp = -127,
  // zabfs's own requests only; they never reach a ZooKeeper client.
  kStale = -1001,     // the znode is not the one (czxid) or the version the caller had read
  kTooLarge = -1002,  // the result would pass the limit of one znode or one transaction
  kBusy = -1003,      // an ephemeral below a directory that was to be moved
  kBadLimit = -1004,  // a queue or table is full
};

// Operation codes, in requests and in txn headers (ZooDefs.OpCode). The kExt ones are requests to a
// zabfs leader; what they become in the log are ZooKeeper's own txns.
enum class OpCode : int32_t {
  kError = -1,
  kCreateSession = -10,
  kCloseSession = -11,
  kNotification = 0,
  kCreate = 1,
  kDelete = 2,
  kExists = 3,
  kGetData = 4,
  kSetData = 5,
  kGetAcl = 6,
  kSetAcl = 7,
  kGetChildren = 8,
  kSync = 9,
  kPing = 11,
  kGetChildren2 = 12,
  kCheck = 13,
  kMulti = 14,
  kCreate2 = 15,
  kReconfig = 16,
  kCheckWatches = 17,
  kRemoveWatches = 18,
  kCreateContainer = 19,
  kDeleteContainer = 20,
  kCreateTtl = 21,
  kMultiRead = 22,
  kAuth = 100,
  kSetWatches = 101,
  kSasl = 102,
  kGetEphemerals = 103,
  kGetAllChildrenNumber = 104,
  kSetWatches2 = 105,
  kAddWatch = 106,
  kWhoAmI = 107,
  kExtWrite = 9001,
  kExtAppend = 9002,
  kExtRename = 9003,
  kExtRemove = 9004,
  kExtSetPosix = 9005,
  kExtAttach = 9006,
};

constexpr bool is_create(OpCode op) {
  return op == OpCode::kCreate || op == OpCode::kCreate2 || op == OpCode::kCreateContainer ||
         op == OpCode::kCreateTtl;
}

// A value or an Error. `value()` on an error is a programming error and throws bad_variant_access.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value)
      : state_(std::in_place_index<0>, std::move(value)) {}       // NOLINT: implicit on purpose
  Result(Error error) : state_(std::in_place_index<1>, error) {}  // NOLINT: implicit on purpose

  bool ok() const { return state_.index() == 0; }
  Error error() const { return ok() ? Error::kOk : std::get<1>(state_); }
  T& value() { return std::get<0>(state_); }
  const T& value() const { return std::get<0>(state_); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Error> state_;
};

const char* error_name(Error error);

inline constexpr std::string_view kConfigPath = "/zookeeper/config";

// Limits (DESIGN.md section 3).
//
// They follow from jute.maxbuffer, the size of the largest request. What a node takes from clients
// and from its mount has the limits of its zoo.cfg, and a txn those of the leader's. What a node
// reads from its disks and from other members has the limits of the largest jute.maxbuffer that
// can be set: it may come from a node, or a time, with another one.
class Limits {
 public:
  static constexpr size_t kDefaultBytes = 1'048'575, kMostBytes = size_t{64} << 20;

  constexpr Limits() = default;
  constexpr explicit Limits(size_t request_bytes) : request_bytes_(request_bytes) {}

  constexpr size_t request_bytes() const { return request_bytes_; }
  // Of a znode: there is room for its path and its ACL in a request.
  constexpr size_t data_bytes() const {
    return request_bytes_ - (request_bytes_ < 32'768 ? request_bytes_ / 2 : 16'384);
  }
  // Of one txn, encoded. A request can become more than it was (sequence suffixes, `auth` in an
  // ACL), so this is checked when a txn is prepared. Whatever is within it fits a packet between
  // members (Java's own limit for those is twice jute.maxbuffer), a record of the log and an
  // element of a snapshot.
  constexpr size_t txn_bytes() const { return 2 * request_bytes_ - 1'024; }
  // Of a subtree that one txn moves.
  constexpr size_t moved_bytes() const { return request_bytes_ - request_bytes_ / 256; }

 private:
  size_t request_bytes_ = kDefaultBytes;
};

inline constexpr size_t kMaxRequestBytes = Limits(Limits::kMostBytes).request_bytes();
inline constexpr size_t kMaxTxnBytes = Limits(Limits::kMostBytes).txn_bytes();
inline constexpr size_t kMaxNameBytes = 255;
inline constexpr size_t kMaxPathBytes = 4'095;

}  // namespace zabfs::tree

template <>
struct std::hash<zabfs::tree::SessionId> {
  size_t operator()(zabfs::tree::SessionId id) const noexcept {
    return std::hash<int64_t>()(id.value);
  }
};
