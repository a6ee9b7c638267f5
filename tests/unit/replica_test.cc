// One replica by hand: its lanes and its peers do what the test says, and no more.
#include "consensus/replica.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "tree/snapshot.h"
#include "unit/lone_replica.h"
#include "unit/numbers.h"
#include "unit/put_snapshot.h"

namespace zabfs::consensus {
namespace {

class ReplicaTest : public testing::Test, public LoneReplica {
 protected:
  void put(Zxid zxid) {
    SnapshotStore store(snapshot_disk_);
    ASSERT_TRUE(put_snapshot(store, zxid).ok());
  }
  bool has_snapshot(Zxid zxid) {
    std::vector<Zxid> all = SnapshotStore(snapshot_disk_).list();
    return std::find(all.begin(), all.end(), zxid) != all.end();
  }
  void take_snapshot() {
    on_strand([this] { replica_->take_snapshot(); });
    run();
  }

  void die(const std::string& why) override {
    if (may_die_) throw std::runtime_error(why);  // nothing goes on behind it
    FAIL() << why;
  }
  bool may_die_ = false;
};

// ---- snapshots of no history

// In epoch 2, with txns 1 to 5 of epoch 1 behind it.
class Leads : public ReplicaTest {
 protected:
  void SetUp() override {
    start();
    for (int i = 0; i < 5; ++i) create("/a" + std::to_string(i));
    run();
    take_snapshot();
    config_.initialize = false;
    start();
    ASSERT_TRUE(replica_->is_serving());
    ASSERT_EQ(replica_->zab().epoch(), 2u);
    create("/b");
    run();
  }
  const Zxid stray_ = Zxid::make(1, 9);
};

TEST_F(Leads, ASnapshotThatWasStagedAndGivenUpIsNotSent) {
  put(stray_);
  on_strand([this] { replica_->on_link_accepted(kLink); });
  receive(kLink,
          Packet(PacketType::kObserverInfo, Zxid{}, encode_learner_info({ServerId{2}, 0, true})));
  std::string epoch;
  tree::jute::Writer(epoch).i32(0);
  // Its history is another.
  receive(kLink, Packet(PacketType::kAckEpoch, Zxid::make(0, 5), std::move(epoch)));
  run();
  Zxid sent;
  LinkReader reader;
  LinkReader::Handlers handlers;
  handlers.packet = [&](const Packet& packet) {
    if (packet.type == PacketType::kSnap) sent = packet.zxid;
  };
  handlers.snapshot = [](std::unique_ptr<tree::Tree>) {};
  EXPECT_EQ(reader.feed(sent_[kLink], handlers).why(), "");
  EXPECT_EQ(sent, Zxid::make(1, 5));
}

TEST_F(Leads, ASnapshotThatWasStagedAndGivenUpIsRemoved) {
  put(stray_);
  put(Zxid::make(7, 1));
  take_snapshot();
  EXPECT_FALSE(has_snapshot(stray_));
  EXPECT_FALSE(has_snapshot(Zxid::make(7, 1)));
  EXPECT_TRUE(has_snapshot(Zxid::make(1, 5)));
  EXPECT_TRUE(has_snapshot(Zxid::make(2, 1)));
}

// ---- a server of Apache ZooKeeper's

// An observer of Java's, synchronised. Its clients have their answers in the order in which it
// forwarded their requests, or never: SYNC stands in that order, too (Java: CommitProcessor).
class LeadsJava : public Leads {
 protected:
  void SetUp() override {
    Leads::SetUp();
    on_strand([this] { replica_->on_link_accepted(kLink); });
    std::string info;
    tree::jute::Writer out(info);
    out.i64(2);
    out.i32(0x10000);
    out.i64(0);
    receive(kLink, Packet(PacketType::kObserverInfo, Zxid{}, std::move(info)));
    std::string epoch;
    tree::jute::Writer(epoch).i32(0);
    receive(kLink, Packet(PacketType::kAckEpoch, Zxid{}, std::move(epoch)));
    run();
    receive(kLink, Packet(PacketType::kAck, Zxid::make(2, 0)));
    run();
    sent_[kLink].clear();
  }
  void forward(tree::OpCode type, SessionId session, std::string body) {
    std::string data;
    tree::jute::Writer out(data);
    out.i64(session.value);
    out.i32(0);
    out.i32(static_cast<int32_t>(type));
    out.raw(body);
    receive(kLink, Packet(PacketType::kRequest, Zxid{-1}, std::move(data)));
  }
  // The sessions whose txns came, and 0 for an answer to SYNC. Txns of no session are left out.
  std::vector<int64_t> answers() {
    std::vector<int64_t> answers;
    LinkReader reader;
    LinkReader::Handlers handlers;
    handlers.packet = [&](const Packet& packet) {
      if (packet.type == PacketType::kSync) answers.push_back(0);
      if (packet.type != PacketType::kInform) return;
      int64_t session = tree::decode_txn_header(packet.bytes())->session.value;
      if (session != 0) answers.push_back(session);
    };
    handlers.snapshot = [](std::unique_ptr<tree::Tree>) {};
    EXPECT_EQ(reader.feed(sent_[kLink], handlers).why(), "");
    return answers;
  }
  const SessionId a_{0x0200000000000001}, b_{0x0200000000000002};
};

TEST_F(LeadsJava, ASyncIsAnsweredInTheOrderOfRequests) {
  create("/c");  // while it is written, the others wait to be written, and committed, together
  forward(tree::OpCode::kCreateSession, a_, tree::create_session_body(10'000));
  forward(tree::OpCode::kSync, a_, std::string("\0\0\0\1/", 5));
  forward(tree::OpCode::kCreateSession, b_, tree::create_session_body(10'000));
  EXPECT_EQ(answers(), std::vector<int64_t>{});
  run();
  EXPECT_EQ(answers(), (std::vector<int64_t>{a_.value, 0, b_.value}));
}

TEST_F(LeadsJava, SyncsAloneAreAnswered) {
  for (int i = 0; i < 3; ++i) {
    forward(tree::OpCode::kSync, a_, std::string("\0\0\0\1/", 5));
  }
  run();
  EXPECT_EQ(answers(), (std::vector<int64_t>{0, 0, 0}));
}

// ---- what waits

TEST_F(Leads, RequestsUnderWayAreLimitedInBytes) {
  config_.max_pending_bytes = 1'500;
  start();
  for (int i = 0; i < 3; ++i) create("/c" + std::to_string(i), 400);
  EXPECT_EQ(last_error_, tree::Error::kOk);
  create("/d", 400);
  EXPECT_EQ(last_error_, tree::Error::kBadLimit);
  EXPECT_LE(replica_->pending_bytes(), 1'500u);
  run();
  EXPECT_EQ(replica_->pending_bytes(), 0u);
  create("/d", 400);
  run();
  EXPECT_EQ(last_error_, tree::Error::kOk);
}

TEST_F(Leads, NothingIsReadFromOthersWhileTheLogIsBehind) {
  config_.max_log_queue_bytes = 1'000;
  start();
  on_strand([this] { replica_->on_link_accepted(kLink); });
  EXPECT_FALSE(held_[kLink]);
  for (int i = 0; i < 5; ++i) create("/c" + std::to_string(i), 500);
  EXPECT_TRUE(held_[kLink]);
  run();
  EXPECT_FALSE(held_[kLink]);
  EXPECT_EQ(replica_->log_queue_bytes(), 0u);
}

// ---- full disks

TEST_F(Leads, NothingIsWrittenBetweenAFullDiskAndTheProbe) {
  pass(10);
  log_disk_.set_capacity(log_disk_.used_bytes() + 1);
  for (int i = 0; !replica_->is_disk_full(); ++i) {
    ASSERT_LT(i, 100);
    create("/full" + std::to_string(i), 500);
    run();
  }
  pass(300);  // the last batch is to be sealed by then
  EXPECT_TRUE(jobs_.empty());
  log_disk_.set_capacity(0);
  pass(1'000);
  run();
  EXPECT_FALSE(replica_->is_disk_full());
}

// ---- a leader's snapshot

// The observer, led by server 1.
class Observes : public ReplicaTest {
 protected:
  void SetUp() override {
    config_.initialize = false;
    config_.zab.me = ServerId{2};
    start();
  }
  void hear_of_leader() {
    Notification leads;
    leads.state = PeerState::kLeading;
    leads.vote = Vote{ServerId{1}, Zxid{}, 1};
    leads.round = 1;
    on_strand([&] { replica_->on_vote(ServerId{1}, leads); });
    run();
  }
  // Goes on as far as what the leader says of the histories.
  void join(uint32_t epoch, bool of_java = false) {
    size_t before = dials_.size();
    for (int i = 0; dials_.size() == before; ++i) {
      ASSERT_LT(i, 100);
      pass(100);
      run();
      hear_of_leader();
    }
    link_ = dials_.back();
    sent_[link_].clear();
    on_strand([&] { replica_->on_link_up(link_); });
    std::string info = of_java ? std::string("\0\1\0\0", 4) : encode_leader_info(0, "");
    receive(link_, Packet(PacketType::kLeaderInfo, Zxid::make(epoch, 0), std::move(info)));
    run();
  }
  // Its end, but for UPTODATE.
  void receive_snapshot(Zxid zxid, const std::string& path) {
    receive(link_, Packet(PacketType::kSnap, zxid));
    run();
    receive_stream(zxid, path);
    run();
  }
  void receive_stream(Zxid zxid, const std::string& path) {
    tree::Tree tree;
    tree::Txn txn;
    txn.header.zxid = zxid;
    txn.header.type = tree::OpCode::kCreate;
    txn.body = tree::CreateTxn{path, "", tree::open_acl(), false, 1};
    tree.apply(txn, nullptr);
    std::string bytes;
    std::unique_ptr<tree::SnapshotCursor> cursor = tree.begin_snapshot();
    while (cursor->next(bytes, kSnapshotChunkBytes)) {
    }
    std::string_view input = bytes;
    tree::SnapshotLoader loader;
    ASSERT_EQ(loader.feed(input), tree::SnapshotLoader::State::kDone);
    on_strand([&] { replica_->on_snapshot(link_, loader.finish(zxid)); });
  }
  static Packet inform(Zxid zxid, const std::string& path, std::optional<int64_t> digest = {}) {
    tree::Txn txn;
    txn.header.zxid = zxid;
    txn.header.type = tree::OpCode::kCreate;
    txn.body = tree::CreateTxn{path, "", tree::open_acl(), false, 1};
    txn.digest = digest;
    std::string bytes;
    tree::encode_txn(txn, bytes);
    return Packet(PacketType::kInform, zxid, std::move(bytes));
  }
  void receive_txn(Zxid zxid, const std::string& path, std::optional<int64_t> digest = {}) {
    receive(link_, inform(zxid, path, digest));
    run();
  }
  // Requests of this path, on the link to the leader.
  int times_sent(const std::string& path) {
    int times = 0;
    std::string_view sent = sent_[link_];
    for (size_t at = sent.find(path); at != sent.npos; at = sent.find(path, at + 1)) ++times;
    return times;
  }
  void receive_new_leader(uint32_t epoch) {
    receive(link_,
            Packet(PacketType::kNewLeader, Zxid::make(epoch, 0), config_.zab.ensemble.text()));
    run();
  }
  void receive_up_to_date() {
    receive(link_, Packet(PacketType::kUpToDate, Zxid{-1}));
    run();
  }
  void lose_leader() {
    on_strand([&] { replica_->on_link_down(link_); });
    run();
  }
  // Where this node's log ends, as it told its leader.
  Zxid claimed() {
    std::string_view bytes = sent_[link_];
    while (!bytes.empty()) {
      tree::jute::Reader in(bytes);
      auto type = static_cast<PacketType>(in.i32());
      Zxid zxid{in.i64()};
      if (type == PacketType::kAckEpoch) return zxid;
      bytes.remove_prefix(1);
    }
    return Zxid{};
  }
  bool shows(const std::string& path) { return replica_->tree().find(path) != nullptr; }
  LinkId link_ = 0;
};

// The snapshot is newer than the first txn that the leader forwards, and has the one behind it,
// too.
TEST_F(Observes, KeepsAJavaSnapshotAsItIsWithAllThatWasCommittedMeanwhile) {
  join(2, true);
  receive_snapshot(Zxid::make(1, 5), "/later");
  receive_txn(Zxid::make(1, 5), "/ignored");
  receive_txn(Zxid::make(1, 6), "/later", 77);  // 77 is the digest of some other tree
  receive_txn(Zxid::make(1, 7), "/last", 78);
  EXPECT_EQ(replica_->zab().state().history.last(), Zxid{});
  receive_new_leader(2);
  EXPECT_EQ(replica_->zab().state().history.base(), Zxid::make(1, 7));
  EXPECT_FALSE(shows("/last"));
  receive_up_to_date();
  EXPECT_TRUE(shows("/later"));
  EXPECT_TRUE(shows("/last"));
  EXPECT_FALSE(shows("/ignored"));
  EXPECT_TRUE(replica_->tree().digest_agrees());
  pass(500);
  run();
  start();
  EXPECT_TRUE(shows("/last"));
  EXPECT_EQ(replica_->zab().state().history.base(), Zxid::make(1, 7));
}

TEST_F(Observes, SaysWhichTxnItDoesNotKnowWhoSentItAndWhatToDo) {
  join(2, true);
  receive(link_, Packet(PacketType::kDiff, Zxid{}));
  receive_new_leader(2);
  receive_up_to_date();
  std::string bytes(inform(Zxid::make(2, 1), "/a").bytes());
  bytes.replace(28, 4, std::string("\0\0\0\x63", 4));  // the type: 99
  may_die_ = true;
  std::string death;
  try {
    receive(link_, Packet(PacketType::kInform, Zxid::make(2, 1), std::move(bytes)));
    run();
  } catch (const std::runtime_error& died) {
    death = died.what();
  }
  for (const char* words :
       {"0x200000001", "type 99", "The leader is server 1, which runs ZooKeeper",
        "Run on this node the release that the newest member runs"}) {
    EXPECT_NE(death.find(words), std::string::npos) << words << ": " << death;
  }
}

// All of a Java leader's log is in its snapshots, and the end of that may never be committed. Here
// the leader of epoch 1 fails with (1,5) in its snapshot; that of epoch 2 has nothing after (1,3).
TEST_F(Observes, ShowsNothingOfASnapshotBeforeItIsKnownThatAllInItWasCommitted) {
  join(1);
  receive_snapshot(Zxid::make(1, 5), "/lost");
  receive_new_leader(1);
  EXPECT_EQ(replica_->zab().state().history.last(), Zxid::make(1, 5));
  EXPECT_FALSE(shows("/lost"));
  lose_leader();
  EXPECT_FALSE(shows("/lost"));
  start();
  EXPECT_FALSE(shows("/lost"));
  EXPECT_EQ(replica_->zab().state().history.last(), Zxid::make(1, 5));
  join(2);
  EXPECT_EQ(claimed(), Zxid::make(1, 5));
  receive(link_, Packet(PacketType::kTrunc, Zxid::make(1, 3)));
  run();
  EXPECT_EQ(replica_->zab().role(), Role::kLooking);
  join(2);
  EXPECT_EQ(claimed(), Zxid::make(0, UINT32_MAX));  // none can have that: it sends a snapshot
  receive_snapshot(Zxid::make(1, 3), "/kept");
  receive_new_leader(2);
  EXPECT_FALSE(shows("/kept"));
  receive_up_to_date();
  EXPECT_TRUE(shows("/kept"));
  EXPECT_FALSE(shows("/lost"));
  pass(200);  // and the log says so
  run();
  start();
  EXPECT_TRUE(shows("/kept"));
}

// The leader of epoch 2 has all that the snapshot holds.
TEST_F(Observes, ShowsASnapshotOnceALaterLeaderGoesOnFromIt) {
  join(1);
  receive_snapshot(Zxid::make(1, 5), "/a");
  receive_new_leader(1);
  lose_leader();
  join(2);
  EXPECT_EQ(claimed(), Zxid::make(1, 5));
  receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 5)));
  receive_new_leader(2);
  EXPECT_FALSE(shows("/a"));
  receive_up_to_date();
  EXPECT_TRUE(shows("/a"));
}

// As where the others were set back to older copies of their disks.
TEST_F(Observes, KeepsNoSnapshotOfAnotherHistoryWhoseNumbersGoOn) {
  join(1);
  receive_snapshot(Zxid::make(1, 5), "/other");
  receive_new_leader(1);
  lose_leader();
  join(2);
  receive_snapshot(Zxid::make(1, 3), "/kept");
  for (uint32_t counter : {4u, 5u, 6u}) {
    receive_txn(Zxid::make(1, counter), "/" + std::to_string(counter));
  }
  receive_new_leader(2);
  receive_up_to_date();
  EXPECT_TRUE(shows("/kept"));
  pass(200);  // and the log says that it was committed
  run();
  start();
  EXPECT_TRUE(shows("/kept"));
  EXPECT_FALSE(shows("/other"));
  EXPECT_FALSE(has_snapshot(Zxid::make(1, 5)));
}

TEST_F(Observes, StoresALeadersSnapshotBehindOneOfItsOwn) {
  join(1);
  receive_snapshot(Zxid::make(1, 5), "/a");
  receive_new_leader(1);
  receive_up_to_date();
  receive_txn(Zxid::make(1, 6), "/6");
  lose_leader();
  on_strand([this] { replica_->take_snapshot(); });
  ASSERT_EQ(jobs_.size(), 1u);
  auto own = std::move(jobs_.front());
  jobs_.clear();
  join(2);
  receive_snapshot(Zxid::make(1, 3), "/kept");
  EXPECT_FALSE(has_snapshot(Zxid::make(1, 3)));
  own.first();
  on_strand(own.second);
  run();
  EXPECT_TRUE(has_snapshot(Zxid::make(1, 3)));
  EXPECT_FALSE(has_snapshot(Zxid::make(1, 6)));
}

// As a client does that sends a sync and then a write. The leader goes when it has answered the
// sync, and before this node has written what was committed by then.
TEST_F(Observes, SendsARequestOnceThatABarrierOfTheLastLeaderLetThrough) {
  join(1);
  receive_snapshot(Zxid::make(1, 5), "/a");
  receive_new_leader(1);
  receive(link_, Packet(PacketType::kUpToDate, Zxid{-1}));
  receive(link_, Packet(PacketType::kSync, Zxid{}));  // of this node's own
  run();
  bool is_through = false;
  on_strand([&] {
    replica_->sync({}, [&](const tree::Outcome&) {
      is_through = true;
      create("/behind");
    });
  });
  receive(link_, inform(Zxid::make(1, 6), "/6"));  // is being written
  receive(link_, inform(Zxid::make(1, 7), "/7"));  // waits for that
  receive(link_, Packet(PacketType::kSync, Zxid{}));
  lose_leader();
  EXPECT_FALSE(is_through);
  join(2);
  receive(link_, Packet(PacketType::kDiff, Zxid::make(1, 7)));
  receive_txn(Zxid::make(1, 7), "/7");
  receive_new_leader(2);
  receive(link_, Packet(PacketType::kUpToDate, Zxid{-1}));
  run();
  EXPECT_TRUE(is_through);
  EXPECT_EQ(times_sent("/behind"), 0);  // not before it is known what else is out
  receive(link_, Packet(PacketType::kSync, Zxid{}));
  run();
  EXPECT_EQ(times_sent("/behind"), 1);
}

TEST_F(Observes, TakesNoSnapshotOfATreeThatDiffersFromTheLeaders) {
  join(1);
  receive_snapshot(Zxid::make(1, 5), "/a");
  receive_new_leader(1);
  receive_up_to_date();
  receive_txn(Zxid::make(1, 6), "/6", 1);
  EXPECT_NE(replica_->divergence(), "");
  take_snapshot();
  EXPECT_FALSE(has_snapshot(Zxid::make(1, 6)));
}

TEST_F(Observes, WaitsForAFullDiskOfSnapshotsAndAsksForNoSnapshotMeanwhile) {
  join(1);
  snapshot_disk_.set_capacity(snapshot_disk_.used_bytes() + 100);
  receive_snapshot(Zxid::make(1, 5), "/a");
  EXPECT_TRUE(replica_->is_disk_full());
  for (int i = 0; i < 10; ++i) {
    pass(1'000);
    run();
    hear_of_leader();
  }
  EXPECT_TRUE(replica_->is_disk_full());
  EXPECT_EQ(dials_.size(), 1u);
  snapshot_disk_.set_capacity(0);
  pass(1'000);
  run();
  hear_of_leader();
  EXPECT_FALSE(replica_->is_disk_full());
  EXPECT_EQ(dials_.size(), 2u);
}

// The disk of snapshots has no room, while the log's takes long to write a part of the group that
// begins with the snapshot. A probe finds room before that write has ended.
TEST_F(Observes, GoesOnBehindAFullDiskOnlyOnceTheGroupIsRolledBack) {
  join(1);
  snapshot_disk_.set_capacity(snapshot_disk_.used_bytes() + 100);
  receive(link_, Packet(PacketType::kSnap, Zxid::make(1, 5)));
  receive_stream(Zxid::make(1, 5), "/a");
  receive(link_, inform(Zxid::make(1, 6), "/6"));
  run_one();  // the beginning of the group is written
  run_one();  // the snapshot is not
  ASSERT_TRUE(replica_->is_disk_full());
  ASSERT_EQ(jobs_.size(), 1u);  // (1,6) is being written
  snapshot_disk_.set_capacity(0);
  for (int i = 0; i < 10 && replica_->is_disk_full(); ++i) {
    pass(1'000);
    if (!jobs_.empty()) run_one();
  }
  EXPECT_FALSE(replica_->is_disk_full());
  EXPECT_EQ(replica_->zab().role(), Role::kLooking);
  EXPECT_EQ(replica_->zab().state().history.last(), Zxid{});
}

}  // namespace
}  // namespace zabfs::consensus
