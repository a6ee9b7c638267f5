// What hostile peers say to a node that leads: on the quorum port as strangers, as a member that
// joined and forwards requests, and votes. Whatever it is, the node goes on, and who is no member's
// session changes nothing that it may not.
//
// Each step is three bytes, what is done, on which link and how many bytes it takes, and these.
#include <cstdio>
#include <cstdlib>

#include "unit/lone_replica.h"

namespace zabfs::consensus {
namespace {

constexpr size_t kMaxSteps = 200;
constexpr LinkId kLinks = 4;
constexpr const char* kSecret = "/closed/secret";

class Node : public LoneReplica {
 public:
  Node() {
    config_.super_digest = "super:secret";
    start();
    tree::AclList nobody{{tree::kPermAll, {"digest", "nobody:x"}}};
    // Nobody may remove it, either: that is its parent's to say.
    for (const char* path : {"/closed", kSecret}) {
      std::string body = tree::create_body(path, "kept", nobody, tree::kCreatePersistent);
      on_strand([&] {
        replica_->submit(tree::superuser_request({}, ++cxid_, tree::OpCode::kCreate, body),
                         nullptr);
      });
    }
    tree::Request session = tree::superuser_request(kOurs, 0, tree::OpCode::kCreateSession,
                                                    tree::create_session_body(1 << 30));
    on_strand([&] { replica_->submit(session, nullptr); });
    run();
  }

  void live_through(std::string_view input) {
    for (size_t i = 0; i < kMaxSteps && input.size() >= 3; ++i) {
      auto byte = [&](size_t at) { return static_cast<uint8_t>(input[at]); };
      uint8_t kind = byte(0), link = byte(1), length = byte(2);
      input.remove_prefix(3);
      std::string_view bytes = input.substr(0, length);
      input.remove_prefix(bytes.size());
      step(kind % 8, LinkId{1} + link % kLinks, bytes);
    }
    run();
    const tree::ZNode* secret = replica_->tree().find(kSecret);
    if (secret == nullptr || secret->data.view() != "kept") die("a secret was written to");
    if (!replica_->tree().sessions().contains(kOurs)) die("another's session was closed");
    if (!replica_->is_serving()) die("it does not lead any more");
    if (replica_->zab().epoch() != 1) die("its epoch moved");
  }

 private:
  static constexpr SessionId kOurs{int64_t{1} << 56 | 9};
  static constexpr SessionId kTheirs{int64_t{2} << 56 | 9};

  void step(int kind, LinkId link, std::string_view bytes) {
    switch (kind) {
      case 0:
        readers_[link] = {};
        return on_strand([&] { replica_->on_link_accepted(link); });
      case 1:
        return take(link, bytes);
      case 2: {  // says well who it is, where a byte says so, and joins
        ServerId id{bytes.empty() ? 2 : bytes[0]};
        LearnerInfo info{id, 0, bytes.size() % 2 == 0};
        receive(link, Packet(PacketType::kObserverInfo, Zxid{}, encode_learner_info(info)));
        std::string epoch;
        tree::jute::Writer(epoch).i32(0);
        receive(link, Packet(PacketType::kAckEpoch, Zxid{}, epoch));
        return receive(link, Packet(PacketType::kAck, Zxid::make(1, 0)));
      }
      case 3:
      case 4:
        return forward(link, kind == 3 ? kOurs : kTheirs, bytes);
      case 5: {
        std::optional<Notification> vote = decode_notification(bytes);
        if (vote) on_strand([&] { replica_->on_vote(ServerId{int64_t(link)}, *vote); });
        return;
      }
      case 6:
        return run();
      default:
        return pass(10);
    }
  }

  // To say that a client has come to it, that its mount has a session, and that root of its machine
  // is one of its clients.
  static bool is_in_a_members_power(const Packet& packet) {
    if (packet.type == PacketType::kRevalidate) return true;
    if (packet.type != PacketType::kRequest) return false;
    tree::jute::Reader in(packet.bytes());
    SessionId session{in.i64()};
    in.i32();
    bool attaches = in.i32() == static_cast<int32_t>(tree::OpCode::kExtAttach);
    bool is_root = std::any_of(packet.identities.begin(), packet.identities.end(),
                               [](const tree::Id& id) { return id.scheme == tree::kUidScheme; });
    return (attaches && session == kOurs) || (tree::is_mounts(session) && session != SessionId{}) ||
           is_root;
  }

  // As the socket would give it.
  void take(LinkId link, std::string_view bytes) {
    LinkReader::Handlers handlers;
    handlers.packet = [&](Packet packet) {
      if (!is_in_a_members_power(packet)) receive(link, std::move(packet));
    };
    handlers.snapshot = [&](std::unique_ptr<tree::Tree> tree) {
      on_strand([&] { replica_->on_snapshot(link, std::move(tree)); });
    };
    handlers.part = [&] { on_strand([&] { replica_->on_part(link); }); };
    if (readers_[link].feed(bytes, handlers).ok()) return;
    readers_[link] = {};
    on_strand([&] { replica_->on_link_down(link); });
  }

  // A request in that session, its type, cxid and body from `bytes`, as whoever is wished.
  void forward(LinkId link, SessionId session, std::string_view bytes) {
    if (bytes.size() < 4) return;
    static constexpr tree::OpCode kTypes[] = {
        tree::OpCode::kCreateSession, tree::OpCode::kCloseSession,
        tree::OpCode::kSetData,       tree::OpCode::kDelete,
        tree::OpCode::kSetAcl,        tree::OpCode::kMulti,
        tree::OpCode::kReconfig,      tree::OpCode::kDeleteContainer,
        tree::OpCode::kExtWrite,      tree::OpCode::kExtAttach,
        tree::OpCode::kSync,          tree::OpCode::kExtRemove};
    tree::OpCode type = kTypes[static_cast<uint8_t>(bytes[0]) % std::size(kTypes)];
    std::string data;
    tree::jute::Writer out(data);
    out.i64(session.value);
    out.i32(bytes[1]);
    out.i32(static_cast<int32_t>(type));
    out.raw(bytes[3] % 2 == 0 ? body_of(type) : bytes.substr(4));
    Packet packet(PacketType::kRequest, Zxid{bytes[2]}, std::move(data));
    packet.identities = {{"super", ""}, {"digest", std::string(bytes.substr(4, 12))}};
    if (!is_in_a_members_power(packet)) receive(link, std::move(packet));
  }

  static std::string body_of(tree::OpCode type) {
    if (type == tree::OpCode::kSetData) return tree::set_data_body(kSecret, "taken", -1);
    if (type == tree::OpCode::kDelete) return tree::delete_body(kSecret, -1);
    if (type == tree::OpCode::kDeleteContainer) return kSecret;
    if (type == tree::OpCode::kSetAcl) return tree::set_acl_body(kSecret, tree::open_acl(), -1);
    if (type == tree::OpCode::kMulti) {
      return tree::multi_body({{tree::OpCode::kDelete, tree::delete_body(kSecret, -1)}});
    }
    tree::ExtWrite write;
    write.path = kSecret;
    write.data = "taken";
    if (type == tree::OpCode::kExtWrite) return encode(write);
    return tree::create_session_body(5'000);
  }

  void die(const std::string& why) override {
    std::fprintf(stderr, "the node ended: %s\n", why.c_str());
    std::abort();
  }

  std::map<LinkId, LinkReader> readers_;
};

}  // namespace
}  // namespace zabfs::consensus

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  zabfs::consensus::Node node;
  node.live_through({reinterpret_cast<const char*>(data), size});
  return 0;
}
