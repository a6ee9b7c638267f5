#include "fsd/migrate/live_copy.h"

#include <gtest/gtest.h>

#include "tree/acl.h"
#include "tree/jute.h"
#include "tree/path.h"
#include "unit/live_leader.h"

namespace zabfs::migrate {
namespace {

using consensus::LeaderInfo;
using consensus::Packet;
using consensus::PacketType;
using tree::ServerId;
using tree::Zxid;

constexpr ServerId kMe{int64_t{1} << 50};

// What the copy says, decoded.
std::vector<Packet> said_by(LiveCopy& copy) {
  std::vector<Packet> packets;
  consensus::LinkReader reader;
  consensus::LinkReader::Handlers handlers;
  handlers.packet = [&packets](Packet packet) { packets.push_back(std::move(packet)); };
  EXPECT_TRUE(reader.feed(copy.take_outgoing(), handlers).ok());
  return packets;
}

TEST(LiveCopy, IsExactAtTheLastTransactionBeforeUpToDate) {
  LiveLeader leader;
  leader.create("/a", 1);
  LiveCopy copy(kMe);
  std::vector<Packet> said = said_by(copy);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0].type, PacketType::kObserverInfo);
  EXPECT_EQ(consensus::decode_learner_info(said[0].bytes())->id, kMe);
  EXPECT_FALSE(copy.has_leader());

  ASSERT_TRUE(copy.feed(leader.info()).ok());
  EXPECT_TRUE(copy.has_leader());
  said = said_by(copy);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0].type, PacketType::kAckEpoch);

  // The snapshot is said to be at 1, and has parts of 2 already.
  std::string begins = leader.snap(1);
  leader.create("/b", 2);
  ASSERT_TRUE(copy.feed(begins + leader.snapshot()).ok());
  ASSERT_TRUE(copy.feed(leader.inform(2)).ok());
  leader.create("/c", 3);
  ASSERT_TRUE(copy.feed(leader.proposal(3) + leader.commit(3) + leader.new_leader()).ok());
  said = said_by(copy);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_EQ(said[0].type, PacketType::kAck);
  EXPECT_EQ(said[0].zxid, Zxid::make(kLiveEpoch, 0));
  leader.create("/d", 4);
  ASSERT_TRUE(copy.feed(leader.inform(4) + leader.ping()).ok());
  EXPECT_EQ(said_by(copy).at(0).type, PacketType::kPing);
  EXPECT_FALSE(copy.is_done());
  leader.create("/e", 5);
  ASSERT_TRUE(copy.feed(leader.up_to_date()).ok());
  ASSERT_TRUE(copy.is_done());

  StatusOr<JavaData> data = copy.finish();
  ASSERT_TRUE(data.ok()) << data.why();
  EXPECT_EQ(data->tree->last_zxid(), Zxid::make(kLiveEpoch, 4));
  EXPECT_EQ(data->current_epoch, kLiveEpoch);
  EXPECT_EQ(data->accepted_epoch, kLiveEpoch);
  EXPECT_EQ(data->txns, 3u);
  EXPECT_EQ(data->digests, 3u);
  EXPECT_TRUE(data->doubts.empty());
  for (const char* path : {"/a", "/b", "/c", "/d"}) EXPECT_NE(data->tree->find(path), nullptr);
  EXPECT_EQ(data->tree->find("/e"), nullptr);
}

TEST(LiveCopy, GoesOnWithWhatItIsFed) {
  LiveLeader leader;
  leader.open_session(tree::SessionId{9}, 1);
  std::string all = leader.info() + leader.snap(1) + leader.snapshot();
  all += leader.new_leader() + leader.up_to_date();
  LiveCopy copy(kMe);
  EXPECT_FALSE(copy.has_snapshot());
  ASSERT_TRUE(copy.feed(all).ok());
  EXPECT_TRUE(copy.has_snapshot());
  ASSERT_TRUE(copy.is_done());
  EXPECT_TRUE(copy.has_session(tree::SessionId{9}));
  leader.close_session(tree::SessionId{9}, 2);
  ASSERT_TRUE(copy.feed(leader.inform(2)).ok());
  EXPECT_FALSE(copy.has_session(tree::SessionId{9}));
  StatusOr<JavaData> data = copy.finish();
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(data->tree->last_zxid(), Zxid::make(kLiveEpoch, 2));
  EXPECT_EQ(data->digests, 1u);
  EXPECT_TRUE(data->doubts.empty());
}

