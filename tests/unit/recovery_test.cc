// The ways back: what a node starts with, by what its disks have lost.
#include "consensus/recovery.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "consensus/fetch.h"
#include "sim/sim_disk.h"
#include "tree/snapshot.h"
#include "unit/hand_lanes.h"
#include "unit/numbers.h"
#include "unit/put_snapshot.h"

namespace zabfs::consensus {
namespace {

using log_format::RecordType;

constexpr uint32_t kLastOfLog = 30;   // of the log
constexpr uint32_t kCommitted = 25;   // as the log notes
constexpr uint32_t kAccepted = 4;     // promised
constexpr uint64_t kSegment = 4'096;  // holds about ten txns

Payload txn(uint32_t counter) { return make_payload(std::string(300, static_cast<char>(counter))); }

class RecoveryTest : public testing::Test {
 protected:
  // ---- what is on the disks

  // A voter that was whole: (1,1) to (1,kLastOfLog), and its promise.
  void make_node(bool votes = true) {
    EpochStore epochs(snapshot_disk_);
    static_cast<void>(epochs.open());
    ASSERT_TRUE(epochs.save({kAccepted, votes}).ok());
    Log log(log_disk_, Log::Options{kSegment});
    ASSERT_EQ(log.open().error, "");
    ASSERT_TRUE(log.begin().ok());
    ASSERT_TRUE(log.write({{RecordType::kBeginSync, {}, 0, nullptr},
                           {RecordType::kEndSync, {}, 1, nullptr}},
                          Zxid{})
                    .ok());
    for (uint32_t counter = 1; counter <= kLastOfLog; ++counter) {
      ASSERT_TRUE(log.write({{RecordType::kTxn, zxid(counter), 0, txn(counter)}},
                            zxid(std::min(counter, kCommitted)))
                      .ok());
    }
  }
  void put_snapshot_at(uint32_t counter) {
    SnapshotStore store(snapshot_disk_);
    ASSERT_TRUE(put_snapshot(store, zxid(counter)).ok());
  }
  void damage_txn(uint32_t counter) {
    std::vector<std::pair<std::string, uint64_t>> found;
    LogHandlers handlers;
    handlers.record = [&](const FoundRecord& record, size_t) {
      if (record.header.type == RecordType::kTxn && record.header.zxid == zxid(counter)) {
        found.emplace_back(log_segment_name(record.segment), record.offset);
      }
      return Taken::kYes;
    };
    read_log(log_disk_, handlers);
    ASSERT_EQ(found.size(), 1u);
    log_disk_.rot(found[0].first, found[0].second + 100);
  }
  // No peer can help: nothing says which txns it had.
  void damage_first_segment_for_good() { log_disk_.rot("log.0000000000000001", 8); }
  void remove(sim::SimDisk& disk, const std::string& prefix) {
    for (const std::string& name : disk.list()) {
      if (name.starts_with(prefix)) static_cast<void>(disk.remove(name));
    }
  }
  bool has_file(const sim::SimDisk& disk, const std::string& part) {
    sim::SimDisk copy = disk;
    for (const std::string& name : copy.list()) {
      if (name.find(part) != std::string::npos) return true;
    }
    return false;
  }

  // ---- a start

