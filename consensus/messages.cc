#include "consensus/messages.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "tree/identities.h"
#include "tree/jute.h"

namespace zabfs::consensus {

using tree::jute::Reader;
using tree::jute::Writer;

namespace {

constexpr int32_t kProtocolVersion = 0x10000;
constexpr int64_t kHelloVersion = -65536;
constexpr int64_t kHelloOfManyAddresses = -65535;
constexpr int64_t kHelloVersions = 256;  // that there may be one day, from the first one up
constexpr int64_t kMaxOldId = 255;       // by Java's documentation
constexpr int32_t kNotificationVersion = 2;
constexpr int32_t kMaxPacketType = 22;
constexpr size_t kPacketHeadBytes = 16;
// Head, data, identities.
constexpr size_t kMaxPacketBytes =
    kPacketHeadBytes + kMaxPacketData + 4 + 8 * kMaxPacketIdentities + kMaxPacketIdentityBytes;
static_assert(tree::kMaxIdentities <= kMaxPacketIdentities &&
              tree::kMaxIdentityBytes <= kMaxPacketIdentityBytes);

// The capability bytes: a magic, then a bit set.
constexpr int32_t kCapabilityMagic = 0x5A414246;  // "ZABF"
constexpr int32_t kRequests = 1;                  // zabfs's own requests are understood
constexpr int32_t kSecret = 2;                    // passwords are made with the ensemble's secret
constexpr int32_t kCapabilities = kRequests | kSecret;

int32_t read_capabilities(Reader& in) {
  if (in.rest().size() < 8) return 0;
  return in.i32() == kCapabilityMagic ? in.i32() : 0;
}

}  // namespace

const char* packet_name(PacketType type) {
  static constexpr std::array<const char*, kMaxPacketType + 1> kNames = {
      "?",         "REQUEST",      "PROPOSAL",   "ACK",      "COMMIT",
      "PING",      "REVALIDATE",   "SYNC",       "INFORM",   "COMMITANDACTIVATE",
      "NEWLEADER", "FOLLOWERINFO", "UPTODATE",   "DIFF",     "TRUNC",
      "SNAP",      "OBSERVERINFO", "LEADERINFO", "ACKEPOCH", "INFORMANDACTIVATE",
      "FETCHTXNS", "REFUSED",      "DISKFULL"};
  auto index = static_cast<size_t>(type);
  return index < kNames.size() ? kNames[index] : "?";
}

std::string zxid_name(Zxid zxid) {
  char digits[17];
  auto [end, error] =
      std::to_chars(digits, digits + sizeof(digits), static_cast<uint64_t>(zxid.value), 16);
  return "0x" + std::string(digits, end);
}

bool is_sendable(size_t data_bytes, const tree::Identities& identities) {
  size_t identity_bytes = 0;
  for (const tree::Id& id : identities) identity_bytes += id.scheme.size() + id.id.size();
  return data_bytes <= kMaxPacketData && identities.size() <= kMaxPacketIdentities &&
         identity_bytes <= kMaxPacketIdentityBytes;
}

void encode_packet(const Packet& packet, std::string& bytes) {
  Writer out(bytes);
  out.i32(static_cast<int32_t>(packet.type));
  out.i64(packet.zxid.value);
  out.buffer(packet.data ? std::optional<std::string_view>(*packet.data) : std::nullopt);
  if (packet.identities.empty()) {
    out.i32(-1);
  } else {
    tree::write_identities(out, packet.identities);
  }
}

std::string encode_learner_info(const LearnerInfo& info) {
  std::string bytes;
  Writer out(bytes);
  out.i64(info.id.value);
  out.i32(kProtocolVersion);
  out.i64(info.config_version);
  out.i32(kCapabilityMagic);
  out.i32(kCapabilities);
  out.i64(info.ensemble);
  out.string(info.version);
  return bytes;
}

std::optional<LearnerInfo> decode_learner_info(std::string_view data) {
  Reader in(data);
  LearnerInfo info;
  info.id.value = in.i64();
  int32_t protocol = in.at_end() ? 0 : in.i32();
  info.is_too_old = protocol < kProtocolVersion || in.at_end();
  if (!in.at_end()) info.config_version = in.i64();
  if (!in.ok()) return std::nullopt;
  int32_t capabilities = read_capabilities(in);
  info.is_zabfs = (capabilities & kRequests) != 0;
  info.has_secret = (capabilities & kSecret) != 0;
  if (info.is_zabfs && in.rest().size() >= 8) info.ensemble = in.i64();
  if (info.is_zabfs && in.rest().size() >= 4) info.version = checked_version(in.string());
  return info;
}

std::string checked_version(std::string_view text) {
  bool is_one = text.size() <= kMaxVersionBytes &&
                std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
  return is_one ? std::string(text) : std::string();
}

std::string encode_leader_info(int64_t ensemble, std::string_view secret) {
  std::string bytes;
  Writer out(bytes);
  out.i32(kProtocolVersion);
  out.i32(kCapabilityMagic);
  out.i32(kCapabilities);
  out.i64(ensemble);
  out.raw(secret);
  return bytes;
}

LeaderInfo decode_leader_info(std::string_view data) {
  Reader in(data);
  LeaderInfo info;
  in.i32();
  int32_t capabilities = read_capabilities(in);
  info.is_zabfs = (capabilities & kRequests) != 0;
  if (info.is_zabfs && in.rest().size() >= 8) info.ensemble = in.i64();
  bool has_secret = (capabilities & kSecret) != 0 && in.rest().size() >= kSecretBytes;
  if (has_secret) info.secret = in.rest().substr(0, kSecretBytes);
  return info;
}

std::string too_old(ServerId id, std::string_view sign) {
  return "server " + std::to_string(id.value) + " runs ZooKeeper 3.4 or older (" +
         std::string(sign) +
         "), which can't be a member beside newer servers: upgrade it to 3.5 or later, or take its"
         " data over with `zabfs import-zookeeper`";
}

std::string unusable_number(ServerId id) {
  return "server " + std::to_string(id.value) +
         " runs ZooKeeper, and zabfs nodes take the sessions of its clients for those of mounts, as"
         " its number is 0 or a multiple of 256: give it another number, such as one of 1 to 253,"
         " in its myid and in every zoo.cfg";
}

std::string encode_notification(const Notification& notification) {
  std::string bytes;
  Writer out(bytes);
  out.i32(static_cast<int32_t>(notification.state));
  out.i64(notification.vote.leader.value);
  out.i64(notification.vote.zxid.value);
  out.i64(notification.round);
  out.i64(notification.vote.peer_epoch);
  out.i32(kNotificationVersion);
  out.string(notification.config);
  bool has_ensemble = notification.ensemble != 0;
  if (has_ensemble || !notification.proposed.empty()) out.string(notification.proposed);
  if (has_ensemble) out.i64(notification.ensemble);
  return bytes;
}

std::optional<Notification> decode_notification(std::string_view payload) {
  Reader in(payload);
  Notification notification;
  int32_t state = in.i32();
  notification.vote.leader.value = in.i64();
  notification.vote.zxid.value = in.i64();
  notification.round = in.i64();
  notification.vote.peer_epoch = in.at_end() ? notification.vote.zxid.epoch() : in.i64();
  if (!in.at_end() && in.i32() >= kNotificationVersion) notification.config = in.string();
  if (in.ok() && !in.at_end()) notification.proposed = in.string();
  if (in.ok() && !in.at_end()) notification.ensemble = in.i64();
  if (!in.ok() || state < 0 || state > static_cast<int32_t>(PeerState::kObserving)) {
    return std::nullopt;
  }
  notification.state = static_cast<PeerState>(state);
  return notification;
}

std::string problem_of(ServerId from, const std::optional<Notification>& notification) {
  if (!notification) {
    return "server " + std::to_string(from.value) + " sent a malformed notification";
  }
  return notification->config.empty() ? too_old(from, "its vote names no configuration") : "";
}

std::string encode_hello(const ElectionHello& hello) {
  std::string bytes;
  Writer out(bytes);
  out.i64(kHelloVersion);
  out.i64(hello.from.value);
  out.string(hello.address);
  return bytes;
}

std::string hello_problem(std::string_view bytes) {
  Reader in(bytes);
  int64_t version = in.i64();
  if (!in.ok()) return "not an election hello";
  if (version == kHelloVersion || version == kHelloOfManyAddresses) return "";
  if (version >= 0 && version <= kMaxOldId) {
    return too_old(ServerId{version}, "its hello is a bare number");
  }
  if (version > kHelloVersion && version < kHelloVersion + kHelloVersions) {
    return "a hello of version " + std::to_string(version) +
           ", which this release of zabfs does not know: it knows those of ZooKeeper 3.5 to 3.9";
  }
  return "not an election hello";
}

std::vector<std::string> addresses_in(std::string_view text) {
  std::vector<std::string> addresses;
  while (!text.empty()) {
    std::string_view address = text.substr(0, text.find('|'));
    text.remove_prefix(std::min(text.size(), address.size() + 1));
    if (!address.empty()) addresses.emplace_back(address);
  }
  return addresses;
}

Status LinkReader::feed(std::string_view bytes, const Handlers& handlers) {
  buffer_.append(bytes);
  std::string_view input = buffer_;
  Status status;
  bool completed = false;
  while (status.ok()) {
    if (loader_ != nullptr || signature_next_) {
      size_t before = input.size();
      bool in_snapshot = loader_ != nullptr;
      status = feed_snapshot(input, handlers);
      completed = completed || (in_snapshot && loader_ == nullptr);
      if (status.ok() && input.size() == before && (loader_ != nullptr || signature_next_)) break;
      continue;
    }
    if (input.size() < kPacketHeadBytes) break;
    Reader head(input);
    int32_t type = head.i32();
    head.i64();
    int32_t length = head.i32();
    if (type < 1 || type > kMaxPacketType) {
      status = Status::failed("unknown packet type " + std::to_string(type));
      break;
    }
    if (length < -1 || length > static_cast<int32_t>(kMaxPacketData)) {
      status = Status::failed("packet of " + std::to_string(length) + " bytes, the limit is " +
                              std::to_string(kMaxPacketData));
      break;
    }
    Reader in(input);
    Packet packet;
    packet.type = static_cast<PacketType>(in.i32());
    packet.zxid.value = in.i64();
    std::optional<std::string_view> data = in.buffer();
    if (!in.ok() || in.rest().size() < 4) break;
    if (data) packet.data = make_payload(std::string(*data));
    packet.identities = tree::read_identities(in);
    if (!in.ok()) {
      if (input.size() > kMaxPacketBytes) status = Status::failed("packet longer than any can be");
      break;
    }
    input = in.rest();
    if (packet.type == PacketType::kSnap) {
      loader_ = std::make_unique<tree::SnapshotLoader>(true);
      snapshot_zxid_ = packet.zxid;
    }
    handlers.packet(std::move(packet));
    completed = true;
  }
  if (!completed && !bytes.empty() && status.ok() && handlers.part) handlers.part();
  buffer_.erase(0, buffer_.size() - input.size());
  return status;
}

Status LinkReader::feed_snapshot(std::string_view& input, const Handlers& handlers) {
  if (loader_ != nullptr && !signature_next_) {
    switch (loader_->feed(input)) {
      case tree::SnapshotLoader::State::kMore:
        return {};
      case tree::SnapshotLoader::State::kBad:
        return Status::failed("malformed snapshot stream");
      case tree::SnapshotLoader::State::kDone:
        signature_next_ = true;
    }
  }
  switch (loader_->feed_times(input)) {
    case tree::SnapshotLoader::State::kMore:
      return {};
    case tree::SnapshotLoader::State::kBad:
      return Status::failed("malformed times in the snapshot stream");
    case tree::SnapshotLoader::State::kDone:
      break;
  }
  if (input.size() < 4 + kSnapshotSignature.size()) return {};
  Reader in(input);
  if (in.string() != kSnapshotSignature) {
    return Status::failed("the snapshot stream has no signature");
  }
  input = in.rest();
  signature_next_ = false;
  handlers.snapshot(loader_->finish(snapshot_zxid_));
  loader_.reset();
  return {};
}

}  // namespace zabfs::consensus
