#include "consensus/learner_supply.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>

#include "sim/sim_disk.h"
#include "tree/snapshot.h"
#include "unit/hand_lanes.h"
#include "unit/numbers.h"
#include "unit/put_snapshot.h"

namespace zabfs::consensus {
namespace {

constexpr size_t kTxnBytes = 100;
constexpr uint32_t kLast = 8;    // of the log
constexpr uint32_t kOnDisk = 5;  // what is later is in memory, too
constexpr size_t kPieceBytes = 2 * kTxnBytes;
constexpr size_t kMaxWaitingBytes = 1'000;

// A network that takes what the test lets it take.
class HandLinks : public Transport {
 public:
  void set_members(const std::map<ServerId, Member>&) override {}
  void send_vote(ServerId, const Notification&) override {}
  void dial(ServerId, LinkId) override {}
  void send(LinkId link, const std::string& bytes) override { sent_[link] += bytes; }
  size_t unsent(LinkId link) override { return is_slow_.contains(link) ? kPieceBytes : 0; }
  LinkFlow flow(LinkId link) override { return {sent_[link].size(), delivered_[link]}; }
  void hold(LinkId, bool) override {}
  void close(LinkId, const std::string&) override {}
  void flush() override {}

  std::map<LinkId, std::string> sent_;
  std::map<LinkId, uint64_t> delivered_;
  std::set<LinkId> is_slow_;
};

class LearnerSupplyTest : public testing::Test {
 protected:
  // The log holds (1,1) to (1,8), the first five of them on the disk alone.
  LearnerSupplyTest() {
    EXPECT_EQ(log_.at_rest().open().error, "");
    EXPECT_TRUE(log_.at_rest().begin().ok());
    std::vector<LogEntry> batch;
    recent_.restart(zxid(kOnDisk));
    for (uint32_t counter = 1; counter <= kLast; ++counter) {
      Payload txn = make_payload(std::string(kTxnBytes, 'x'));
      batch.push_back({log_format::RecordType::kTxn, zxid(counter), 0, txn});
      if (counter > kOnDisk) static_cast<void>(recent_.append(zxid(counter), txn, SIZE_MAX));
    }
    EXPECT_TRUE(log_.at_rest().write(batch, Zxid{}).ok());
    history_ = log_.at_rest().history();
  }

  void put(Zxid at) { ASSERT_TRUE(put_snapshot(snapshots_, at).ok()); }
  void damage(sim::SimDisk& disk, const std::string& prefix) {
    for (const std::string& name : disk.list()) {
      if (name.starts_with(prefix)) disk.rot(name, 200);
    }
  }
  static std::string encoded(PacketType type, Zxid at) {
    std::string bytes;
    encode_packet(Packet(type, at), bytes);
    return bytes;
  }
  void propose(uint32_t counter, LinkId link = kLink) {
    supply_.send(link, encoded(PacketType::kCommit, zxid(counter)));
  }
  // Until nothing more is due, and no learner takes more.
  void run() {
    do {
      while (supply_.supply()) {
      }
      lanes_.run_all();
    } while (supply_.supply() || !lanes_.background_.empty());
  }
  // What a learner has been sent, as "p4 c4 S5": a proposal, a commit, a snapshot with its stream.
  std::string sent(LinkId link = kLink) {
    std::string text;
    LinkReader reader;
    LinkReader::Handlers handlers;
    handlers.packet = [&](const Packet& packet) {
      const char* name = packet.type == PacketType::kProposal ? "p"
                         : packet.type == PacketType::kCommit ? "c"
                                                              : "s";
      text += name + std::to_string(packet.zxid.counter()) + " ";
    };
    handlers.snapshot = [&](std::unique_ptr<tree::Tree> tree) {
      text += tree->root().times == tree::ChangeTimes() ? "tree " : "tree-with-times ";
    };
    EXPECT_EQ(reader.feed(links_.sent_[link], handlers).why(), "");
    return text;
  }