  void construct() {
    recovery_.reset();
    log_.reset();
    tree_ = std::make_unique<VisibleTree>();
    log_ = std::make_unique<LogPipeline>(LogPipeline::Options{kSegment, 1u << 20}, lanes_,
                                         log_disk_, store_, LogPipeline::Outcomes{});
    recovery_ = std::make_unique<Recovery>(
        options_, lanes_, snapshot_disk_, store_, *log_, *tree_,
        Recovery::Outcomes{
            [this] {
              return Recovery::Peers{others_, {options_.me, 7, true}};
            },
            [this] { return ++last_link_; },
            [this](ServerId member, LinkId link) { dials_.emplace_back(member, link); },
            [this](LinkId, const Packet& packet) {
              sent_ = packet;
              question_ = decode_fetch(packet.bytes()).value_or(FetchQuestion{});
            },
            [this](LinkId link, const std::string&) { closed_.push_back(link); },
            [this] {
              ++mendings_over_;
              recover();
            }});
  }
  void recover() {
    StatusOr<Recovery::Recovered> recovered = recovery_->recover({});
    why_ = recovered.why();
    if (!recovered.ok()) return;
    found_ = std::move(*recovered);
    if (found_.is_committed) tree_->show(found_.tree);
  }
  // What the node has after a start, as "votes, log ends at 30, tree at 20".
  std::string start() {
    construct();
    recover();
    return standing();
  }
  std::string standing() const {
    if (!why_.empty()) return "does not start: " + why_;
    std::string text = found_.state.empty ? "empty, " : "";
    text += found_.state.votes ? "votes" : "no vote";
    if (recovery_->is_mending()) text += ", mending";
    text += ", log ends at " + std::to_string(found_.state.history.last().counter());
    text += ", tree at " + std::to_string(found_.tree->last_zxid().counter());
    if (!found_.is_committed) text += " to be staged";
    return text;
  }

  // ---- the member that is asked

  void asked_member_sends(const std::vector<uint32_t>& counters) {
    for (uint32_t counter : counters) {
      recovery_->on_packet(Packet(PacketType::kProposal, zxid(counter), txn(counter)));
    }
  }
  void asked_member_ends(bool serves = false) {
    recovery_->on_packet(Packet(PacketType::kFetchTxns, Zxid{},
                                encode_fetch_end(serves ? FetchEnd::kServes : FetchEnd::kLooking)));
  }
  void pass(int64_t ms) {
    lanes_.now_ms_ += ms;
    recovery_->on_timer();
  }

