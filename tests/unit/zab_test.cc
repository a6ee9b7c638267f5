#include "unit/zab_fixture.h"

namespace zabfs::consensus {
namespace {

// Server 3 of three, elected, with two txns of epoch 1 in its log.
class LeaderTest : public ZabFixture {
 protected:
  void SetUp() override {
    make(config(3), state_with(1, 2));
    for (int64_t peer : {1, 2}) {
      vote(peer, PeerState::kLooking, {ServerId{3}, Zxid::make(1, 2), 1}, 1);
    }
    ASSERT_EQ(zab_->role(), Role::kLeading);
  }
  void connect(LinkId link, int64_t id, uint32_t accepted = 1, bool is_zabfs = true) {
    step(event::LinkAccepted{link});
    receive(link, info(id, accepted, is_zabfs));
  }
  // Of server 2, which runs Java, until it has been sent NEWLEADER.
  void synchronise_java(LinkId link) {
    connect(link, 2, 1, false);
    receive(link, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(1)));
  }
  void establish(Zxid followers_last = Zxid::make(1, 2)) {
    connect(11, 1);
    step(event::AcceptedEpochSaved{2, true});
    receive(11, Packet(PacketType::kAckEpoch, followers_last, ack_epoch_data(1)));
    step(event::EpochSaved{2});
    receive(11, Packet(PacketType::kAck, Zxid::make(2, 0)));
    ASSERT_TRUE(zab_->is_serving());
  }
  void propose(uint32_t counter) {
    step(event::Propose{Zxid::make(2, counter), make_payload("txn")});
  }
};

TEST_F(LeaderTest, ChoosesAnEpochAboveAllItHeardAndPersistsItFirst) {
  connect(11, 1, 7);
  ASSERT_EQ(all<action::SaveAcceptedEpoch>().size(), 1u);
  EXPECT_EQ(all<action::SaveAcceptedEpoch>()[0].epoch, 8u);
  EXPECT_EQ(sent(), "");
  step(event::AcceptedEpochSaved{8, true});
  EXPECT_EQ(sent(), "LEADERINFO");
}

// A change of the members needs those that are there now. Who is gone follows for syncLimit.
TEST_F(LeaderTest, WhoHasNotAnsweredForATickIsNotCountedOnForOtherMembers) {
  establish();
  int32_t tick_ms = config(3).tick_ms;
  std::set<ServerId> both{ServerId{1}, ServerId{3}}, alone{ServerId{3}};
  EXPECT_EQ(zab_->answering_followers(now_ms_), both);
  EXPECT_EQ(zab_->answering_followers(now_ms_ + tick_ms / 2), both);
  EXPECT_EQ(zab_->answering_followers(now_ms_ + tick_ms), alone);
  EXPECT_EQ(zab_->synced_followers(), both);
  now_ms_ += tick_ms;
  receive(11, Packet(PacketType::kAck, Zxid::make(2, 0)));
  EXPECT_EQ(zab_->answering_followers(now_ms_), both);
}

TEST_F(LeaderTest, GivesANumberToAnEnsembleThatHadNoEpochYet) {
  auto lead_from = [this](uint32_t epoch) {
    make(config(3), state_with(epoch, 0));
    for (int64_t peer : {1, 2}) vote(peer, PeerState::kLooking, {ServerId{3}, Zxid{}, epoch}, 1);
    ASSERT_EQ(zab_->role(), Role::kLeading);
    connect(11, 1, epoch);
    ASSERT_EQ(all<action::SaveAcceptedEpoch>().size(), 1u);
  };
  lead_from(0);
  std::optional<int64_t> number = all<action::SaveAcceptedEpoch>()[0].ensemble;
  EXPECT_EQ(number, zab_->state().nonce);
  step(event::AcceptedEpochSaved{1, true, number});
  ASSERT_EQ(sent(), "LEADERINFO");
  EXPECT_EQ(decode_leader_info(all<action::Send>()[0].packet.bytes()).ensemble, *number);
  lead_from(1);  // of an epoch that had none
  EXPECT_EQ(all<action::SaveAcceptedEpoch>()[0].ensemble, std::nullopt);
}

TEST_F(LeaderTest, NoStrangersEpochMovesItsOwn) {
  make(config(3), state_with(1, 2));
  for (int64_t peer : {1, 2}) {
    vote(peer, PeerState::kLooking, {ServerId{3}, Zxid::make(1, 2), 1}, 1);
  }
  connect(20, 77, 900);  // no member
  EXPECT_EQ(all<action::Close>().size(), 1u);
  connect(21, 2, 0x7fffff00);
  EXPECT_EQ(all<action::Close>().size(), 1u);
  connect(11, 1);
  ASSERT_EQ(all<action::SaveAcceptedEpoch>().size(), 1u);
  EXPECT_EQ(all<action::SaveAcceptedEpoch>()[0].epoch, 2u);
  // Where servers may come to be members they are let in, and count for as little.
  ZabConfig open = config(3);
  open.admits_strangers = true;
  make(open, state_with(1, 2));
  for (int64_t peer : {1, 2}) {
    vote(peer, PeerState::kLooking, {ServerId{3}, Zxid::make(1, 2), 1}, 1);
  }
  connect(20, 77, 900);
  EXPECT_TRUE(all<action::Close>().empty());
  connect(11, 1);
  ASSERT_EQ(all<action::SaveAcceptedEpoch>().size(), 1u);
  EXPECT_EQ(all<action::SaveAcceptedEpoch>()[0].epoch, 2u);
}

TEST_F(LeaderTest, NoStrangerSaysWhoTheMembersAre) {
  make(config(3), state_with(1, 2));
  Notification notification;
  notification.config = "server.9=h:1:2:participant\nversion=77";
  notification.proposed = "server.8=h:1:2:participant\nversion=78";
  step(event::VoteReceived{ServerId{9}, notification});
  EXPECT_EQ(zab_->membership().in_force().version(), 0);
  EXPECT_FALSE(zab_->membership().knows(ServerId{8}));
}

TEST_F(LeaderTest, TakesASecretOnceAndGivesItToItsLearners) {
  const std::string fresh(kSecretBytes, 'f'), old(kSecretBytes, 'o');
  for (const std::string& had : {std::string(), old}) {
    ZabState state = state_with(1, 0);
    state.secret = had;
    state.fresh_secret = fresh;
    make(config(3), state);
    for (int64_t peer : {1, 2}) vote(peer, PeerState::kLooking, {ServerId{3}, Zxid{}, 1}, 1);
    connect(11, 1, 1);
    ASSERT_EQ(all<action::SaveAcceptedEpoch>().size(), 1u);
    std::string taken = all<action::SaveAcceptedEpoch>()[0].secret;
    EXPECT_EQ(taken, had.empty() ? fresh : "");
    step(event::AcceptedEpochSaved{2, true, std::nullopt, taken});
    ASSERT_EQ(sent(), "LEADERINFO");
    EXPECT_EQ(decode_leader_info(all<action::Send>()[0].packet.bytes()).secret,
              had.empty() ? fresh : old);
  }
}

TEST_F(LeaderTest, TellsALearnerOfAnotherEnsembleAndDoesNotCountIt) {
  ZabState state = state_with(1, 2);
  state.secret = std::string(kSecretBytes, 's');
  state.ensemble = 77;
  state.ensemble_holds = true;
  make(config(3), state);
  for (int64_t peer : {1, 2}) {
    vote(peer, PeerState::kLooking, {ServerId{3}, Zxid::make(1, 2), 1}, 1);
  }
  step(event::LinkAccepted{11});
  receive(11, Packet(PacketType::kFollowerInfo, Zxid::make(900, 0),
                     encode_learner_info({ServerId{1}, 0, true, 78})));
  ASSERT_EQ(sent(), "LEADERINFO");
  EXPECT_EQ(decode_leader_info(all<action::Send>()[0].packet.bytes()).ensemble, 77);
  EXPECT_EQ(decode_leader_info(all<action::Send>()[0].packet.bytes()).secret, "");
  EXPECT_TRUE(all<action::SaveAcceptedEpoch>().empty());
  connect(12, 2);
  ASSERT_EQ(all<action::SaveAcceptedEpoch>().size(), 1u);
  EXPECT_EQ(all<action::SaveAcceptedEpoch>()[0].epoch, 2u);
}

// What server `id` is said to be.
MemberStatus status_of(const std::vector<MemberStatus>& all, int64_t id) {
  for (const MemberStatus& status : all) {
    if (status.id == ServerId{id}) return status;
  }
  return {};
}

TEST_F(LeaderTest, KnowsWhatItsLearnersSayOfThemselves) {
  establish();
  step(event::LinkAccepted{12});
  receive(12, Packet(PacketType::kFollowerInfo, Zxid::make(1, 0),
                     encode_learner_info({ServerId{2}, 0, true, 0, true, "0.2.0"})));
  EXPECT_EQ(status_of(zab_->member_status(), 2).facts.version, "0.2.0");
  // A server of Java's says nothing behind its LearnerInfo.
  std::string java = encode_learner_info({ServerId{2}, 0, true}).substr(0, 20);
  step(event::LinkAccepted{13});
  receive(13, Packet(PacketType::kFollowerInfo, Zxid::make(1, 0), java));
  EXPECT_EQ(status_of(zab_->member_status(), 2).facts.version, kZooKeeper);
}

TEST_F(LeaderTest, RemembersALearnerThatLeftBecauseItsDiskIsFull) {
  connect(12, 2);
  establish();
  receive(12, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(1)));
  receive(12, Packet(PacketType::kAck, Zxid::make(2, 0)));
  EXPECT_EQ(status_of(zab_->member_status(), 2).role, Role::kFollowing);
  int64_t heard_ms = now_ms_;
  receive(12, Packet(PacketType::kDiskFull, Zxid::make(2, 0)));
  now_ms_ += 100;
  step(event::LinkDown{12});
  MemberStatus status = status_of(zab_->member_status(), 2);
  EXPECT_EQ(status.role, Role::kLooking);
  EXPECT_TRUE(status.facts.disk_full);
  EXPECT_EQ(status.facts.heard_ms, heard_ms);
  connect(14, 2);
  EXPECT_FALSE(status_of(zab_->member_status(), 2).facts.disk_full);
}