TEST(LiveCopy, TakesBytesInAnyPieces) {
  LiveLeader leader;
  leader.create("/a", 1);
  std::string all = leader.info() + leader.snap(1) + leader.snapshot();
  leader.create("/b", 2);
  all += leader.inform(2) + leader.new_leader() + leader.up_to_date();
  LiveCopy copy(kMe);
  for (char byte : all) ASSERT_TRUE(copy.feed({&byte, 1}).ok());
  EXPECT_TRUE(copy.is_done());
  EXPECT_NE(copy.finish()->tree->find("/b"), nullptr);
}

TEST(LiveCopy, SaysIfTheTreeHasAnotherDigest) {
  LiveLeader leader;
  leader.create("/a", 1);
  std::string all = leader.info() + leader.snap(1) + leader.snapshot();
  leader.create("/b", 2, leader.digest() + 1);
  all += leader.inform(2) + leader.new_leader() + leader.up_to_date();
  LiveCopy copy(kMe);
  ASSERT_TRUE(copy.feed(all).ok());
  StatusOr<JavaData> data = copy.finish();
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(data->digests, 1u);
  EXPECT_EQ(data->doubts.size(), 1u);
}

TEST(LiveCopy, RefusesALeaderThatIsZabfs) {
  LiveCopy copy(kMe);
  std::string bytes;
  encode_packet(Packet(PacketType::kLeaderInfo, Zxid::make(kLiveEpoch, 0),
                       consensus::encode_leader_info(7, std::string(32, 's'))),
                bytes);
  Status status = copy.feed(bytes);
  EXPECT_NE(status.why().find("zabfs backup"), std::string::npos) << status.why();
}

TEST(LiveCopy, RefusesWhatIsNoCopy) {
  LiveLeader leader;
  leader.create("/a", 1);
  std::string begins = leader.info() + leader.snap(1) + leader.snapshot();
  leader.create("/b", 2);
  leader.create("/c", 3);
  std::string diff;
  encode_packet(Packet(PacketType::kDiff, Zxid::make(kLiveEpoch, 1)), diff);
  const std::string bad[] = {
      leader.info() + diff + leader.new_leader(),  // no snapshot
      begins + leader.inform(3),                   // a gap
      begins + leader.commit(2),                   // of nothing
      begins + leader.up_to_date(),                // before NEWLEADER
      begins + leader.snap(1),                     // once more
      leader.info() + leader.inform(2),            // before the snapshot
      begins + leader.inform(2, "no txn"),
      leader.inform(2),  // before LEADERINFO
  };
  for (const std::string& bytes : bad) {
    LiveCopy copy(kMe);
    EXPECT_FALSE(copy.feed(bytes).ok());
    EXPECT_FALSE(copy.is_done());
  }
}

TEST(LiveCopy, DoesNotKeepProposalsWithoutEnd) {
  LiveLeader leader;
  LiveCopy copy(kMe);
  ASSERT_TRUE(copy.feed(leader.info() + leader.snap(0) + leader.snapshot()).ok());
  constexpr size_t kEach = size_t{1} << 20;
  Status status;
  size_t sent = 0;
  for (uint32_t i = 1; status.ok() && sent < 2 * LiveCopy::kMaxWaitingBytes; ++i, sent += kEach) {
    status = copy.feed(leader.proposal(i, std::string(kEach, 'x')));
  }
  EXPECT_LE(sent, LiveCopy::kMaxWaitingBytes);
  EXPECT_NE(status.why().find("without a word that they count"), std::string::npos);
}

TEST(LiveCopy, KeepsNothingOfWhatItIsInformedOfBehindNewLeader) {
  LiveLeader leader;
  LiveCopy copy(kMe);
  ASSERT_TRUE(
      copy.feed(leader.info() + leader.snap(0) + leader.snapshot() + leader.new_leader()).ok());
  constexpr size_t kEach = size_t{1} << 20;
  uint32_t counter = 0;
  leader.create("/a", ++counter);
  ASSERT_TRUE(copy.feed(leader.inform(counter)).ok());
  for (size_t sent = 0; sent <= LiveCopy::kMaxWaitingBytes; sent += kEach) {
    leader.set_data("/a", std::string(kEach, 'x'), ++counter);
    ASSERT_TRUE(copy.feed(leader.inform(counter)).ok());
  }
  ASSERT_TRUE(copy.feed(leader.up_to_date()).ok());
  StatusOr<JavaData> data = copy.finish();
  ASSERT_TRUE(data.ok());
  EXPECT_EQ(data->tree->last_zxid(), Zxid::make(kLiveEpoch, counter));
  EXPECT_TRUE(data->doubts.empty());
}

}  // namespace
}  // namespace zabfs::migrate