  HandLanes lanes_;
  sim::SimDisk log_disk_{1}, snapshot_disk_{2};
  SnapshotStore store_{snapshot_disk_};
  Recovery::Options options_{ServerId{1}, Ensemble{}};
  std::set<ServerId> others_{ServerId{2}, ServerId{3}};
  std::unique_ptr<VisibleTree> tree_;
  std::unique_ptr<LogPipeline> log_;
  std::unique_ptr<Recovery> recovery_;
  Recovery::Recovered found_;
  std::string why_;
  LinkId last_link_ = 0;
  std::vector<std::pair<ServerId, LinkId>> dials_;
  std::vector<LinkId> closed_;
  Packet sent_;
  FetchQuestion question_;
  int mendings_over_ = 0;
};

// ---- nothing is damaged

TEST_F(RecoveryTest, AnEmptyNodeHasNoVote) {
  EXPECT_EQ(start(), "empty, no vote, log ends at 0, tree at 0");
  EXPECT_EQ(start(), "empty, no vote, log ends at 0, tree at 0");  // its log was begun
}

TEST_F(RecoveryTest, AnEmptyNodeThatIsToldToBeginVotes) {
  options_.initialize = true;
  EXPECT_EQ(start(), "empty, votes, log ends at 0, tree at 0");
  options_.initialize = false;
  EXPECT_EQ(start(), "votes, log ends at 0, tree at 0");
}

TEST_F(RecoveryTest, AnEmptyNodeThatIsAloneVotes) {
  options_.is_alone = true;
  EXPECT_EQ(start(), "empty, votes, log ends at 0, tree at 0");
}

TEST_F(RecoveryTest, AWholeNodeComesBackWithWhatItHad) {
  make_node();
  put_snapshot_at(10);
  put_snapshot_at(20);
  EXPECT_EQ(start(), "votes, log ends at 30, tree at 20");
  EXPECT_EQ(found_.txns.size(), 10u);
  EXPECT_EQ(found_.state.accepted_epoch, kAccepted);
  EXPECT_EQ(found_.state.current_epoch, 1u);
  EXPECT_EQ(found_.state.durable, zxid(30));
  EXPECT_GE(found_.state.committed, zxid(kCommitted - 1));
  EXPECT_LT(found_.state.committed, zxid(30));
  EXPECT_EQ(recovery_->log_end(), zxid(30));
  EXPECT_TRUE(lanes_.lines_.empty());
}

TEST_F(RecoveryTest, ASnapshotOfNoHistoryIsNotTaken) {
  make_node();
  put_snapshot_at(10);
  put_snapshot_at(31);
  EXPECT_EQ(start(), "votes, log ends at 30, tree at 10");
}

TEST_F(RecoveryTest, ALeadersSnapshotOfWhichTheLogKnowsNothingIsStaged) {
  make_node();
  {
    Log log(log_disk_, Log::Options{kSegment});
    ASSERT_EQ(log.open().error, "");
    ASSERT_TRUE(log.write({{RecordType::kBeginSync, Zxid::make(2, 5),
                            static_cast<uint32_t>(SyncMode::kSnap), nullptr},
                           {RecordType::kEndSync, {}, 2, nullptr}},
                          zxid(30))
                    .ok());
  }
  ASSERT_TRUE(put_snapshot(store_, Zxid::make(2, 5)).ok());
  EXPECT_EQ(start(), "votes, log ends at 5, tree at 5 to be staged");
  EXPECT_LT(found_.state.committed, Zxid::make(2, 5));
}

// ---- what was promised

TEST_F(RecoveryTest, OneBadCopyOfThePromiseIsMadeGood) {
  make_node();
  snapshot_disk_.rot("accepted.1", 20);
  EXPECT_EQ(start(), "votes, log ends at 30, tree at 0");
  EXPECT_EQ(lanes_.lines_.size(), 1u);
  EXPECT_EQ(start(), "votes, log ends at 30, tree at 0");
  EXPECT_EQ(lanes_.lines_.size(), 1u);
}

TEST_F(RecoveryTest, WhoLostItsPromisesHasNoVote) {
  make_node();
  put_snapshot_at(20);
  snapshot_disk_.rot("accepted.0", 20);
  snapshot_disk_.rot("accepted.1", 20);
  EXPECT_EQ(start(), "no vote, log ends at 20, tree at 20");
  EXPECT_TRUE(has_file(log_disk_, "damaged."));
  EXPECT_EQ(start(), "no vote, log ends at 20, tree at 20");  // for good
}

TEST_F(RecoveryTest, WhosePromisesAreGoneHasNoVote) {
  make_node();
  remove(snapshot_disk_, "accepted.");
  EXPECT_EQ(start(), "no vote, log ends at 0, tree at 0");
}

TEST_F(RecoveryTest, WhoIsAloneHasPromisedToNobody) {
  options_.is_alone = true;
  make_node();
  remove(snapshot_disk_, "accepted.");
  EXPECT_EQ(start(), "votes, log ends at 30, tree at 0");
  EXPECT_EQ(found_.state.accepted_epoch, 1u);  // of the log
}

// ---- the log

TEST_F(RecoveryTest, AVoteWithoutALogSaysThatItIsGone) {
  make_node();
  put_snapshot_at(20);
  remove(log_disk_, "log.");
  EXPECT_EQ(start(), "no vote, log ends at 20, tree at 20");
}

TEST_F(RecoveryTest, WhoIsAloneWithoutALogDoesNotStart) {
  options_.is_alone = true;
  make_node();
  put_snapshot_at(20);
  remove(log_disk_, "log.");
  EXPECT_TRUE(start().starts_with("does not start: the log is gone;"));
  EXPECT_FALSE(has_file(log_disk_, "log."));  // nothing was begun
}

TEST_F(RecoveryTest, ADamagedLogOfAVoterIsToBeMended) {
  make_node();
  put_snapshot_at(5);
  damage_txn(12);
  EXPECT_EQ(start(), "votes, mending, log ends at 11, tree at 5");
  EXPECT_FALSE(has_file(log_disk_, "damaged."));
}

TEST_F(RecoveryTest, ADamagedLogWithoutAVoteIsSetAside) {
  make_node(false);
  put_snapshot_at(5);
  damage_txn(12);
  EXPECT_EQ(start(), "no vote, log ends at 5, tree at 5");
  EXPECT_TRUE(has_file(log_disk_, "damaged."));
}

TEST_F(RecoveryTest, ADamagedLogThatNobodyCanMendCostsTheVote) {
  make_node();
  damage_first_segment_for_good();
  EXPECT_EQ(start(), "no vote, log ends at 0, tree at 0");
}

TEST_F(RecoveryTest, DamageBeforeASnapshotIsSetAside) {
  make_node();
  put_snapshot_at(25);
  damage_first_segment_for_good();
  EXPECT_EQ(start(), "votes, log ends at 30, tree at 25");
  EXPECT_TRUE(has_file(log_disk_, "damaged."));
  EXPECT_EQ(start(), "votes, log ends at 30, tree at 25");
}

TEST_F(RecoveryTest, DamageBeforeASnapshotCostsNothingEvenIfAlone) {
  options_.is_alone = true;
  make_node();
  put_snapshot_at(25);
  damage_txn(3);
  EXPECT_EQ(start(), "votes, log ends at 30, tree at 25");
}

TEST_F(RecoveryTest, WhoIsAloneWithADamagedLogDoesNotStart) {
  options_.is_alone = true;
  make_node();
  damage_txn(12);
  EXPECT_NE(start().find("no other member has a copy"), std::string::npos) << why_;
  EXPECT_FALSE(has_file(log_disk_, "damaged."));
  EpochStore epochs(snapshot_disk_);
  static_cast<void>(epochs.open());
  EXPECT_TRUE(epochs.promise().votes);
}

TEST_F(RecoveryTest, DamageThatHeldNoTxnIsMendedAtOnce) {
  make_node();
  {
    Log log(log_disk_, Log::Options{kSegment});
    ASSERT_EQ(log.open().error, "");
    ASSERT_TRUE(log.write({{RecordType::kSeal, {}, 0, nullptr}}, zxid(kCommitted)).ok());
    ASSERT_TRUE(log.write({{RecordType::kTxn, zxid(31), 0, txn(31)}}, zxid(kCommitted)).ok());
    ASSERT_TRUE(log.write({{RecordType::kTxn, zxid(32), 0, txn(32)}}, zxid(kCommitted)).ok());
  }
  std::vector<FoundRecord> seals;
  LogHandlers handlers;
  handlers.record = [&](const FoundRecord& record, size_t) {
    if (record.header.type == RecordType::kSeal) seals.push_back(record);
    return Taken::kYes;
  };
  read_log(log_disk_, handlers);
  ASSERT_EQ(seals.size(), 1u);
  log_disk_.rot(log_segment_name(seals[0].segment), seals[0].offset + 20);
  EXPECT_EQ(start(), "votes, log ends at 32, tree at 0");
  EXPECT_EQ(start(), "votes, log ends at 32, tree at 0");
}

// ---- snapshots

TEST_F(RecoveryTest, AnOlderSnapshotTakesThePlaceOfADamagedOne) {
  make_node();
  put_snapshot_at(10);
  put_snapshot_at(20);
  snapshot_disk_.rot("snapshot.0000000100000014", 60);
  EXPECT_EQ(start(), "votes, log ends at 30, tree at 10");
  EXPECT_TRUE(found_.lacks_snapshot);
}

TEST_F(RecoveryTest, ALogWithoutTheSnapshotThatItBeginsAfterCostsTheVote) {
  make_node();
  put_snapshot_at(25);
  {
    Log log(log_disk_, Log::Options{kSegment});
    ASSERT_EQ(log.open().error, "");
    ASSERT_GT(log.purge(zxid(25)), Zxid{});
  }
  EXPECT_EQ(start(), "votes, log ends at 30, tree at 25");
  remove(snapshot_disk_, "snapshot.");
  EXPECT_EQ(start(), "no vote, log ends at 0, tree at 0");
}

// ---- mending

TEST_F(RecoveryTest, TheFirstMemberHasAll) {
  make_node();
  damage_txn(12);
  start();
  recovery_->ask_next();
  ASSERT_EQ(dials_.size(), 1u);
  EXPECT_TRUE(recovery_->is_mending_on(dials_[0].second));
  recovery_->on_link_up();
  ASSERT_EQ(question_.ranges.size(), 1u);
  EXPECT_EQ(question_.ranges[0].through, zxid(12));
  EXPECT_EQ(question_.asker.id, options_.me);
  asked_member_sends({12});
  asked_member_ends();
  EXPECT_EQ(mendings_over_, 1);
  EXPECT_EQ(standing(), "votes, log ends at 30, tree at 0");
  EXPECT_EQ(closed_, (std::vector<LinkId>{dials_[0].second}));
  EXPECT_EQ(start(), "votes, log ends at 30, tree at 0");
}

TEST_F(RecoveryTest, TheNextMemberIsAskedWhereOneIsDownSilentOrLacksSome) {
  make_node();
  damage_txn(12);
  start();
  recovery_->ask_next();
  recovery_->on_link_down();
  pass(Mending::kPauseMs);
  ASSERT_EQ(dials_.size(), 2u);
  recovery_->on_link_up();
  pass(Mending::kAnswerMs);
  ASSERT_EQ(dials_.size(), 3u);
  EXPECT_EQ(closed_, (std::vector<LinkId>{dials_[1].second}));
  recovery_->on_link_up();
  asked_member_ends();
  pass(Mending::kPauseMs - 1);
  EXPECT_EQ(dials_.size(), 3u);
  pass(1);
  ASSERT_EQ(dials_.size(), 4u);
  EXPECT_EQ(dials_[0].first, ServerId{2});
  EXPECT_EQ(dials_[1].first, ServerId{3});
  EXPECT_EQ(dials_[2].first, ServerId{2});
  EXPECT_EQ(dials_[3].first, ServerId{3});
  EXPECT_EQ(mendings_over_, 0);
}

TEST_F(RecoveryTest, WhetherASilentMemberLeadsIsAskedWithoutAnyClaim) {
  make_node();
  damage_txn(12);
  others_ = {ServerId{2}};
  start();
  recovery_->ask_next();
  recovery_->on_link_up();
  EXPECT_EQ(sent_.type, PacketType::kFetchTxns);
  recovery_->on_link_down();
  pass(Mending::kPauseMs);
  recovery_->on_link_up();
  EXPECT_EQ(sent_.type, PacketType::kObserverInfo);
  EXPECT_EQ(sent_.zxid, Zxid{});
  std::optional<LearnerInfo> info = decode_learner_info(sent_.bytes());
  ASSERT_TRUE(info);
  EXPECT_EQ(info->id, without_vote(options_.me));
  EXPECT_EQ(info->config_version, 0);
  recovery_->on_packet(
      Packet(PacketType::kLeaderInfo, Zxid::make(1, 0), std::string("\0\1\0\0", 4)));
  EXPECT_EQ(mendings_over_, 1);
  EXPECT_EQ(standing(), "no vote, log ends at 0, tree at 0");
}

TEST_F(RecoveryTest, WhoGivesUpGoesOnFromTheIntactBeginningWithoutAVote) {
  make_node();
  damage_txn(5);
  start();
  tree::Txn shown;  // what readers have seen meanwhile
  shown.header.zxid = zxid(4);
  shown.header.type = tree::OpCode::kError;
  shown.body = tree::ErrorTxn{};
  tree_->publish({shown}, [](const auto&, const auto&, auto) {});
  recovery_->ask_next();
  recovery_->on_link_up();
  asked_member_ends(true);
  EXPECT_EQ(mendings_over_, 1);
  EXPECT_EQ(standing(), "no vote, log ends at 4, tree at 4");
  EXPECT_EQ(start(), "no vote, log ends at 4, tree at 4");
}

TEST_F(RecoveryTest, WhoGivesUpKeepsItsVoteIfTheDamageIsBeforeASnapshot) {
  make_node();
  put_snapshot_at(25);
  damage_txn(3);
  EXPECT_EQ(start(), "votes, mending, log ends at 2, tree at 25");
  recovery_->ask_next();
  recovery_->on_link_up();
  asked_member_ends(true);
  EXPECT_EQ(standing(), "votes, log ends at 30, tree at 25");
}

TEST_F(RecoveryTest, ANodeThatKnowsOfNobodyKeepsWhatItHas) {
  make_node();
  damage_txn(12);
  others_.clear();
  start();
  recovery_->ask_next();
  pass(Mending::kAnswerMs);
  EXPECT_TRUE(dials_.empty());
  EXPECT_EQ(start(), "votes, mending, log ends at 11, tree at 0");
}

TEST_F(RecoveryTest, ADiskWithoutRoomIsTriedAgain) {
  make_node();
  damage_txn(12);
  start();
  log_disk_.set_capacity(log_disk_.used_bytes() + 1);
  recovery_->ask_next();
  recovery_->on_link_up();
  asked_member_sends({12});
  asked_member_ends();
  EXPECT_TRUE(recovery_->lacks_room());
  EXPECT_EQ(mendings_over_, 0);
  log_disk_.set_capacity(0);
  pass(LogPipeline::kRoomProbeMs);
  recovery_->on_link_up();
  EXPECT_TRUE(question_.ranges.empty());
  asked_member_ends();
  EXPECT_EQ(mendings_over_, 1);
  EXPECT_EQ(standing(), "votes, log ends at 30, tree at 0");
}

TEST_F(RecoveryTest, TxnsThatDoNotFitEndTheProcess) {
  make_node();
  damage_txn(12);
  start();
  log_disk_.fail_next_sync();
  recovery_->ask_next();
  recovery_->on_link_up();
  asked_member_sends({12});
  asked_member_ends();
  EXPECT_EQ(lanes_.deaths_.size(), 1u);
  EXPECT_EQ(mendings_over_, 0);
}

// ---- crashes

// What was lost is lost for good: no crash on the way gives the vote back.
TEST_F(RecoveryTest, NoCrashGivesAVoteBack) {
  int crashes = 0;
  for (uint64_t operation = 1; operation < 40; ++operation) {
    log_disk_.wipe();
    snapshot_disk_.wipe();
    make_node();
    put_snapshot_at(5);
    damage_first_segment_for_good();
    for (sim::SimDisk* disk : {&log_disk_, &snapshot_disk_}) {
      disk->crash_in(operation);
      try {
        start();
      } catch (const sim::CrashNow&) {
        ++crashes;
      }
      disk->crash_in(0);
      log_disk_.crash();
      snapshot_disk_.crash();
    }
    std::string after = start();
    EXPECT_TRUE(after.starts_with("no vote, log ends at")) << after << " after " << operation;
  }
  EXPECT_GT(crashes, 5);
}

// ---- promises

TEST_F(RecoveryTest, AVoteOnItsWayToTheDiskStays) {
  make_node(false);
  start();
  std::vector<Promise> saved;
  auto done = [&](const Promise& promise, const DiskStatus& status) {
    EXPECT_TRUE(status.ok());
    saved.push_back(promise);
  };
  recovery_->save({5, true}, done);
  recovery_->save({6, false}, done);  // asked for before the first was there
  EXPECT_TRUE(saved.empty());
  lanes_.run_all();
  ASSERT_EQ(saved.size(), 2u);
  EXPECT_TRUE(saved[1].votes);
  EXPECT_EQ(start(), "votes, log ends at 30, tree at 0");
  EXPECT_EQ(found_.state.accepted_epoch, 6u);
}

}  // namespace
}  // namespace zabfs::consensus