TEST_F(LeaderTest, BelievesInAFullDiskOnlyOfAZabfsServerThatServes) {
  establish();
  const Packet full(PacketType::kDiskFull, Zxid::make(2, 0));
  std::string java = encode_learner_info({ServerId{2}, 0, true}).substr(0, 20);
  for (const std::string& info : {encode_learner_info({ServerId{2}, 0, true}), java}) {
    bool is_java = info == java;
    // Of what a learner says before it serves.
    for (LinkId said = is_java ? 2 : 0; said < 3; ++said) {
      LinkId link = (is_java ? 30 : 20) + said;
      step(event::LinkAccepted{link});
      if (said > 0) receive(link, Packet(PacketType::kFollowerInfo, Zxid::make(1, 0), info));
      if (said > 1) {
        receive(link, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(1)));
        if (is_java) receive(link, Packet(PacketType::kAck, Zxid::make(2, 0)));
      }
      receive(link, full);
      EXPECT_EQ(all<action::Close>().size(), 1u) << link;
      EXPECT_FALSE(status_of(zab_->member_status(), 2).facts.disk_full) << link;
    }
  }
}

TEST_F(LeaderTest, RemembersFactsOfFewStrangers) {
  ZabConfig open = config(3);
  open.admits_strangers = true;
  make(open, state_with(1, 2));
  for (int64_t peer : {1, 2}) {
    vote(peer, PeerState::kLooking, {ServerId{3}, Zxid::make(1, 2), 1}, 1);
  }
  for (int64_t id = 10; id < 2'000; ++id) {
    connect(static_cast<LinkId>(id), id);
    EXPECT_LE(zab_->state().facts.size(), 2 * kMaxMembers);
  }
  connect(2, 2);
  for (int64_t id = 2'000; id < 3'000; ++id) connect(static_cast<LinkId>(id), id);
  EXPECT_TRUE(zab_->state().facts.contains(ServerId{2}));
}

TEST_F(LeaderTest, TellsItsLearnersThatItsDiskIsFull) {
  establish();
  step(event::StorageStalled{"the disk is full"});
  EXPECT_EQ(sent(), "PING");
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(LeaderTest, GivesUpForALongerHistory) {
  connect(11, 1);
  step(event::AcceptedEpochSaved{2, true});
  receive(11, Packet(PacketType::kAckEpoch, Zxid::make(1, 3), ack_epoch_data(1)));
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(LeaderTest, MakesRoomForALaterOneThatAMemberHasPromisedToFollow) {
  establish();
  connect(12, 9, 7);  // no member
  EXPECT_EQ(zab_->role(), Role::kLeading);
  connect(13, 2, 2);
  EXPECT_EQ(zab_->role(), Role::kLeading);
  connect(14, 2, 3);
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(LeaderTest, APromiseMadeBeforeDoesNotCount) {
  connect(11, 1);
  step(event::AcceptedEpochSaved{2, true});
  receive(11, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(-1)));
  EXPECT_TRUE(all<action::EndSync>().empty());
}

TEST_F(LeaderTest, ServesOnlyAfterAQuorumAcknowledgedNewLeader) {
  connect(11, 1);
  step(event::AcceptedEpochSaved{2, true});
  receive(11, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(1)));
  EXPECT_EQ(all<action::EndSync>()[0].epoch, 2u);
  step(event::EpochSaved{2});
  EXPECT_EQ(sent(), "DIFF NEWLEADER");
  EXPECT_FALSE(zab_->is_serving());
  receive(11, Packet(PacketType::kAck, Zxid::make(2, 0)));
  EXPECT_TRUE(zab_->is_serving());
  EXPECT_EQ(sent(), "UPTODATE PING");
  EXPECT_EQ(all<action::Commit>()[0].through, Zxid::make(1, 2));
}

TEST_F(LeaderTest, CommitsOnlyAfterQuorumAcks) {
  establish();
  propose(1);
  EXPECT_EQ(sent(), "PROPOSAL");
  EXPECT_EQ(all<action::Append>().size(), 1u);
  step(event::Synced{Zxid::make(2, 1)});
  EXPECT_TRUE(all<action::Commit>().empty());  // its own fsync is one of three
  receive(11, Packet(PacketType::kAck, Zxid::make(2, 1)));
  EXPECT_EQ(sent(), "COMMIT");
  EXPECT_EQ(zab_->committed(), Zxid::make(2, 1));
}

TEST_F(LeaderTest, CommitsWithoutItsOwnDiskIfAQuorumHasIt) {
  establish();
  connect(12, 2);
  receive(12, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(1)));
  receive(12, Packet(PacketType::kAck, Zxid::make(2, 0)));
  propose(1);
  receive(11, Packet(PacketType::kAck, Zxid::make(2, 1)));
  receive(12, Packet(PacketType::kAck, Zxid::make(2, 1)));
  EXPECT_EQ(zab_->committed(), Zxid::make(2, 1));
}

