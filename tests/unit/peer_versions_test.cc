// Peers of other releases of ZooKeeper than 3.8.0, as their sources write their messages: what
// each sends that 3.8.0 does not, byte by byte.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "consensus/claims.h"
#include "tree/jute.h"
#include "tree/tree.h"
#include "tree/txn.h"
#include "unit/zab_fixture.h"

namespace zabfs::consensus {
namespace {

using tree::OpCode;
using tree::jute::Writer;

constexpr const char* kUpgrade = "runs ZooKeeper 3.4 or older";

// ---- the election port

std::string hello_start(int64_t version) {
  std::string bytes;
  Writer(bytes).i64(version);
  return bytes;
}

TEST(PeerVersions, HellosOfAllReleasesFrom35OnAreKnown) {
  EXPECT_EQ(hello_problem(hello_start(-65536)), "");  // 3.5, and later without multiAddress.enabled
  EXPECT_EQ(hello_problem(hello_start(-65535)), "");  // from 3.6 on, with it
}

TEST(PeerVersions, AHelloThatIsABareNumberIsOf34) {
  std::string why = hello_problem(hello_start(2));
  EXPECT_NE(why.find("server 2 " + std::string(kUpgrade)), std::string::npos) << why;
  EXPECT_NE(why.find("upgrade it to 3.5 or later"), std::string::npos) << why;
}

TEST(PeerVersions, AHelloOfAVersionToComeIsRefusedByItsNumber) {
  EXPECT_NE(hello_problem(hello_start(-65534)).find("version -65534"), std::string::npos);
  EXPECT_EQ(hello_problem("GET / HT"), "not an election hello");
  EXPECT_EQ(hello_problem(hello_start(-1)), "not an election hello");
  EXPECT_EQ(hello_problem("cut"), "not an election hello");
}

TEST(PeerVersions, SeveralAddressesAreOneServer) {
  const std::string both = "10.0.0.2:3888|[fd00::2]:4888";
  EXPECT_EQ(addresses_in(both), (std::vector<std::string>{"10.0.0.2:3888", "[fd00::2]:4888"}));
  EXPECT_EQ(addresses_in("|a:1||b:2|"), (std::vector<std::string>{"a:1", "b:2"}));
  EXPECT_TRUE(addresses_in("").empty());
  EXPECT_EQ(election_port_in(both, nullptr), "3888");
  EXPECT_EQ(election_port_in("", nullptr), "");
  // Java joins them in no order, and this node may have dialled either.
  for (const char* hello : {"10.0.0.2:3888|[fd00::2]:4888", "[fd00::2]:4888|10.0.0.2:3888"}) {
    Claims claims;
    for (const std::string known : {"3888", "4888"}) {
      Claims::Claim live{"10.0.0.2", known};
      for (int64_t ms : {0, 1'000, 2'000, 3'000, 4'000}) {
        Claims::Claim said{"10.0.0.2", election_port_in(hello, &live.port)};
        EXPECT_EQ(claims.hello(ms, ServerId{3}, ServerId{2}, said, &live), std::nullopt);
      }
    }
    std::string another = "5888";
    EXPECT_NE(election_port_in(hello, &another), another);
  }
}

// From 3.6 on. The role stands once, behind the last address.
TEST(PeerVersions, AConfigurationWithSeveralAddressesIsUnderstood) {
  auto ensemble = parse_ensemble(
      "server.1=10.0.0.1:2888:3888|10.1.0.1:2889:3889:participant;0.0.0.0:2181\n"
      "server.2=10.0.0.2:2888:3888|[fd00::2]:2888:3888:observer\n"
      "server.3=10.0.0.3:2888:3888:participant\nversion=100000000");
  ASSERT_TRUE(ensemble);
  EXPECT_EQ(ensemble->members().at(ServerId{1}).election_port, 3888);
  EXPECT_EQ(ensemble->members().at(ServerId{1}).client_address, "0.0.0.0:2181");
  EXPECT_TRUE(ensemble->members().at(ServerId{2}).observer);
  EXPECT_EQ(ensemble->voter_names(), "1 3");
  // Members of Java's write what is committed into their files.
  EXPECT_EQ(ensemble->text(),
            "server.1=10.0.0.1:2888:3888|10.1.0.1:2889:3889:participant;0.0.0.0:2181\n"
            "server.2=10.0.0.2:2888:3888|[fd00::2]:2888:3888:observer\n"
            "server.3=10.0.0.3:2888:3888:participant\nversion=100000000");
  auto two_roles = parse_member("h:1:2:observer|i:1:2:participant");
  EXPECT_TRUE(std::holds_alternative<MemberError>(two_roles));
}

// FastLeaderElection.buildMsg: from 3.5 on with version 2 and the configuration.
std::string notification(const std::string& config, bool is_of_34 = false) {
  std::string bytes;
  Writer out(bytes);
  out.i32(0);                       // LOOKING
  out.i64(2);                       // the leader
  out.i64(Zxid::make(3, 4).value);  // its zxid
  out.i64(6);                       // electionEpoch
  out.i64(3);                       // peerEpoch
  out.i32(is_of_34 ? 1 : 2);        // version
  if (!is_of_34) out.string(config);
  return bytes;
}

TEST(PeerVersions, VotesOfAllReleasesFrom35OnCount) {
  std::string config = "server.1=h:1:2:participant\nversion=0";
  auto vote = decode_notification(notification(config));
  ASSERT_TRUE(vote);
  EXPECT_EQ(vote->config, config);
  EXPECT_EQ(vote->vote.peer_epoch, 3);
  EXPECT_EQ(problem_of(ServerId{2}, vote), "");
}

TEST(PeerVersions, VotesOf34AreRefusedWithTheReason) {
  std::string of_346 = notification("", true);
  ASSERT_EQ(of_346.size(), 40u);
  for (size_t size : {28u, 36u, 40u}) {  // before 3.4, 3.4.0, from 3.4.6 on
    std::string why = problem_of(ServerId{2}, decode_notification(of_346.substr(0, size)));
    EXPECT_NE(why.find("server 2 " + std::string(kUpgrade)), std::string::npos) << size << why;
  }
  std::string why = problem_of(ServerId{2}, decode_notification(of_346.substr(0, 27)));
  EXPECT_EQ(why, "server 2 sent a malformed notification");
}

// ---- the quorum port: learners of other releases at a leader of ours

// LearnerInfo as releases write it: 8 bytes before 3.4, 12 in 3.4, 20 since.
std::string learner_info(size_t size) {
  std::string bytes;
  Writer out(bytes);
  out.i64(2);
  out.i32(0x10000);
  out.i64(0);
  return bytes.substr(0, size);
}

// Server 3 of three, elected, with two txns of epoch 1. Server 2 comes.
class LeaderOfOthersTest : public ZabFixture {
 protected:
  static constexpr LinkId kLink = 11;
  void SetUp() override {
    make(config(3), state_with(1, 2));
    for (int64_t peer : {1, 2}) {
      vote(peer, PeerState::kLooking, {ServerId{3}, Zxid::make(1, 2), 1}, 1);
    }
    ASSERT_EQ(zab_->role(), Role::kLeading);
    step(event::LinkAccepted{kLink});
  }
  void comes(const std::string& info) {
    receive(kLink, Packet(PacketType::kFollowerInfo, Zxid::make(1, 0), info));
  }
  std::string closed_because() {
    auto closed = all<action::Close>();
    return closed.empty() ? "" : closed[0].reason;
  }
  // Server 2 has made it a leader that serves.
  void establish() {
    comes(learner_info(20));
    step(event::AcceptedEpochSaved{2, true});
    receive(kLink, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(1)));
    step(event::EpochSaved{2});
    receive(kLink, Packet(PacketType::kAck, Zxid::make(2, 0)));
    ASSERT_TRUE(zab_->is_serving());
  }
};

TEST_F(LeaderOfOthersTest, TakesALearnerOf35To39) {
  comes(learner_info(20));
  EXPECT_EQ(closed_because(), "");
  EXPECT_EQ(all<action::SaveAcceptedEpoch>().size(), 1u);
}

TEST_F(LeaderOfOthersTest, RefusesALearnerOf34WithTheReason) {
  for (size_t size : {12u, 8u}) {
    comes(learner_info(size));
    EXPECT_NE(closed_because().find("server 2 " + std::string(kUpgrade)), std::string::npos);
    EXPECT_TRUE(all<action::SaveAcceptedEpoch>().empty());
    EXPECT_EQ(sent(), "");
  }
  receive(kLink, Packet(PacketType::kFollowerInfo, Zxid::make(1, 0)));
  EXPECT_EQ(closed_because(), "malformed LearnerInfo");
}

// What tells a mount's session from others is the top byte, and there this server puts 0.
TEST_F(LeaderOfOthersTest, RefusesAServerWhoseSessionsWouldPassForThoseOfMounts) {
  std::map<ServerId, Member> members = config(3).ensemble.members();
  members[ServerId{256}] = Member{"h", 1, 2, true, ""};
  ZabConfig with_256 = config(3);
  with_256.ensemble = Ensemble(members);
  for (bool is_zabfs : {false, true}) {
    make(with_256, state_with(1, 2));
    for (int64_t peer : {1, 2}) {
      vote(peer, PeerState::kLooking, {ServerId{3}, Zxid::make(1, 2), 1}, 1);
    }
    ASSERT_EQ(zab_->role(), Role::kLeading);
    step(event::LinkAccepted{kLink});
    receive(kLink, info(256, 1, is_zabfs));
    EXPECT_EQ(closed_because().find("server 256 runs ZooKeeper"), is_zabfs ? std::string::npos : 0);
    EXPECT_EQ(closed_because().find("give it another number") == std::string::npos, is_zabfs);
  }
}

// From 3.9.3 on a learner acknowledges NEWLEADER before it has logged what was proposed and not yet
// committed, and acknowledges each of that behind UPTODATE.
TEST_F(LeaderOfOthersTest, NewLeadersAckOf39StandsForNoOutstandingProposal) {
  establish();
  const Zxid proposed = Zxid::make(2, 1);
  step(event::LinkDown{kLink});
  step(event::Propose{proposed, make_payload("txn")});
  step(event::Synced{proposed});
  const LinkId again = kLink + 1;
  step(event::LinkAccepted{again});
  receive(again, Packet(PacketType::kFollowerInfo, Zxid::make(2, 0), learner_info(20)));
  ASSERT_EQ(sent(), "LEADERINFO");
  receive(again, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(-1)));
  ASSERT_EQ(all<action::SendHistory>().size(), 2u);
  EXPECT_FALSE(all<action::SendHistory>()[1].commit);
  EXPECT_EQ(all<action::SendHistory>()[1].through, proposed);
  receive(again, Packet(PacketType::kAck, Zxid::make(2, 0)));
  EXPECT_EQ(sent(), "UPTODATE");
  EXPECT_TRUE(all<action::Commit>().empty());
  receive(again, Packet(PacketType::kAck, Zxid::make(2, 0)));  // of UPTODATE
  EXPECT_TRUE(all<action::Commit>().empty());
  receive(again, Packet(PacketType::kAck, proposed));
  ASSERT_EQ(all<action::Commit>().size(), 1u);
  EXPECT_EQ(sent(), "COMMIT");
}

