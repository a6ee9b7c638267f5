#include "consensus/messages.h"

#include <gtest/gtest.h>

#include <random>

namespace zabfs::consensus {
namespace {

std::string hex(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (char c : bytes) {
    text += kDigits[static_cast<uint8_t>(c) >> 4];
    text += kDigits[static_cast<uint8_t>(c) & 15];
  }
  return text;
}

std::string encoded(const Packet& packet) {
  std::string bytes;
  encode_packet(packet, bytes);
  return bytes;
}

// The bytes of a Java ensemble's handshake (FORMATS.md 3.3).
TEST(Messages, PacketsHaveJavasBytes) {
  EXPECT_EQ(hex(encoded(Packet(PacketType::kDiff, Zxid{}))),
            "0000000d0000000000000000ffffffffffffffff");
  EXPECT_EQ(hex(encoded(Packet(PacketType::kAck, Zxid::make(1, 0)))),
            "000000030000000100000000ffffffffffffffff");
  EXPECT_EQ(hex(encoded(Packet(PacketType::kUpToDate, Zxid{-1}))),
            "0000000cffffffffffffffffffffffffffffffff");
  std::string info = encode_learner_info({ServerId{1}, 0, true});
  EXPECT_EQ(hex(info.substr(0, 20)), "0000000000000001000100000000000000000000");
  EXPECT_EQ(hex(encode_leader_info(0, "").substr(0, 4)), "00010000");
}

TEST(Messages, CapabilitiesTrailAndAreOptional) {
  EXPECT_TRUE(decode_learner_info(encode_learner_info({ServerId{3}, 7, true}))->is_zabfs);
  std::string java = encode_learner_info({ServerId{3}, 7, true}).substr(0, 20);
  EXPECT_FALSE(decode_learner_info(java)->is_zabfs);
  EXPECT_EQ(decode_learner_info(java)->config_version, 7);
  EXPECT_EQ(decode_learner_info(java.substr(0, 8))->id, ServerId{3});
  EXPECT_FALSE(decode_learner_info("abc"));
  LearnerInfo with_version{ServerId{3}, 7, true, 5, true, "0.1.0"};
  std::string bytes = encode_learner_info(with_version);
  EXPECT_EQ(decode_learner_info(bytes)->version, "0.1.0");
  // Cut short, as an older one of ours, or by somebody who means no good.
  for (size_t size = 20; size < bytes.size(); ++size) {
    EXPECT_EQ(decode_learner_info(bytes.substr(0, size))->version, "") << size;
  }
  for (const char* no_version :
       {"0.1\n", "0 1", "\x1b[2J", "0.0000000000000000000000000000000000"}) {
    with_version.version = no_version;
    EXPECT_EQ(decode_learner_info(encode_learner_info(with_version))->version, "");
  }
  EXPECT_TRUE(decode_leader_info(encode_leader_info(0, "")).is_zabfs);
  const std::string secret(kSecretBytes, 's');
  EXPECT_EQ(decode_leader_info(encode_leader_info(5, secret)).secret, secret);
  EXPECT_EQ(decode_leader_info(encode_leader_info(5, "")).secret, "");
  EXPECT_FALSE(decode_leader_info(encode_leader_info(0, "").substr(0, 4)).is_zabfs);
}

TEST(Messages, NotificationsComeBackAndShortFormsAreRead) {
  Notification n{PeerState::kLeading, {ServerId{2}, Zxid::make(3, 4), 5}, 6, "config", ""};
  std::string bytes = encode_notification(n);
  EXPECT_EQ(bytes.size(), 44u + 6u);
  std::optional<Notification> back = decode_notification(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->vote, n.vote);
  EXPECT_EQ(back->round, 6);
  EXPECT_EQ(back->config, "config");
  EXPECT_EQ(decode_notification(bytes.substr(0, 28))->vote.peer_epoch, 3);
  EXPECT_FALSE(decode_notification(bytes.substr(0, 27)));
  EXPECT_FALSE(decode_notification(std::string(44, '\x7f')));
}

TEST(Messages, HelloHasJavasBytes) {
  EXPECT_EQ(hex(encode_hello({ServerId{2}, "h:1"})),
            "ffffffffffff0000000000000000000200000003683a31");
}

TEST(LinkReader, TakesPacketsInPiecesOfAnySize) {
  Packet packet(PacketType::kRequest, Zxid{-1}, std::string("data"));
  packet.identities = {{"ip", "1.2.3.4"}};
  std::string stream = encoded(packet) + encoded(Packet(PacketType::kCommit, Zxid{7}));
  for (size_t piece : {1u, 3u, 1'000u}) {
    LinkReader reader;
    std::vector<Packet> got;
    LinkReader::Handlers handlers{[&got](Packet p) { got.push_back(std::move(p)); }, nullptr};
    for (size_t at = 0; at < stream.size(); at += piece) {
      EXPECT_EQ(reader.feed(stream.substr(at, piece), handlers).why(), "");
    }
    ASSERT_EQ(got.size(), 2u);
    EXPECT_EQ(got[0].bytes(), "data");
    EXPECT_EQ(got[0].identities[0].id, "1.2.3.4");
    EXPECT_EQ(got[1].data, nullptr);
  }
}

TEST(LinkReader, ReadsASnapshotBetweenPackets) {
  tree::Tree tree;
  std::unique_ptr<tree::SnapshotCursor> cursor = tree.begin_snapshot();
  std::string stream = encoded(Packet(PacketType::kSnap, Zxid::make(2, 3)));
  while (cursor->next(stream, 100)) {
  }
  stream += std::string("\0\0\0\x0a", 4) + std::string(kSnapshotSignature);
  stream += encoded(Packet(PacketType::kNewLeader, Zxid::make(3, 0)));
  for (size_t piece : {1u, 64u, 100'000u}) {
    LinkReader reader;
    std::vector<PacketType> got;
    Zxid snapshot;
    LinkReader::Handlers handlers;
    handlers.packet = [&got](const Packet& p) { got.push_back(p.type); };
    handlers.snapshot = [&](std::unique_ptr<tree::Tree> t) { snapshot = t->last_zxid(); };
    for (size_t at = 0; at < stream.size(); at += piece) {
      EXPECT_EQ(reader.feed(stream.substr(at, piece), handlers).why(), "");
    }
    EXPECT_EQ(got, (std::vector<PacketType>{PacketType::kSnap, PacketType::kNewLeader}));
    EXPECT_EQ(snapshot, Zxid::make(2, 3));
  }
}

TEST(LinkReader, TakesTheIdentitiesOfAServerThatBoundsNone) {
  Packet packet(PacketType::kRequest, Zxid{-1}, std::string("x"));
  for (int i = 0; i < 2'000; ++i) packet.identities.push_back({"digest", std::to_string(i)});
  size_t got = 0;
  LinkReader::Handlers handlers{[&got](const Packet& p) { got = p.identities.size(); },
                                [](std::unique_ptr<tree::Tree>) {}};
  EXPECT_EQ(LinkReader().feed(encoded(packet), handlers).why(), "");
  EXPECT_EQ(got, 2'000u);
}

TEST(LinkReader, RefusesGarbageAndNeverCrashes) {
  std::mt19937 random(1);
  LinkReader::Handlers handlers{[](const Packet&) {}, [](std::unique_ptr<tree::Tree>) {}};
  for (int round = 0; round < 2'000; ++round) {
    std::string bytes = encoded(Packet(static_cast<PacketType>(1 + random() % 19), Zxid{5},
                                       std::string(random() % 60, 'x')));
    for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    LinkReader reader;
    static_cast<void>(reader.feed(bytes, handlers));
    static_cast<void>(reader.feed(bytes, handlers));
  }
  LinkReader reader;
  EXPECT_NE(reader.feed("GET / HTTP/1.0\r\n\r\n", handlers).why(), "");
  std::string oversized = encoded(Packet(PacketType::kProposal, Zxid{1}));
  oversized.replace(12, 4, std::string("\x7f\xff\xff\xff", 4));
  EXPECT_NE(LinkReader().feed(oversized, handlers).why(), "");
}

}  // namespace
}  // namespace zabfs::consensus