TEST_F(LeaderTest, AnAckBeforeNewLeadersDoesNotCountAsOne) {
  connect(11, 1);
  step(event::AcceptedEpochSaved{2, true});
  receive(11, Packet(PacketType::kAckEpoch, Zxid::make(1, 1), ack_epoch_data(1)));
  step(event::EpochSaved{2});
  receive(11, Packet(PacketType::kAck, Zxid::make(1, 2)));
  EXPECT_FALSE(zab_->is_serving());
}

TEST_F(LeaderTest, ALateJoinerGetsWhatIsOutstandingBeforeNewLeader) {
  establish();
  propose(1);
  connect(12, 2);
  EXPECT_EQ(sent(), "LEADERINFO");
  receive(12, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(1)));
  EXPECT_EQ(sent(), "DIFF NEWLEADER");
  auto history = all<action::SendHistory>();
  ASSERT_EQ(history.size(), 2u);
  EXPECT_TRUE(history[0].commit);
  EXPECT_EQ(history[0].through, Zxid::make(1, 2));
  EXPECT_FALSE(history[1].commit);
  EXPECT_EQ(history[1].through, Zxid::make(2, 1));
  EXPECT_EQ(std::get<action::Send>(actions_.back()).packet.type, PacketType::kNewLeader);
}

TEST_F(LeaderTest, TruncatesWithinAnEpochAndSnapshotsAcross) {
  establish();
  connect(12, 2);
  receive(12, Packet(PacketType::kAckEpoch, Zxid::make(1, 9), ack_epoch_data(1)));
  EXPECT_EQ(sent(), "TRUNC NEWLEADER");
  step(event::LinkDown{12});
  connect(13, 2, 1);
  receive(13, Packet(PacketType::kAckEpoch, Zxid::make(0, 9), ack_epoch_data(0)));
  EXPECT_EQ(all<action::SendSnapshot>().size(), 1u);
}

// A Java leader's snapshot may end there.
TEST_F(LeaderTest, SendsAnEpochsTxnsToALearnerThatEndsAtItsStart) {
  establish();
  connect(12, 2);
  receive(12, Packet(PacketType::kAckEpoch, Zxid::make(1, 0), ack_epoch_data(1)));
  EXPECT_EQ(sent(), "DIFF NEWLEADER");
  auto history = all<action::SendHistory>();
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0].after, Zxid{});
  EXPECT_EQ(history[0].through, Zxid::make(1, 2));
  EXPECT_TRUE(history[0].commit);
}

// A Java leader that made no txn leaves its log there, and its followers' logs before it.
TEST_F(LeaderTest, SendsDiffToALearnerThatEndsAtTheStartOfAnEpochWithoutTxns) {
  ZabState state = state_with(1, 2);
  state.current_epoch = state.accepted_epoch = 3;
  make(config(3), state);
  for (int64_t peer : {1, 2}) {
    vote(peer, PeerState::kLooking, {ServerId{3}, Zxid::make(1, 2), 3}, 1);
  }
  connect(11, 1, 3);
  step(event::AcceptedEpochSaved{4, true});
  receive(11, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(3)));
  step(event::EpochSaved{4});
  receive(11, Packet(PacketType::kAck, Zxid::make(4, 0)));
  ASSERT_TRUE(zab_->is_serving());
  step(event::Propose{Zxid::make(4, 1), make_payload("txn")});
  connect(12, 2, 3);
  receive(12, Packet(PacketType::kAckEpoch, Zxid::make(3, 0), ack_epoch_data(3)));
  EXPECT_EQ(sent(), "DIFF NEWLEADER");
  EXPECT_EQ(all<action::SendHistory>()[0].after, Zxid::make(1, 2));
  // Of an epoch after this leader's own it knows nothing.
  step(event::LinkDown{12});
  connect(13, 2, 3);
  receive(13, Packet(PacketType::kAckEpoch, Zxid::make(9, 0), ack_epoch_data(-1)));
  EXPECT_EQ(all<action::SendSnapshot>().size(), 1u);
}

// Java ends with an exception at a COMMIT between NEWLEADER and UPTODATE.
TEST_F(LeaderTest, AJavaFollowerIsToldWhatWasCommittedMeanwhileBehindUpToDate) {
  establish();
  propose(1);
  synchronise_java(12);
  ASSERT_EQ(sent(), "DIFF NEWLEADER");
  propose(2);
  for (uint32_t counter : {1u, 2u}) step(event::Synced{Zxid::make(2, counter)});
  receive(11, Packet(PacketType::kAck, Zxid::make(2, 2)));
  for (const auto& send : all<action::Send>()) {
    EXPECT_EQ(send.links, std::vector<LinkId>{11}) << packet_name(send.packet.type);
  }
  receive(12, Packet(PacketType::kAck, Zxid::make(2, 0)));
  EXPECT_EQ(sent(), "UPTODATE COMMIT COMMIT PING");  // the last one to the other, with the news
  EXPECT_EQ(all<action::Send>()[1].packet.zxid, Zxid::make(2, 1));
  EXPECT_EQ(all<action::Send>()[2].packet.zxid, Zxid::make(2, 2));
  propose(3);
  step(event::Synced{Zxid::make(2, 3)});
  receive(11, Packet(PacketType::kAck, Zxid::make(2, 3)));
  EXPECT_EQ(all<action::Send>().back().links, (std::vector<LinkId>{11, 12}));
}