// ---- the same: leaders of other releases, a learner of ours

// Server 1, following server 3, with two txns of epoch 1 in its log.
class FollowerOfOthersTest : public ZabFixture {
 protected:
  void SetUp() override { make_at(state_with(1, 2), 1); }
  void make_at(ZabState state, int64_t round) {
    make(config(1), std::move(state));
    Vote settled{ServerId{3}, Zxid::make(1, 2), 1};
    vote(2, PeerState::kFollowing, settled, round);
    vote(3, PeerState::kLeading, settled, round);
    ASSERT_EQ(zab_->role(), Role::kFollowing);
    link_ = all<action::Dial>()[0].link;
    step(event::LinkUp{link_});
    ASSERT_EQ(sent(), "FOLLOWERINFO");
  }
  void leader_info() {
    receive(link_, Packet(PacketType::kLeaderInfo, Zxid::make(2, 0), java_leader_info()));
    step(event::AcceptedEpochSaved{2, true});
    ASSERT_EQ(sent(), "ACKEPOCH");
  }
  std::string left_because() {
    auto changes = all<action::RoleChanged>();
    return changes.empty() ? "" : changes[0].why;
  }
  LinkId link_ = 0;
};

TEST_F(FollowerOfOthersTest, NamesItsConfigurationAsJavasLearnersDo) {
  make_at(state_with(1, 2), 1);
  std::string info(all<action::Send>()[0].packet.bytes());
  // What is behind these 20 bytes no release reads.
  EXPECT_EQ(info.substr(0, 20), learner_info(20).replace(7, 1, 1, char{1}));
}

