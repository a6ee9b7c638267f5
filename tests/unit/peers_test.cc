// What a leader takes from other members, and gives them.
#include <gtest/gtest.h>

#include "tree/snapshot.h"
#include "unit/lone_replica.h"
#include "unit/numbers.h"

namespace zabfs::consensus {
namespace {

using tree::Identities;
using tree::OpCode;

const ServerId kObserver{2};
const Identities kSuperuser{{"super", ""}};

class PeersTest : public testing::Test, public LoneReplica {
 protected:
  void SetUp() override {
    start();
    ASSERT_TRUE(replica_->is_serving());
    make("/secret", tree::AclList{{tree::kPermAll, {"digest", "nobody:x"}}});
    make("/theirs", tree::AclList{{tree::kPermAll, {"ip", "10.0.0.1"}}});
  }
  void make(const std::string& path, const tree::AclList& acl) {
    on_strand([&] {
      replica_->submit(
          tree::superuser_request({}, ++cxid_, OpCode::kCreate,
                                  tree::create_body(path, "kept", acl, tree::kCreatePersistent)),
          nullptr);
    });
    run();
  }
  void join(LinkId link, ServerId id = kObserver, Zxid accepted = Zxid{}) {
    on_strand([&] { replica_->on_link_accepted(link); });
    receive(link, Packet(PacketType::kObserverInfo, accepted, encode_learner_info({id, 0, true})));
    std::string epoch;
    tree::jute::Writer(epoch).i32(0);
    receive(link, Packet(PacketType::kAckEpoch, Zxid{}, std::move(epoch)));
    receive(link, Packet(PacketType::kAck, Zxid::make(replica_->zab().epoch(), 0)));
    run();
  }
  void forward(SessionId session, OpCode type, const std::string& body, Identities identities,
               int32_t cxid = 1, Zxid attachment = tree::kFirstAttachment) {
    std::string data;
    tree::jute::Writer out(data);
    out.i64(session.value);
    out.i32(cxid);
    out.i32(static_cast<int32_t>(type));
    out.raw(body);
    Packet packet(PacketType::kRequest, attachment, std::move(data));
    packet.identities = std::move(identities);
    receive(kLink, std::move(packet));
    run();
  }
  void open_session(SessionId session, Identities identities = {}) {
    forward(session, OpCode::kCreateSession, tree::create_session_body(5'000),
            std::move(identities), 0);
  }
  void write(SessionId session, const std::string& path, const std::string& text,
             Identities identities, Zxid attachment = tree::kFirstAttachment) {
    forward(session, OpCode::kSetData, tree::set_data_body(path, text, -1), std::move(identities),
            ++cxid_, attachment);
  }
  // What a server of Apache ZooKeeper is told of a session whose client has come to it.
  std::optional<bool> revalidate(SessionId session) {
    sent_[kLink].clear();
    std::string data;
    tree::jute::Writer out(data);
    out.i64(session.value);
    out.i32(5'000);
    receive(kLink, Packet(PacketType::kRevalidate, Zxid{-1}, std::move(data)));
    run();
    std::optional<bool> lives;
    LinkReader reader;
    LinkReader::Handlers handlers;
    handlers.packet = [&](const Packet& packet) {
      if (packet.type != PacketType::kRevalidate) return;
      tree::jute::Reader in(packet.bytes());
      EXPECT_EQ(in.i64(), session.value);
      lives = in.boolean();
    };
    EXPECT_EQ(reader.feed(sent_[kLink], handlers).why(), "");
    return lives;
  }
  bool has_session(SessionId session) const {
    return replica_->tree().sessions().contains(session);
  }
  std::string data(const std::string& path) const {
    const tree::ZNode* node = replica_->tree().find(path);
    return node == nullptr ? "gone" : std::string(node->data.view());
  }
  // What was sent on a link, by type.
  size_t count_sent(LinkId link, PacketType type) {
    size_t count = 0;
    LinkReader reader;
    LinkReader::Handlers handlers;
    handlers.packet = [&](const Packet& packet) { count += packet.type == type; };
    handlers.snapshot = [](std::unique_ptr<tree::Tree>) {};
    EXPECT_EQ(reader.feed(sent_[link], handlers).why(), "");
    return count;
  }
  static std::string everything(ServerId who) {
    std::string data;
    tree::jute::Writer out(data);
    out.count(1);
    out.i64(0);
    out.i64(Zxid::make(9, 0).value);
    if (who != ServerId{}) out.raw(encode_learner_info({who, 0, true}));
    return data;
  }
  void fetch(LinkId link, ServerId who) {
    on_strand([&] { replica_->on_link_accepted(link); });
    receive(link, Packet(PacketType::kFetchTxns, Zxid{}, everything(who)));
    run();
  }
  void die(const std::string& why) override { FAIL() << why; }

  const SessionId own_{int64_t{2} << 56 | 7};     // of a client of the observer's
  const SessionId mounts_{int64_t{2} << 48 | 7};  // of its mount
  const SessionId others_{int64_t{1} << 56 | 7};  // of a client of this node's
  const SessionId our_mounts_{int64_t{1} << 48 | 7};
};

TEST_F(PeersTest, AStrangerLearnsNothing) {
  join(kLink, ServerId{7});
  EXPECT_EQ(sent_[kLink], "");
  config_.reconfig_enabled = true;
  start();
  join(kLink, ServerId{7});
  EXPECT_EQ(count_sent(kLink, PacketType::kUpToDate), 1u);
}

TEST_F(PeersTest, AnEpochNearItsEndIsRefused) {
  join(kLink, kObserver, Zxid::make(0x7fffff00, 0));
  EXPECT_EQ(sent_[kLink], "");
  join(kLink + 1, kObserver, Zxid::make(0xfffffff0, 0));
  EXPECT_EQ(sent_[kLink + 1], "");
  EXPECT_TRUE(replica_->is_serving());
}

TEST_F(PeersTest, OnlyMembersFetchFromTheLog) {
  fetch(11, ServerId{});  // says nothing of itself
  fetch(12, ServerId{7});
  for (LinkId link : {LinkId{11}, LinkId{12}}) {
    EXPECT_EQ(count_sent(link, PacketType::kProposal), 0u);
    EXPECT_EQ(count_sent(link, PacketType::kFetchTxns), 1u);
  }
  fetch(13, kObserver);
  EXPECT_GE(count_sent(13, PacketType::kProposal), 2u);
}

TEST_F(PeersTest, WhatIsFetchedAtOnceHasABound) {
  config_.max_fetch_bytes = 3'000;
  start();
  for (int i = 0; i < 20; ++i) create("/c" + std::to_string(i), 1'000);
  run();
  fetch(11, kObserver);
  EXPECT_GE(count_sent(11, PacketType::kProposal), 2u);
  EXPECT_LE(sent_[11].size(), 5'000u);
  // One at a time.
  on_strand([&] {
    for (LinkId link : {LinkId{12}, LinkId{13}}) {
      replica_->on_link_accepted(link);
      replica_->on_packet(link, Packet(PacketType::kFetchTxns, Zxid{}, everything(kObserver)));
    }
  });
  run();
  EXPECT_EQ(count_sent(12, PacketType::kFetchTxns), 1u);
  EXPECT_EQ(count_sent(13, PacketType::kProposal), 0u);
  EXPECT_EQ(count_sent(13, PacketType::kFetchTxns), 1u);  // that it is busy
}

TEST_F(PeersTest, AMemberSpeaksForItsOwnSessions) {
  join(kLink);
  on_strand([&] {
    for (SessionId session : {others_, our_mounts_}) {
      replica_->submit(tree::superuser_request(session, 0, OpCode::kCreateSession,
                                               tree::create_session_body(5'000)),
                       nullptr);
    }
  });
  run();
  open_session(own_);
  EXPECT_TRUE(has_session(own_));
  open_session(SessionId{int64_t{1} << 56 | 9});
  EXPECT_FALSE(has_session(SessionId{int64_t{1} << 56 | 9}));
  Zxid before = replica_->tree().last_zxid();
  for (SessionId session : {others_, our_mounts_, SessionId{}}) {
    for (Zxid attachment : {Zxid{0}, Zxid::make(9, 9)}) {
      write(session, "/theirs", "taken", {{"ip", "10.0.0.1"}}, attachment);
      forward(session, OpCode::kCloseSession, "", {}, ++cxid_, attachment);
    }
  }
  forward(own_, OpCode::kDeleteContainer, "/secret", {}, ++cxid_);
  EXPECT_EQ(data("/theirs"), "kept");
  EXPECT_EQ(data("/secret"), "kept");
  EXPECT_TRUE(has_session(others_) && has_session(our_mounts_));
  EXPECT_EQ(replica_->tree().last_zxid(), before);  // nothing of it is in the log
  write(own_, "/theirs", "new", {{"ip", "10.0.0.1"}});
  EXPECT_EQ(data("/theirs"), "new");
}

TEST_F(PeersTest, ASessionComesToAMemberByAnAttachOfItsOwn) {
  join(kLink);
  on_strand([&] {
    replica_->submit(tree::superuser_request(others_, 0, OpCode::kCreateSession,
                                             tree::create_session_body(5'000)),
                     nullptr);
  });
  run();
  std::string body = tree::create_session_body(5'000);
  forward(others_, OpCode::kExtAttach, body, {}, tree::attach_cxid(5, 3), tree::kNoAttachment);
  write(others_, "/theirs", "early", {{"ip", "10.0.0.1"}}, Zxid::make(9, 9));
  EXPECT_EQ(data("/theirs"), "kept");
  join(kLink);  // who keeps no attachments is cut off
  forward(others_, OpCode::kExtAttach, body, {}, tree::attach_cxid(5, 2), tree::kNoAttachment);
  Zxid attachment = replica_->tree().sessions().at(others_).attachment;
  EXPECT_EQ(attachment, replica_->tree().last_zxid());
  write(others_, "/theirs", "new", {{"ip", "10.0.0.1"}}, attachment);
  EXPECT_EQ(data("/theirs"), "new");
  // It stays there when the leader begins anew, from a snapshot, too.
  on_strand([this] { replica_->take_snapshot(); });
  run();
  start();
  EXPECT_EQ(replica_->tree().sessions().at(others_).home, 2);
}

// Its client comes back to a server of Apache ZooKeeper while the close is on its way to the disk.
TEST_F(PeersTest, ASessionThatClosesIsNotRevalidated) {
  join(kLink);
  open_session(own_);
  EXPECT_EQ(revalidate(own_), true);
  std::string close;
  tree::jute::Writer out(close);
  out.i64(own_.value);
  out.i32(1);
  out.i32(static_cast<int32_t>(OpCode::kCloseSession));
  receive(kLink, Packet(PacketType::kRequest, tree::kNoAttachment, std::move(close)));
  ASSERT_TRUE(has_session(own_));
  EXPECT_EQ(revalidate(own_), false);
  EXPECT_FALSE(has_session(own_));
}

TEST_F(PeersTest, NobodyIsTheSuperuserOutOfTheBlue) {
  config_.super_digest = "super:right";
  start();
  join(kLink);
  open_session(own_);
  for (const Identities& identities : {kSuperuser, Identities{{"super", ""}, {"digest", ""}},
                                       Identities{{"super", ""}, {"x509", ""}},
                                       Identities{{"super", ""}, {"digest", "super:wrong"}}}) {
    write(own_, "/secret", "taken", identities);
    EXPECT_EQ(data("/secret"), "kept");
  }
  write(own_, "/secret", "new", {{"super", ""}, {"digest", "super:right"}});
  EXPECT_EQ(data("/secret"), "new");
  open_session(mounts_);
  write(mounts_, "/secret", "newer", kSuperuser);
  EXPECT_EQ(data("/secret"), "newer");
}

TEST_F(PeersTest, WhoAClientIsDoesNotChangeWhileItIsThere) {
  join(kLink);
  open_session(own_, {{"ip", "10.0.0.2"}});
  write(own_, "/theirs", "taken", {{"ip", "10.0.0.1"}});
  write(own_, "/theirs", "taken", {{"ip", "10.0.0.2"}, {"ip", "10.0.0.1"}});
  write(own_, "/theirs", "taken", {{"super", ""}, {std::string(tree::kUidScheme), "0"}});
  EXPECT_EQ(data("/theirs"), "kept");
}

}  // namespace
}  // namespace zabfs::consensus