TEST_F(LeaderTest, AZabfsFollowerIsToldAtOnceWhatIsCommitted) {
  establish();
  connect(12, 2);
  receive(12, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(1)));
  propose(1);
  step(event::Synced{Zxid::make(2, 1)});
  receive(11, Packet(PacketType::kAck, Zxid::make(2, 1)));
  EXPECT_EQ(all<action::Send>().back().links, (std::vector<LinkId>{11, 12}));
}

// Java answers no PING before UPTODATE.
TEST_F(LeaderTest, PingsThatASyncingJavaFollowerIgnoredAreNotWaitedFor) {
  establish();
  synchronise_java(12);
  for (int i = 0; i < 3; ++i) {
    now_ms_ += 500;
    receive(11, Packet(PacketType::kPing, Zxid{}, std::string()));
    step(event::Tick{});
    EXPECT_EQ(sent(), "PING PING");
  }
  receive(12, Packet(PacketType::kAck, Zxid::make(2, 0)));
  step(event::ConfirmLeadership{42});
  receive(12, Packet(PacketType::kPing, Zxid{}, std::string()));
  EXPECT_EQ(all<action::Confirmed>().size(), 1u);
}

TEST_F(LeaderTest, StepsDownWithoutAQuorum) {
  establish();
  step(event::LinkDown{11});
  now_ms_ += 600;
  step(event::Tick{});
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(LeaderTest, ASynchronisationThatGoesOnMayTakeLongerThanInitLimit) {
  connect(11, 1);
  step(event::AcceptedEpochSaved{2, true});
  receive(11, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(1)));
  step(event::EpochSaved{2});
  for (int i = 0; i < 5; ++i) {
    now_ms_ += zab_->config().init_ms() - 1;
    step(event::LearnerFed{11});
  }
  EXPECT_EQ(zab_->role(), Role::kLeading);
  now_ms_ += zab_->config().init_ms() + 1;  // and one that stopped may not
  step(event::Tick{});
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(LeaderTest, NothingProlongsTheTimeInWhichItsEpochIsPromised) {
  connect(11, 1);
  step(event::AcceptedEpochSaved{2, true});
  now_ms_ += zab_->config().init_ms();
  step(event::LearnerFed{11});
  now_ms_ += 1;
  receive(11, Packet(PacketType::kAckEpoch, Zxid::make(1, 2), ack_epoch_data(1)));
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(LeaderTest, ProvesItsLeadershipWithAQuorumsWord) {
  establish();
  receive(11, Packet(PacketType::kPing, Zxid{}, std::string()));  // of the ping behind UPTODATE
  step(event::ConfirmLeadership{42});
  EXPECT_EQ(sent(), "PING");
  EXPECT_TRUE(all<action::Confirmed>().empty());
  receive(11, Packet(PacketType::kPing, Zxid{}, std::string()));
  ASSERT_EQ(all<action::Confirmed>().size(), 1u);
  EXPECT_EQ(all<action::Confirmed>()[0].token, 42u);
}

TEST_F(LeaderTest, RefusesNonsenseFromALearnerAlone) {
  establish();
  step(event::LinkAccepted{50});
  receive(50, Packet(PacketType::kAck, Zxid::make(2, 1)));
  EXPECT_EQ(all<action::Close>().size(), 1u);
  connect(51, 9);
  EXPECT_EQ(all<action::Close>().size(), 1u);  // of a stranger
  receive(11, Packet(PacketType::kCommit, Zxid::make(2, 1)));
  EXPECT_EQ(all<action::Close>().size(), 1u);
  EXPECT_EQ(zab_->role(), Role::kLeading);
}

// Server 1, following server 3, with two txns of epoch 1 in its log.
class FollowerTest : public ZabFixture {
 protected:
  void SetUp() override {
    make(config(1), state_with(1, 2));
    Vote settled{ServerId{3}, Zxid::make(1, 2), 1};
    vote(2, PeerState::kFollowing, settled, 1);
    vote(3, PeerState::kLeading, settled, 1);
    ASSERT_EQ(zab_->role(), Role::kFollowing);
    link_ = all<action::Dial>()[0].link;
    step(event::LinkUp{link_});
    ASSERT_EQ(sent(), "FOLLOWERINFO");
  }
  void leader_info(uint32_t epoch, int64_t ensemble = 0, std::string_view secret = "") {
    receive(link_, Packet(PacketType::kLeaderInfo, Zxid::make(epoch, 0),
                          encode_leader_info(ensemble, secret)));
  }
  // Server 3 runs Java, and leads epoch 2.
  void java_leader() {
    receive(link_, Packet(PacketType::kLeaderInfo, Zxid::make(2, 0), java_leader_info()));
    step(event::AcceptedEpochSaved{2, true});
  }
  void follow() {
    leader_info(2);
    step(event::AcceptedEpochSaved{2, true});
    receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 2)));
    receive(link_, Packet(PacketType::kNewLeader, Zxid::make(2, 0), std::string("config")));
    step(event::EpochSaved{2});
    receive(link_, Packet(PacketType::kUpToDate, Zxid{-1}));
    ASSERT_TRUE(zab_->is_serving());
  }
  void proposal(Zxid zxid) {
    receive(link_, Packet(PacketType::kProposal, zxid, std::string("txn")));
  }
  LinkId link_ = 0;
};

TEST_F(FollowerTest, TellsItsLeaderThatItsDiskIsFull) {
  follow();
  step(event::StorageStalled{"the disk is full"});
  EXPECT_EQ(sent(), "DISKFULL");
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(FollowerTest, AnswersJavasPingsOnceItHasAcknowledgedNewLeader) {
  Packet ping(PacketType::kPing, Zxid::make(1, 2));
  receive(link_, Packet(PacketType::kLeaderInfo, Zxid::make(2, 0), std::string(4, '\0')));  // Java
  step(event::AcceptedEpochSaved{2, true});
  receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 2)));
  receive(link_, ping);
  EXPECT_TRUE(all<action::AnswerPing>().empty());
  receive(link_, Packet(PacketType::kNewLeader, Zxid::make(2, 0), std::string("config")));
  receive(link_, ping);  // what it has is not on its disk yet
  EXPECT_TRUE(all<action::AnswerPing>().empty());
  step(event::EpochSaved{2});
  receive(link_, ping);
  EXPECT_EQ(all<action::AnswerPing>().size(), 1u);
}

TEST_F(FollowerTest, TellsNobodyElseThatItsDiskIsFull) {
  java_leader();
  receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 2)));
  receive(link_, Packet(PacketType::kNewLeader, Zxid::make(2, 0), std::string("config")));
  step(event::EpochSaved{2});
  receive(link_, Packet(PacketType::kUpToDate, Zxid{-1}));
  ASSERT_TRUE(zab_->is_serving());
  step(event::StorageStalled{"the disk is full"});
  EXPECT_EQ(sent(), "");
}