TEST_F(FollowerOfOthersTest, LeavesALeaderThatAsksForNoPromise) {
  receive(link_, Packet(PacketType::kNewLeader, Zxid::make(2, 0)));  // before 3.4 it comes first
  EXPECT_NE(left_because().find("server 3 " + std::string(kUpgrade)), std::string::npos);
}

TEST_F(FollowerOfOthersTest, LeavesALeaderWithoutAConfiguration) {
  leader_info();
  receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 2)));
  receive(link_, Packet(PacketType::kNewLeader, Zxid::make(2, 0)));  // 3.4
  EXPECT_NE(left_because().find("server 3 " + std::string(kUpgrade)), std::string::npos);
  EXPECT_TRUE(all<action::EndSync>().empty());
}

// LearnerHandler before 3.6 did not see that its log and its committed log do not meet; in 3.9.3
// the committed log itself could have holes.
TEST_F(FollowerOfOthersTest, AsksForASnapshotWhereADiffHasAGap) {
  leader_info();
  receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 5)));
  receive(link_, Packet(PacketType::kProposal, Zxid::make(1, 4), std::string("txn")));
  EXPECT_NE(left_because().find("it is asked for a whole snapshot"), std::string::npos);
  ZabState state = state_with(1, 2);
  state.accepted_epoch = 2;
  state.parted_in_epoch = zab_->state().parted_in_epoch;
  make_at(std::move(state), 1);
  receive(link_, Packet(PacketType::kLeaderInfo, Zxid::make(2, 0), java_leader_info()));
  ASSERT_EQ(sent(), "ACKEPOCH");
  EXPECT_EQ(all<action::Send>()[0].packet.zxid, Zxid::make(0, UINT32_MAX));
}