  HandLanes lanes_;
  HandLinks links_;
  sim::SimDisk log_disk_{1}, snapshot_disk_{2};
  SnapshotStore snapshots_{snapshot_disk_};
  LogPipeline log_{{1u << 20, 1u << 20}, lanes_, log_disk_, snapshots_, {}};
  RecentTxns recent_{100};
  History history_;
  bool is_purging_ = false;
  std::map<LinkId, std::string> cut_off_;
  std::vector<std::string> damage_;
  Zxid unreadable_through_;
  int snapshots_missed_ = 0;
  LearnerSupply supply_{
      {kMaxWaitingBytes, kPieceBytes},
      lanes_,
      links_,
      log_,
      snapshots_,
      recent_,
      {[this]() -> const History& { return history_; }, [this] { return is_purging_; },
       [this](LinkId link, const std::string& reason) {
         supply_.forget(link);
         cut_off_[link] = reason;
       },
       [this](const std::string& what) { damage_.push_back(what); },
       [this](Zxid through) { unreadable_through_ = through; }, [this] { ++snapshots_missed_; }}};
};

// ---- history

TEST_F(LearnerSupplyTest, SendsWhatIsInMemoryAtOnce) {
  supply_.send_history({kLink, zxid(6), zxid(8), false});
  EXPECT_TRUE(supply_.supply());
  EXPECT_TRUE(lanes_.background_.empty());
  EXPECT_EQ(sent(), "p7 p8 ");
}

TEST_F(LearnerSupplyTest, NothingIsMissingAtTheEndOfTheLog) {
  supply_.send_history({kLink, zxid(8), zxid(8), false});
  propose(9);
  EXPECT_EQ(sent(), "c9 ");
}

TEST_F(LearnerSupplyTest, ReadsOlderTxnsInPiecesAndKeepsTheirOrder) {
  supply_.send_history({kLink, zxid(1), zxid(8), true});
  propose(9);
  EXPECT_FALSE(supply_.supply());
  ASSERT_EQ(lanes_.background_.size(), 1u);
  HandLanes::run_one(lanes_.background_);
  EXPECT_EQ(sent(), "p2 c2 p3 c3 p4 c4 ");  // a piece, and one
  propose(10);
  run();
  EXPECT_EQ(sent(), "p2 c2 p3 c3 p4 c4 p5 c5 p6 c6 p7 c7 p8 c8 c9 c10 ");
  propose(11);
  EXPECT_TRUE(sent().ends_with("c10 c11 "));  // nothing waits any more
}

TEST_F(LearnerSupplyTest, ReadsNothingForALearnerThatTakesNothing) {
  links_.is_slow_.insert(kLink);
  supply_.send_history({kLink, zxid(1), zxid(8), false});
  supply_.send_history({kOther, zxid(7), zxid(8), false});
  run();
  EXPECT_EQ(sent(), "");
  EXPECT_EQ(sent(kOther), "p8 ");
  links_.is_slow_.clear();
  run();
  EXPECT_EQ(sent(), "p2 p3 p4 p5 p6 p7 p8 ");
}

TEST_F(LearnerSupplyTest, ASlowLearnerIsCutOffWhenTooMuchWaits) {
  links_.is_slow_.insert(kLink);
  supply_.send_history({kLink, zxid(7), zxid(8), false});
  supply_.send(kLink, std::string(kMaxWaitingBytes, 'x'));
  EXPECT_FALSE(supply_.supply());
  EXPECT_TRUE(cut_off_.empty());
  EXPECT_EQ(supply_.max_waiting_bytes(), kMaxWaitingBytes);
  supply_.send(kLink, "x");
  EXPECT_FALSE(supply_.supply());
  EXPECT_EQ(cut_off_[kLink], "it takes its history too slowly");
  EXPECT_EQ(supply_.max_waiting_bytes(), 0u);
}

TEST_F(LearnerSupplyTest, AnswersForALearnerThatIsGoneAreDropped) {
  supply_.send_history({kLink, zxid(1), zxid(8), false});
  EXPECT_FALSE(supply_.supply());
  supply_.forget(kLink);
  run();
  EXPECT_EQ(sent(), "");
}

TEST_F(LearnerSupplyTest, ALogThatWasPurgedMeanwhileIsNotDamaged) {
  for (bool is_told : {false, true}) {
    supply_.send_history({kLink, Zxid{}, zxid(8), false});
    EXPECT_FALSE(supply_.supply());
    log_disk_.wipe();
    is_purging_ = !is_told;
    if (is_told) history_.purge(zxid(3));
    run();
    EXPECT_EQ(cut_off_[kLink], "the log that it needs was purged meanwhile");
    cut_off_.clear();
  }
  EXPECT_TRUE(damage_.empty());
}

TEST_F(LearnerSupplyTest, ALogThatCannotBeReadIsReported) {
  damage(log_disk_, "log.");
  supply_.send_history({kLink, Zxid{}, zxid(8), false});
  run();
  EXPECT_EQ(damage_.size(), 1u);
  EXPECT_EQ(unreadable_through_, zxid(kOnDisk));
  EXPECT_EQ(cut_off_[kLink], "the log for this learner is damaged");
}

// ---- snapshots

TEST_F(LearnerSupplyTest, SendsTheNewestSnapshotOfTheHistoryAndWhatIsBehindIt) {
  put(zxid(3));
  put(zxid(6));
  put(zxid(8));           // beyond what is asked for
  put(Zxid::make(0, 9));  // of another history
  supply_.send_snapshot({kLink, zxid(7)}, false);
  propose(9);
  run();
  EXPECT_EQ(sent(), "s6 tree p7 c7 c9 ");
}

TEST_F(LearnerSupplyTest, JavaIsNotSentWhatItCannotRead) {
  tree::Tree tree;
  tree::Txn txn;
  txn.header = {SessionId{}, 0, zxid(6), 77, tree::OpCode::kCreate};
  txn.body = tree::CreateTxn{"/a", std::nullopt, {}};
  tree.apply(txn, nullptr);
  ASSERT_TRUE(put_snapshot(snapshots_, zxid(6), tree, 1u << 10).ok());
  supply_.send_snapshot({kLink, zxid(6), false}, false);
  supply_.send_snapshot({kOther, zxid(6), true}, false);
  run();
  EXPECT_EQ(sent(), "s6 tree ");
  EXPECT_EQ(sent(kOther), "s6 tree-with-times ");
}

TEST_F(LearnerSupplyTest, AHistoryFromTheBeginningNeedsNoSnapshot) {
  supply_.send_snapshot({kLink, zxid(8)}, false);
  run();
  EXPECT_TRUE(sent().starts_with("s0 tree p1 c1 p2 "));
}

TEST_F(LearnerSupplyTest, WaitsForANewerSnapshot) {
  put(zxid(3));
  supply_.send_snapshot({kLink, zxid(8)}, true);
  run();
  EXPECT_EQ(sent(), "");
  put(zxid(8));
  supply_.snapshot_over();
  run();
  EXPECT_EQ(sent(), "s8 tree ");
}

TEST_F(LearnerSupplyTest, AsksForASnapshotWhereNoneIsLeft) {
  history_.purge(zxid(2));
  supply_.send_snapshot({kLink, zxid(8)}, false);
  run();
  EXPECT_EQ(snapshots_missed_, 1);
  EXPECT_EQ(cut_off_[kLink], "the snapshot for this learner is gone");
}

TEST_F(LearnerSupplyTest, RemovesADamagedSnapshotAndReportsIt) {
  put(zxid(6));
  for (const std::string& name : snapshot_disk_.list()) snapshot_disk_.rot(name, 50);
  supply_.send_snapshot({kLink, zxid(8)}, false);
  run();
  EXPECT_EQ(damage_.size(), 1u);
  EXPECT_TRUE(snapshots_.list().empty());
  EXPECT_EQ(snapshots_missed_, 1);
  EXPECT_EQ(cut_off_[kLink], "the snapshot for this learner is corrupt");
}

TEST_F(LearnerSupplyTest, ASnapshotThatWasPurgedMeanwhileStaysReadable) {
  put(zxid(6));
  supply_.send_snapshot({kLink, zxid(8)}, false);
  EXPECT_FALSE(supply_.supply());
  HandLanes::run_one(lanes_.background_);  // it is open now
  snapshots_.remove(zxid(6));
  run();
  EXPECT_EQ(sent(), "s6 tree p7 c7 p8 c8 ");
}

TEST_F(LearnerSupplyTest, LooksForASnapshotOnTheLane) {
  put(zxid(3));
  supply_.send_snapshot({kLink, zxid(7)}, false);
  EXPECT_FALSE(supply_.supply());
  EXPECT_FALSE(supply_.supply());
  EXPECT_EQ(lanes_.background_.size(), 1u);  // once
  put(zxid(6));
  run();
  EXPECT_EQ(sent(), "s6 tree p7 c7 ");
}

TEST_F(LearnerSupplyTest, ALearnerThatGoesWhileASnapshotIsLookedForIsSentNothing) {
  put(zxid(6));
  supply_.send_snapshot({kLink, zxid(8)}, false);
  EXPECT_FALSE(supply_.supply());
  supply_.forget(kLink);
  run();
  EXPECT_EQ(sent(), "");
  EXPECT_TRUE(cut_off_.empty());
}

TEST_F(LearnerSupplyTest, ASnapshotThatIsGoneWhenItIsOpenedIsNoDamage) {
  put(zxid(6));
  supply_.send_snapshot({kLink, zxid(8)}, false);
  EXPECT_FALSE(supply_.supply());
  snapshots_.remove(zxid(6));
  run();
  EXPECT_TRUE(damage_.empty());
  EXPECT_TRUE(sent().starts_with("s0 tree p1 c1 "));  // the log reaches back far enough
}

// ---- what was taken

TEST_F(LearnerSupplyTest, TellsWhoTakesMoreOfThePast) {
  supply_.send_history({kLink, zxid(6), zxid(8), false});
  supply_.send_history({kOther, zxid(6), zxid(8), false});
  run();
  EXPECT_TRUE(supply_.take_fed().empty());
  links_.delivered_[kLink] = 10;
  EXPECT_EQ(supply_.take_fed(), (std::vector<LinkId>{kLink}));
  EXPECT_TRUE(supply_.take_fed().empty());
  links_.delivered_[kLink] = links_.sent_[kLink].size();
  EXPECT_EQ(supply_.take_fed(), (std::vector<LinkId>{kLink}));
  propose(9);  // is no past
  links_.delivered_[kLink] = links_.sent_[kLink].size();
  EXPECT_TRUE(supply_.take_fed().empty());
}

}  // namespace
}  // namespace zabfs::consensus