TEST_F(FollowerTest, TakesOverWhatItsLeaderSaysOfMembers) {
  follow();
  std::string text;
  tree::jute::Writer out(text);
  out.count(2);
  for (int64_t id : {2, 3}) {
    out.i64(id);
    out.i32(static_cast<int32_t>(id == 3 ? Role::kLeading : Role::kLooking));
    out.i64(0);
  }
  for (int i = 0; i < 2; ++i) out.i32(static_cast<int32_t>(Passwords::kSecret));
  std::string before = text;
  for (const char* version : {"0.2.0", "0.3.0"}) {
    out.string(version);
    out.boolean(std::string(version) == "0.2.0");
    out.i64(500);
  }
  receive(link_, Packet(PacketType::kPing, Zxid{}, text));
  const MemberFacts& two = zab_->state().facts.at(ServerId{2});
  EXPECT_EQ(two.version, "0.2.0");
  EXPECT_TRUE(two.disk_full);
  EXPECT_EQ(two.heard_ms, now_ms_ - 500);
  EXPECT_EQ(zab_->state().facts.at(ServerId{3}).version, "0.3.0");
  // A leader that says nothing of them, and text that is cut short.
  receive(link_, Packet(PacketType::kPing, Zxid{}, before));
  EXPECT_EQ(zab_->state().facts.at(ServerId{2}).version, "");
  for (size_t size = before.size(); size < text.size(); ++size) {
    receive(link_, Packet(PacketType::kPing, Zxid{}, text.substr(0, size)));
    EXPECT_EQ(zab_->role(), Role::kFollowing);
  }
}

TEST_F(FollowerTest, PersistsThePromiseBeforeItGivesIt) {
  leader_info(2);
  EXPECT_EQ(all<action::SaveAcceptedEpoch>()[0].epoch, 2u);
  EXPECT_EQ(sent(), "");
  step(event::AcceptedEpochSaved{2, true});
  EXPECT_EQ(sent(), "ACKEPOCH");
}

// Its histories and this node's have nothing to do with each other, whatever their zxids.
TEST_F(FollowerTest, LeavesALeaderOfAnotherEnsemble) {
  ZabState state = state_with(1, 2);
  state.ensemble = 77;
  state.ensemble_holds = true;
  EXPECT_TRUE(state.is_foreign(78));
  EXPECT_FALSE(state.is_foreign(77));
  EXPECT_FALSE(state.is_foreign(0));  // Java's don't say
  state.ensemble_holds = false;       // no txn depends on it yet
  EXPECT_FALSE(state.is_foreign(78));
  state.ensemble_holds = true;
  make(config(1), state);
  Vote settled{ServerId{3}, Zxid::make(1, 2), 1};
  vote(2, PeerState::kFollowing, settled, 1);
  vote(3, PeerState::kLeading, settled, 1);
  link_ = all<action::Dial>()[0].link;
  step(event::LinkUp{link_});
  leader_info(2, 78);
  EXPECT_TRUE(all<action::SaveAcceptedEpoch>().empty());
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(FollowerTest, SavesTheSecretOfItsLeaderBeforeItEndsTheSync) {
  const std::string secret(kSecretBytes, 's');
  leader_info(2, 0, secret);
  EXPECT_EQ(all<action::SaveAcceptedEpoch>()[0].secret, "");
  step(event::AcceptedEpochSaved{2, true});
  receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 2)));
  receive(link_, Packet(PacketType::kNewLeader, Zxid::make(2, 0), std::string("config")));
  ASSERT_EQ(all<action::SaveAcceptedEpoch>().size(), 1u);
  EXPECT_EQ(all<action::SaveAcceptedEpoch>()[0].secret, secret);
  EXPECT_TRUE(all<action::EndSync>().empty());
  step(event::AcceptedEpochSaved{2, true, std::nullopt, secret});
  EXPECT_EQ(zab_->state().secret, secret);
  EXPECT_EQ(all<action::EndSync>().size(), 1u);
  EXPECT_TRUE(zab_->state().public_passwords.empty());
}

TEST_F(FollowerTest, KnowsWhoseSessionsHavePublicPasswords) {
  leader_info(2);  // Java's leader has no secret, nor has one of an earlier zabfsd
  EXPECT_EQ(zab_->state().public_passwords, std::set<ServerId>{ServerId{3}});
}

// No txn may be on the disk before the number that it depends on, so NEWLEADER's ACK waits for it.
TEST_F(FollowerTest, SavesTheNumberOfItsLeadersEnsembleBeforeItEndsTheSync) {
  leader_info(2, 78);
  EXPECT_EQ(all<action::SaveAcceptedEpoch>()[0].ensemble, std::nullopt);
  step(event::AcceptedEpochSaved{2, true});
  EXPECT_EQ(zab_->state().ensemble, 0);
  receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 2)));
  receive(link_, Packet(PacketType::kNewLeader, Zxid::make(2, 0), std::string("config")));
  ASSERT_EQ(all<action::SaveAcceptedEpoch>().size(), 1u);
  EXPECT_EQ(all<action::SaveAcceptedEpoch>()[0].ensemble, 78);
  EXPECT_TRUE(all<action::EndSync>().empty());
  step(event::AcceptedEpochSaved{2, true, 78});
  EXPECT_EQ(zab_->state().ensemble, 78);
  EXPECT_EQ(all<action::EndSync>().size(), 1u);
}

TEST_F(FollowerTest, AsksForAWholeSnapshotOnceItHasDiverged) {
  follow();
  step(event::Diverged{"another tree"});
  EXPECT_EQ(zab_->role(), Role::kSettling);
  EXPECT_FALSE(zab_->state().votes);
  step(event::Settled{zab_->state().history, 2, {}});
  step(event::AcceptedEpochSaved{2, true});  // of before: it does not bring the vote back
  EXPECT_FALSE(zab_->state().votes);
}

TEST_F(FollowerTest, LeavesALeaderOfAnOldEpoch) {
  leader_info(0);
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(FollowerTest, AcknowledgesNewLeaderOnlyWhenHistoryAndEpochAreDurable) {
  leader_info(2);
  step(event::AcceptedEpochSaved{2, true});
  receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 3)));
  EXPECT_EQ(all<action::BeginSync>().size(), 1u);
  proposal(Zxid::make(1, 3));
  receive(link_, Packet(PacketType::kCommit, Zxid::make(1, 3)));
  receive(link_, Packet(PacketType::kNewLeader, Zxid::make(2, 0), std::string("config")));
  EXPECT_EQ(all<action::EndSync>().size(), 1u);
  EXPECT_EQ(sent(), "");
  step(event::Synced{Zxid::make(1, 3)});
  EXPECT_EQ(sent(), "");
  step(event::EpochSaved{2});
  EXPECT_EQ(sent(), "ACK");
  EXPECT_FALSE(zab_->is_serving());
  receive(link_, Packet(PacketType::kUpToDate, Zxid{-1}));
  EXPECT_EQ(all<action::Commit>()[0].through, Zxid::make(1, 3));
}