// ---- transactions as releases write them

std::string txn_header(Zxid zxid, OpCode type, int64_t session = 0x100) {
  std::string bytes;
  Writer out(bytes);
  out.i64(session);
  out.i32(1);  // cxid
  out.i64(zxid.value);
  out.i64(1'000);  // time
  out.i32(static_cast<int32_t>(type));
  return bytes;
}

void write_create(std::string& bytes, const std::string& path, bool is_ephemeral) {
  Writer out(bytes);
  out.string(path);
  out.buffer(std::string_view("data"));
  tree::write_acl(out, {{tree::kPermAll, {"world", "anyone"}}});
  out.boolean(is_ephemeral);
  out.i32(1);  // parentCVersion
}

class TxnsOfOthersTest : public testing::Test {
 protected:
  void apply(const std::string& bytes) {
    auto txn = tree::decode_txn(bytes);
    ASSERT_TRUE(txn);
    has_digest_ = txn->digest.has_value();
    tree_.apply(*txn, nullptr);
  }
  bool has(const std::string& path) { return tree_.find(path) != nullptr; }
  tree::Tree tree_;
  bool has_digest_ = false;
};

TEST_F(TxnsOfOthersTest, A35ServersHaveNoDigestAndCloseSessionsWithoutAList) {
  std::string session = txn_header(Zxid::make(1, 1), OpCode::kCreateSession);
  Writer(session).i32(5'000);
  apply(session);
  std::string create = txn_header(Zxid::make(1, 2), OpCode::kCreate);
  write_create(create, "/gone", true);
  apply(create);
  EXPECT_FALSE(has_digest_);
  EXPECT_TRUE(has("/gone"));
  apply(txn_header(Zxid::make(1, 3), OpCode::kCloseSession));
  EXPECT_FALSE(has("/gone"));
}

TEST_F(TxnsOfOthersTest, ADigestOfAVersionToComeIsNotCompared) {
  std::string create = txn_header(Zxid::make(1, 1), OpCode::kCreate);
  write_create(create, "/a", false);
  Writer out(create);
  out.i32(3);
  out.i64(77);
  apply(create);
  EXPECT_FALSE(has_digest_);
  EXPECT_TRUE(has("/a"));
}

// From 3.8.2 on create2 keeps its number in a multi.
TEST_F(TxnsOfOthersTest, A39ServersHaveCreate2InMultis) {
  std::string op, multi = txn_header(Zxid::make(1, 1), OpCode::kMulti);
  write_create(op, "/b", false);
  Writer out(multi);
  out.i32(1);
  out.i32(static_cast<int32_t>(OpCode::kCreate2));
  out.string(op);
  out.i32(2);
  out.i64(77);
  apply(multi);
  EXPECT_TRUE(has_digest_);
  EXPECT_TRUE(has("/b"));
}

// Readers of 3.5 take what they know and leave the rest: what ours writes begins with that.
TEST_F(TxnsOfOthersTest, OursBeginAsThoseOf35) {
  std::string theirs = txn_header(Zxid::make(1, 2), OpCode::kCreate);
  write_create(theirs, "/c", false);
  auto txn = tree::decode_txn(theirs);
  ASSERT_TRUE(txn);
  txn->digest = 77;
  std::string ours;
  tree::encode_txn(*txn, ours);
  EXPECT_EQ(ours.substr(0, theirs.size()), theirs);
  EXPECT_EQ(ours.size(), theirs.size() + 12);
}

}  // namespace
}  // namespace zabfs::consensus