TEST_F(FollowerTest, AProposalOutstandingAtNewLeaderIsAcknowledgedAfterIt) {
  leader_info(2);
  step(event::AcceptedEpochSaved{2, true});
  receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 2)));
  proposal(Zxid::make(2, 1));  // outstanding: no COMMIT behind it
  receive(link_, Packet(PacketType::kNewLeader, Zxid::make(2, 0), std::string("config")));
  step(event::Synced{Zxid::make(2, 1)});
  EXPECT_EQ(sent(), "");
  step(event::EpochSaved{2});
  auto sends = all<action::Send>();
  ASSERT_EQ(sends.size(), 2u);
  EXPECT_EQ(sends[0].packet.zxid, Zxid::make(2, 0));
  EXPECT_EQ(sends[1].packet.zxid, Zxid::make(2, 1));
}

TEST_F(FollowerTest, AcknowledgesOnlyWhatIsSynced) {
  follow();
  proposal(Zxid::make(2, 1));
  EXPECT_EQ(all<action::Append>().size(), 1u);
  EXPECT_EQ(sent(), "");
  step(event::Synced{Zxid::make(2, 1)});
  EXPECT_EQ(sent(), "ACK");
}

TEST_F(FollowerTest, RefusesGapsAndCommitsOutOfOrder) {
  follow();
  proposal(Zxid::make(2, 2));
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(FollowerTest, RefusesACommitOfWhatWasNotProposed) {
  follow();
  receive(link_, Packet(PacketType::kCommit, Zxid::make(2, 1)));
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(FollowerTest, TruncatesItsLog) {
  leader_info(2);
  step(event::AcceptedEpochSaved{2, true});
  receive(link_, Packet(PacketType::kTrunc, Zxid::make(1, 1)));
  EXPECT_EQ(all<action::BeginSync>()[0].mode, SyncMode::kTrunc);
  EXPECT_EQ(zab_->state().history.last(), Zxid::make(1, 1));
}

// Java names the start of an epoch that it has no txn of.
TEST_F(FollowerTest, TruncatesItsLogToTheStartOfAnEpoch) {
  ZabState state = state_with(1, 2);
  state.history.append(Zxid::make(2, 1));
  state.durable = Zxid::make(2, 1);
  state.current_epoch = state.accepted_epoch = 2;
  make(config(1), state);
  Vote settled{ServerId{3}, Zxid::make(2, 0), 2};
  vote(2, PeerState::kFollowing, settled, 1);
  vote(3, PeerState::kLeading, settled, 1);
  link_ = all<action::Dial>()[0].link;
  step(event::LinkUp{link_});
  receive(link_, Packet(PacketType::kLeaderInfo, Zxid::make(3, 0), java_leader_info()));
  step(event::AcceptedEpochSaved{3, true});
  receive(link_, Packet(PacketType::kTrunc, Zxid::make(2, 0)));
  ASSERT_EQ(all<action::BeginSync>().size(), 1u);
  EXPECT_EQ(all<action::BeginSync>()[0].zxid, Zxid::make(1, 2));
  EXPECT_EQ(zab_->state().history.last(), Zxid::make(1, 2));
}

TEST_F(FollowerTest, IsNotTruncatedForward) {
  java_leader();
  receive(link_, Packet(PacketType::kTrunc, Zxid::make(2, 0)));
  EXPECT_TRUE(all<action::BeginSync>().empty());
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

// Java takes an ACK alone as the first packet after NEWLEADER.
TEST_F(FollowerTest, AnswersNoPingOfAJavaLeaderBeforeItHasAcknowledgedNewLeader) {
  java_leader();
  receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 2)));
  receive(link_, Packet(PacketType::kPing, Zxid{}));
  EXPECT_TRUE(all<action::AnswerPing>().empty());
  receive(link_, Packet(PacketType::kNewLeader, Zxid::make(2, 0), std::string("config")));
  receive(link_, Packet(PacketType::kPing, Zxid{}));
  EXPECT_TRUE(all<action::AnswerPing>().empty());
  step(event::EpochSaved{2});
  ASSERT_EQ(sent(), "ACK");
  receive(link_, Packet(PacketType::kPing, Zxid{}));
  EXPECT_EQ(all<action::AnswerPing>().size(), 1u);
}

// It is how a zabfs leader knows that the synchronisation goes on.
TEST_F(FollowerTest, AnswersPingsOfAZabfsLeaderDuringTheSync) {
  leader_info(2);
  step(event::AcceptedEpochSaved{2, true});
  receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 2)));
  receive(link_, Packet(PacketType::kPing, Zxid{}));
  EXPECT_EQ(all<action::AnswerPing>().size(), 1u);
}

// Java's snapshot has parts of the txns that follow it, and may be newer than the first of them.
TEST_F(FollowerTest, AppliesToAJavaSnapshotWhatWasCommittedBeforeNewLeader) {
  java_leader();
  receive(link_, Packet(PacketType::kSnap, Zxid::make(1, 5)));
  EXPECT_EQ(all<action::ReceiveSnapshot>().size(), 1u);
  EXPECT_TRUE(all<action::BeginSync>().empty());
  auto commit = [this](Zxid zxid) { receive(link_, Packet(PacketType::kCommit, zxid)); };
  for (uint32_t counter : {4u, 5u}) {  // they are in the snapshot
    proposal(Zxid::make(1, counter));
    commit(Zxid::make(1, counter));
    EXPECT_TRUE(actions_.empty());
  }
  proposal(Zxid::make(1, 6));
  proposal(Zxid::make(1, 7));
  EXPECT_TRUE(actions_.empty());
  commit(Zxid::make(1, 6));
  ASSERT_EQ(all<action::ApplyToSnapshot>().size(), 1u);
  EXPECT_EQ(all<action::ApplyToSnapshot>()[0].zxid, Zxid::make(1, 6));
  receive(link_, Packet(PacketType::kNewLeader, Zxid::make(2, 0), std::string("config")));
  ASSERT_EQ(all<action::BeginSync>().size(), 1u);
  EXPECT_EQ(all<action::BeginSync>()[0].mode, SyncMode::kSnap);
  EXPECT_EQ(all<action::BeginSync>()[0].zxid, Zxid::make(1, 6));
  ASSERT_EQ(all<action::Append>().size(), 1u);
  EXPECT_EQ(all<action::Append>()[0].zxid, Zxid::make(1, 7));
  EXPECT_TRUE(all<action::EndSync>().empty());
  step(event::SnapshotReceived{link_, ""});
  EXPECT_EQ(all<action::EndSync>().size(), 1u);
  step(event::Synced{Zxid::make(1, 7)});
  step(event::EpochSaved{2});
  EXPECT_EQ(sent(), "ACK ACK");
  receive(link_, Packet(PacketType::kUpToDate, Zxid{-1}));
  commit(Zxid::make(1, 7));
  EXPECT_EQ(zab_->committed(), Zxid::make(1, 7));
}

TEST_F(FollowerTest, RefusesAGapBehindAJavaSnapshot) {
  java_leader();
  receive(link_, Packet(PacketType::kSnap, Zxid{}));
  proposal(Zxid::make(1, 3));  // it would follow what is in the log
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(FollowerTest, LeavesALeaderThatHandsOver) {
  auto hands_over_to = [this](int64_t id, Zxid zxid) {
    std::string data;
    tree::jute::Writer(data).i64(id);
    proposal(zxid);
    receive(link_, Packet(PacketType::kCommitAndActivate, zxid, std::move(data)));
  };
  follow();
  hands_over_to(3, Zxid::make(2, 1));  // to itself
  EXPECT_EQ(zab_->role(), Role::kFollowing);
  hands_over_to(2, Zxid::make(2, 2));
  EXPECT_EQ(zab_->role(), Role::kSettling);
  EXPECT_EQ(zab_->committed(), Zxid::make(2, 2));
  ASSERT_EQ(all<action::Commit>().size(), 1u);
}

TEST_F(FollowerTest, LeavesWhenTheLeaderIsSilentOrGone) {
  follow();
  now_ms_ += 4'999;
  step(event::Tick{});
  EXPECT_EQ(zab_->role(), Role::kFollowing);
  now_ms_ += 1;
  step(event::Tick{});
  EXPECT_EQ(zab_->role(), Role::kSettling);
  EXPECT_EQ(all<action::Settle>().size(), 1u);
}

TEST_F(FollowerTest, ASnapshotThatComesInMayTakeLongerThanInitLimit) {
  leader_info(2);
  step(event::AcceptedEpochSaved{2, true});
  receive(link_, Packet(PacketType::kSnap, Zxid::make(1, 9)));
  for (int i = 0; i < 5; ++i) {
    now_ms_ += zab_->config().init_ms() - 1;
    step(event::PartReceived{link_});
    EXPECT_GT(zab_->deadline_ms(), now_ms_ + 1);
    step(event::Tick{});
  }
  EXPECT_EQ(zab_->role(), Role::kFollowing);
  now_ms_ += zab_->config().init_ms();
  step(event::Tick{});
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(FollowerTest, VotesWithWhatIsDurableAfterItLeft) {
  follow();
  proposal(Zxid::make(2, 1));
  step(event::LinkDown{link_});
  EXPECT_EQ(zab_->role(), Role::kSettling);
  History durable;
  durable.append(Zxid::make(1, 2));
  step(event::Settled{durable, 2, {}});
  EXPECT_EQ(zab_->role(), Role::kLooking);
  EXPECT_EQ(all<action::SendVote>()[0].notification.vote.zxid, Zxid::make(1, 2));
  EXPECT_EQ(all<action::SendVote>()[0].notification.vote.peer_epoch, 2);
}

// ---- nodes without a vote (ZAB.md section 3)

class WithoutVote : public ZabFixture {
 protected:
  void make_without_vote(bool empty) {
    ZabState state;
    state.votes = false;
    state.empty = empty;
    state.nonce = kNonce;
    make(config(1), state);
  }
  static constexpr int64_t kNonce = kFirstNonce + 77'000;
};

TEST_F(WithoutVote, SaysThatItHasNone) {
  make_without_vote(true);
  auto votes = all<action::SendVote>();
  ASSERT_EQ(votes.size(), 2u);
  EXPECT_EQ(votes[0].notification.vote.zxid, Zxid{-1});
  EXPECT_EQ(votes[0].notification.vote.peer_epoch, 0);
}

TEST_F(WithoutVote, ANewEnsembleVotesOnceAllAreSeenEmpty) {
  make_without_vote(true);
  vote(2, PeerState::kLooking, {ServerId{2}, Zxid{-1}, 0}, kNonce);
  vote(3, PeerState::kLooking, {ServerId{3}, Zxid{}, 0}, 1);  // an old vote, repeated
  EXPECT_TRUE(all<action::SaveAcceptedEpoch>().empty());
  vote(3, PeerState::kLooking, {ServerId{3}, Zxid{}, 0}, kNonce);
  auto saves = all<action::SaveAcceptedEpoch>();
  ASSERT_EQ(saves.size(), 1u);
  EXPECT_TRUE(saves[0].votes);
  step(event::AcceptedEpochSaved{0, true});
  EXPECT_EQ(all<action::SendVote>().front().notification.vote.zxid, Zxid{});
}

// It ignores the question, and takes over the round of a vote.
TEST_F(WithoutVote, AnEmptyJavaServerIsSeenEmptyByARoundThatItTakesOver) {
  make_without_vote(true);
  vote(2, PeerState::kLooking, {ServerId{2}, Zxid{-1}, 0}, kNonce);
  const Vote own{ServerId{3}, Zxid{}, 0};
  vote(3, PeerState::kLooking, own, 1);
  EXPECT_TRUE(all<action::SaveAcceptedEpoch>().empty());
  // All other votes of its have its nonce as their round.
  auto question = [this] {
    std::optional<Notification> found;
    for (const auto& sent : all<action::SendVote>()) {
      bool is_one = sent.to == ServerId{3} && sent.notification.round < kFirstNonce;
      if (is_one) found = sent.notification;
    }
    return found;
  };
  int64_t round = 1;
  for (int i = 0; i < 2; ++i) {  // somebody else's round may come first
    for (int j = 0; j < 2 && !question(); ++j) vote(3, PeerState::kLooking, own, round);
    ASSERT_TRUE(question());
    EXPECT_EQ(question()->vote, (Vote{ServerId{1}, Zxid{}, 0}));
    EXPECT_GT(question()->round, round);
    round = question()->round + (i == 0 ? 5 : 0);
    actions_.clear();
  }
  EXPECT_TRUE(all<action::SaveAcceptedEpoch>().empty());
  vote(3, PeerState::kLooking, {ServerId{1}, Zxid{}, 0}, round);
  EXPECT_EQ(all<action::SaveAcceptedEpoch>().size(), 1u);
}

TEST_F(WithoutVote, AJavaServerWithDataIsNotSeenEmpty) {
  make_without_vote(true);
  vote(2, PeerState::kLooking, {ServerId{2}, Zxid{-1}, 0}, kNonce);
  for (int i = 0; i < 2; ++i) vote(3, PeerState::kLooking, {ServerId{3}, Zxid{}, 0}, 1);  // of old
  int64_t round = all<action::SendVote>().back().notification.round;
  vote(3, PeerState::kLooking, {ServerId{3}, Zxid::make(1, 1), 1}, round);
  vote(3, PeerState::kLooking, {ServerId{3}, Zxid{}, 0}, 1);
  EXPECT_TRUE(all<action::SaveAcceptedEpoch>().empty());
}

TEST_F(WithoutVote, ALateAnswerToItsQuestionIsNoRound) {
  make_without_vote(true);
  for (int64_t from : {2, 3})
    vote(from, PeerState::kLooking, {ServerId{from}, Zxid{-1}, 0}, kNonce);
  step(event::AcceptedEpochSaved{0, true});
  actions_.clear();
  for (int64_t nonce : {kNonce, kNonce + 1}) {  // the second one of a former start
    vote(3, PeerState::kLooking, {ServerId{3}, Zxid{}, 0}, nonce);
    EXPECT_TRUE(all<action::SendVote>().empty());
  }
  vote(3, PeerState::kLooking, {ServerId{3}, Zxid{}, 0}, 2);
  ASSERT_FALSE(all<action::SendVote>().empty());
  EXPECT_EQ(all<action::SendVote>().front().notification.round, 2);
  EXPECT_EQ(all<action::SendVote>().front().notification.vote.leader, ServerId{3});
}

TEST_F(WithoutVote, AnswersTheQuestionsOfOthers) {
  make_without_vote(true);
  vote(2, PeerState::kLooking, {ServerId{2}, Zxid{-1}, 0}, 123);
  auto votes = all<action::SendVote>();
  ASSERT_EQ(votes.size(), 1u);
  EXPECT_EQ(votes[0].notification.round, 123);
  vote(2, PeerState::kLooking, {ServerId{2}, Zxid{-1}, 0}, kNonce);  // an answer to its own
  EXPECT_TRUE(all<action::SendVote>().empty());
}

TEST_F(WithoutVote, AWipedDiskAmongNodesWithDataDoesNotVote) {
  make_without_vote(true);
  vote(2, PeerState::kLooking, {ServerId{2}, Zxid::make(1, 5), 1}, kNonce);
  vote(3, PeerState::kLooking, {ServerId{3}, Zxid{-1}, 0}, kNonce);
  EXPECT_TRUE(all<action::SaveAcceptedEpoch>().empty());
}

TEST_F(WithoutVote, ADamagedNodeIsNotANewOne) {
  make_without_vote(false);
  EXPECT_EQ(all<action::SendVote>().front().notification.vote.peer_epoch, 1);
  vote(2, PeerState::kLooking, {ServerId{2}, Zxid{-1}, 0}, kNonce);
  vote(3, PeerState::kLooking, {ServerId{3}, Zxid{-1}, 0}, kNonce);
  EXPECT_TRUE(all<action::SaveAcceptedEpoch>().empty());
}

TEST_F(WithoutVote, NeverLeadsThoughOthersStillFollowIt) {
  make_without_vote(false);
  for (int64_t from : {2, 3}) {
    vote(from, PeerState::kFollowing, {ServerId{1}, Zxid::make(2, 9), 2}, 1);
  }
  EXPECT_EQ(zab_->role(), Role::kLooking);
}

TEST_F(WithoutVote, ObservesUnderAnotherIdUntilAMajorityOfTheOthersAgrees) {
  make_without_vote(false);
  for (int64_t from : {2, 3}) {
    PeerState state = from == 2 ? PeerState::kLeading : PeerState::kFollowing;
    vote(from, state, {ServerId{2}, Zxid::make(1, 3), 2}, 1);
  }
  ASSERT_EQ(zab_->role(), Role::kObserving);
  LinkId link = zab_->link_to_leader();
  step(event::LinkUp{link});
  auto info = decode_learner_info(all<action::Send>()[0].packet.bytes());
  EXPECT_EQ(sent(), "OBSERVERINFO");
  EXPECT_EQ(info->id, without_vote(ServerId{1}));
  receive(link, Packet(PacketType::kLeaderInfo, Zxid::make(2, 0), encode_leader_info(0, "")));
  EXPECT_FALSE(all<action::SaveAcceptedEpoch>()[0].votes);
  step(event::AcceptedEpochSaved{2, false});
  receive(link, Packet(PacketType::kDiff, Zxid{}));
  receive(link, Packet(PacketType::kNewLeader, Zxid::make(2, 0)));
  step(event::EpochSaved{2});
  receive(link, Packet(PacketType::kUpToDate, Zxid{-1}));
  now_ms_ += config(1).init_ms() + 2'000;
  receive(link, Packet(PacketType::kPing, Zxid{}));
  vote(2, PeerState::kLeading, {ServerId{2}, Zxid::make(1, 3), 2}, 1);
  EXPECT_TRUE(all<action::SaveAcceptedEpoch>().empty());
  vote(3, PeerState::kFollowing, {ServerId{2}, Zxid::make(1, 3), 2}, 1);
  auto saves = all<action::SaveAcceptedEpoch>();
  ASSERT_EQ(saves.size(), 1u);
  EXPECT_TRUE(saves[0].votes);
  EXPECT_EQ(saves[0].epoch, 2u);
  step(event::AcceptedEpochSaved{2, true});
  EXPECT_EQ(zab_->role(), Role::kSettling);
}

TEST_F(WithoutVote, NotBeforeOldPromisesAreOver) {
  make_without_vote(false);
  EXPECT_FALSE(zab_->state().votes);
  for (int64_t from : {2, 3}) {
    PeerState state = from == 2 ? PeerState::kLeading : PeerState::kFollowing;
    vote(from, state, {ServerId{2}, Zxid::make(1, 3), 2}, 1);
  }
  for (int64_t from : {2, 3}) vote(from, PeerState::kFollowing, {ServerId{2}, Zxid{}, 2}, 1);
  EXPECT_TRUE(all<action::SaveAcceptedEpoch>().empty());
}

TEST_F(WithoutVote, AnObserverTellsOfANewerConfiguration) {
  ZabConfig config = this->config(9);
  config.ensemble = Ensemble(config.ensemble.members(), 5);
  ZabState without;
  without.votes = false;
  make(config, without);
  for (int64_t from : {2, 3}) {
    PeerState state = from == 2 ? PeerState::kLeading : PeerState::kFollowing;
    vote(from, state, {ServerId{2}, Zxid::make(1, 3), 2}, 1);
  }
  ASSERT_EQ(zab_->role(), Role::kObserving);
  Vote own{ServerId{1}, Zxid{}, 0};
  vote(1, PeerState::kLooking, own, 1);
  ASSERT_EQ(all<action::SendVote>().size(), 1u);
  EXPECT_EQ(all<action::SendVote>()[0].notification.state, PeerState::kObserving);
  EXPECT_EQ(all<action::SendVote>()[0].notification.config, config.ensemble.text());
  vote(1, PeerState::kLooking, own, 1);  // once a tick
  EXPECT_TRUE(all<action::SendVote>().empty());
  now_ms_ += config.tick_ms;
  vote(1, PeerState::kFollowing, own, 1);
  EXPECT_TRUE(all<action::SendVote>().empty());
  step(event::VoteReceived{ServerId{1},
                           Notification{PeerState::kLooking, own, 1, config.ensemble.text(), ""}});
  EXPECT_TRUE(all<action::SendVote>().empty());
  vote(1, PeerState::kLooking, own, 1);
  EXPECT_EQ(all<action::SendVote>().size(), 1u);
}

}  // namespace
}  // namespace zabfs::consensus
