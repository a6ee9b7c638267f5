#include "consensus/snapshotter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "sim/sim_disk.h"
#include "tree/snapshot.h"
#include "tree/txn.h"
#include "unit/hand_lanes.h"
#include "unit/numbers.h"
#include "unit/put_snapshot.h"

namespace zabfs::consensus {
namespace {

constexpr int64_t kTxns = 160;
constexpr size_t kRetain = 2;

class SnapshotterTest : public testing::Test {
 protected:
  SnapshotterTest() {
    EXPECT_EQ(log_.at_rest().open().error, "");
    EXPECT_TRUE(log_.at_rest().begin().ok());
    history_.reset(Zxid{});
  }

  static tree::Txn create(Zxid at) {
    tree::Txn txn;
    txn.header.zxid = at;
    txn.header.type = tree::OpCode::kCreate;
    txn.body = tree::CreateTxn{borrowed_path(at.counter()), "", tree::open_acl(), false, 1};
    return txn;
  }
  // In the log, too.
  void apply_up_to(uint32_t counter) {
    std::vector<LogEntry> batch;
    std::vector<tree::Txn> txns;
    for (uint32_t next = tree_.applied().counter() + 1; next <= counter; ++next) {
      txns.push_back(create(zxid(next)));
      history_.append(zxid(next));
      batch.push_back(
          {log_format::RecordType::kTxn, zxid(next), 0, make_payload(std::string(500, 'x'))});
    }
    if (txns.empty()) return;
    tree_.publish(txns, [](const auto&, const auto&, auto) {});
    ASSERT_TRUE(log_.at_rest().write(batch, Zxid{}).ok());
  }
  void take_at(uint32_t counter) {
    apply_up_to(counter);
    snapshotter_.take();
    lanes_.run_all();
  }
  void put(Zxid at) { ASSERT_TRUE(put_snapshot(store_, at).ok()); }
  std::vector<Zxid> stored() { return store_.list(); }
  // As a leader sends it.
  void receive(Zxid at) {
    auto tree = std::make_unique<tree::Tree>();
    tree->apply(create(at), nullptr);
    snapshotter_.begin_incoming(kLink);
    snapshotter_.receive(std::move(tree));
    snapshotter_.store_incoming();
  }

  HandLanes lanes_;
  sim::SimDisk log_disk_{1}, snapshot_disk_{2};
  SnapshotStore store_{snapshot_disk_};
  LogPipeline log_{{4u << 10, 1u << 20}, lanes_, log_disk_, store_, {}};
  VisibleTree tree_;
  History history_;
  bool serves_ = true;
  bool is_up_ = true;
  int over_ = 0;
  std::vector<LinkId> taken_in_;
  std::vector<size_t> missing_bytes_;
  std::vector<Zxid> bases_;
  std::vector<std::string> damage_, refused_;
  Snapshotter snapshotter_{
      {ServerId{4}, kTxns, kRetain, 1u << 10},
      lanes_,
      store_,
      log_,
      tree_,
      {[this]() -> std::optional<Snapshotter::Standing> {
         if (!serves_) return std::nullopt;
         return Snapshotter::Standing{history_, true};
       },
       [this](LinkId) { return is_up_; }, [this] { ++over_; },
       [this](LinkId link) { taken_in_.push_back(link); },
       [this](LinkId, const std::string& reason) { refused_.push_back(reason); },
       [this](const DiskStatus&, size_t bytes) { missing_bytes_.push_back(bytes); },
       [this](Zxid base) { bases_.push_back(base); },
       [this](const std::string& what) { damage_.push_back(what); },
       [](LogLevel, const std::string&) {}}};
};

// ---- one that is asked for

TEST_F(SnapshotterTest, WhoAsksIsAnsweredOnceItIsOnTheDisk) {
  apply_up_to(5);
  std::vector<Zxid> answers;
  auto note = [&](const StatusOr<Snapshotter::Stored>& stored) {
    ASSERT_TRUE(stored.ok()) << stored.why();
    EXPECT_EQ(stored->path, store_.path_of(stored->zxid));
    EXPECT_EQ(store_.list().front(), stored->zxid);
    answers.push_back(stored->zxid);
  };
  snapshotter_.ask(note);
  EXPECT_TRUE(answers.empty());
  lanes_.run_all();
  EXPECT_EQ(answers, std::vector<Zxid>{zxid(5)});
  snapshotter_.ask(note);  // nothing was applied since
  EXPECT_EQ(answers, (std::vector<Zxid>{zxid(5), zxid(5)}));
  EXPECT_EQ(stored(), std::vector<Zxid>{zxid(5)});
}

TEST_F(SnapshotterTest, WhoAsksMeanwhileSharesTheNext) {
  apply_up_to(5);
  std::vector<Zxid> first, others;
  auto note = [](std::vector<Zxid>& answers) {
    return [&answers](const StatusOr<Snapshotter::Stored>& stored) {
      ASSERT_TRUE(stored.ok()) << stored.why();
      answers.push_back(stored->zxid);
    };
  };
  snapshotter_.ask(note(first));
  apply_up_to(8);
  snapshotter_.ask(note(others));  // may not be answered with what there was before (1,8)
  snapshotter_.ask(note(others));
  lanes_.run_all();
  EXPECT_EQ(first, std::vector<Zxid>{zxid(5)});
  EXPECT_EQ(others, (std::vector<Zxid>{zxid(8), zxid(8)}));
  EXPECT_EQ(stored(), (std::vector<Zxid>{zxid(8), zxid(5)}));
}

TEST_F(SnapshotterTest, WhoAsksWhereThereIsNoneIsTold) {
  size_t refusals = 0;
  auto refused = [&](const StatusOr<Snapshotter::Stored>& stored) { refusals += !stored.ok(); };
  snapshotter_.ask(refused);  // of an empty tree
  EXPECT_EQ(refusals, 1u);
  apply_up_to(5);
  receive(zxid(9));
  snapshotter_.ask(refused);
  EXPECT_EQ(refusals, 2u);
  snapshotter_.drop_incoming();
  lanes_.run_all();
  snapshot_disk_.set_capacity(1);
  snapshotter_.ask(refused);
  snapshotter_.ask(refused);
  lanes_.run_all();
  EXPECT_EQ(refusals, 4u);
}

TEST_F(SnapshotterTest, WhoAsksIsNotSentToADamagedOne) {
  take_at(3);
  apply_up_to(5);
  snapshotter_.take();
  HandLanes::run_one(lanes_.background_);
  std::unique_ptr<File> file;
  ASSERT_TRUE(snapshot_disk_.open(store_.path_of(zxid(5)), false, file).ok());
  ASSERT_TRUE(file->write_at(0, "nonsense").ok());
  lanes_.run_all();
  ASSERT_EQ(stored(), std::vector<Zxid>{zxid(3)});
  snapshotter_.ask([](const StatusOr<Snapshotter::Stored>& stored) { EXPECT_TRUE(stored.ok()); });
  lanes_.run_all();
  EXPECT_EQ(stored(), (std::vector<Zxid>{zxid(5), zxid(3)}));
}

// ---- a Java leader's

TEST_F(SnapshotterTest, AFuzzyOneIsKeptWithTheTxnsBehindIt) {
  snapshotter_.begin_fuzzy(kLink);
  auto tree = std::make_unique<tree::Tree>();
  tree->apply(create(zxid(3)), nullptr);
  snapshotter_.receive(std::move(tree));
  EXPECT_EQ(snapshotter_.incoming(), nullptr);
  std::string txn;
  tree::encode_txn(create(zxid(4)), txn);
  snapshotter_.apply_to_fuzzy(zxid(4), txn);
  lanes_.run_all();
  EXPECT_TRUE(stored().empty());
  snapshotter_.begin_incoming(kLink);
  lanes_.run_all();
  EXPECT_EQ(stored(), std::vector<Zxid>{zxid(4)});
  EXPECT_EQ(taken_in_, std::vector<LinkId>{kLink});
  EXPECT_EQ(snapshotter_.incoming()->last_zxid(), zxid(4));
}

TEST_F(SnapshotterTest, AFuzzyOneThatCannotBeCompletedIsRefused) {
  snapshotter_.begin_fuzzy(kLink);
  snapshotter_.receive(std::make_unique<tree::Tree>());
  snapshotter_.apply_to_fuzzy(zxid(4), "nonsense");
  snapshotter_.begin_incoming(kLink);
  lanes_.run_all();
  EXPECT_TRUE(stored().empty());
  EXPECT_EQ(refused_.size(), 1u);
  EXPECT_TRUE(taken_in_.empty());
}

// ---- when one is due

TEST_F(SnapshotterTest, IsDueAfterAboutSoManyTxns) {
  snapshotter_.applied(kTxns * 3 / 4 - 1, 0);
  EXPECT_FALSE(snapshotter_.is_due(true));
  snapshotter_.applied(1, 0);
  EXPECT_TRUE(snapshotter_.is_due(false));
  take_at(1);
  EXPECT_FALSE(snapshotter_.is_due(true));
}

TEST_F(SnapshotterTest, IsDueBehindAsMuchLogAsTheLastOneIsLong) {
  snapshotter_.applied(1, 64u << 20);
  EXPECT_FALSE(snapshotter_.is_due(true));
  snapshotter_.applied(1, 1);
  EXPECT_TRUE(snapshotter_.is_due(true));
  snapshotter_.restart_at(zxid(9));
  EXPECT_FALSE(snapshotter_.is_due(true));
}

TEST_F(SnapshotterTest, OneThatIsMissingIsTakenOnceTheNodeServes) {
  take_at(1);
  snapshotter_.want_again();
  EXPECT_FALSE(snapshotter_.is_due(false));
  EXPECT_TRUE(snapshotter_.is_due(true));
  store_.remove(zxid(1));
  take_at(1);  // although nothing has happened since
  EXPECT_EQ(stored(), (std::vector<Zxid>{zxid(1)}));
  EXPECT_FALSE(snapshotter_.is_due(true));
}

// ---- of its own

TEST_F(SnapshotterTest, TakesOneAtATimeAndNoneOfTheSameTree) {
  apply_up_to(1);
  snapshotter_.take();
  EXPECT_TRUE(snapshotter_.is_busy());
  apply_up_to(2);
  snapshotter_.take();
  EXPECT_EQ(lanes_.background_.size(), 1u);
  lanes_.run_all();
  EXPECT_FALSE(snapshotter_.is_busy());
  EXPECT_EQ(over_, 1);
  EXPECT_EQ(snapshotter_.last(), zxid(1));
  take_at(2);
  snapshotter_.take();
  EXPECT_TRUE(lanes_.background_.empty());
}

TEST_F(SnapshotterTest, ASnapshotIsExactAlthoughTxnsGoOn) {
  apply_up_to(2);
  snapshotter_.take();
  apply_up_to(4);
  lanes_.run_all();
  StatusOr<std::unique_ptr<tree::Tree>> loaded = store_.load(zxid(2));
  ASSERT_TRUE(loaded.ok()) << loaded.why();
  EXPECT_NE((*loaded)->find("/2"), nullptr);
  EXPECT_EQ((*loaded)->find("/3"), nullptr);
}

TEST_F(SnapshotterTest, OneThatFindsNoRoomIsGivenUp) {
  snapshot_disk_.set_capacity(10);
  take_at(1);
  EXPECT_TRUE(stored().empty());
  EXPECT_EQ(over_, 1);
  EXPECT_EQ(snapshotter_.last(), Zxid{});
  EXPECT_TRUE(missing_bytes_.empty());  // it is no reason to leave a role
}

// ---- what stays

TEST_F(SnapshotterTest, RemovesSnapshotsOfNoHistory) {
  put(Zxid::make(7, 1));
  put(Zxid::make(0, 9));
  serves_ = false;
  take_at(1);
  EXPECT_EQ(stored().size(), 3u);  // it may be one that is coming in
  serves_ = true;
  take_at(2);
  EXPECT_EQ(stored(), (std::vector<Zxid>{zxid(2), zxid(1)}));
}

TEST_F(SnapshotterTest, LooksForStraysOnTheLane) {
  put(Zxid::make(7, 1));
  apply_up_to(1);
  snapshotter_.take();
  HandLanes::run_one(lanes_.background_);
  EXPECT_EQ(stored().size(), 2u);
  HandLanes::run_job(lanes_.background_);
  EXPECT_EQ(stored(), (std::vector<Zxid>{zxid(1)}));
}

TEST_F(SnapshotterTest, OlderOnesGoWithTheLogThatTheyNeed) {
  take_at(5);
  take_at(20);
  EXPECT_EQ(stored(), (std::vector<Zxid>{zxid(20), zxid(5)}));
  take_at(40);
  EXPECT_EQ(stored(), (std::vector<Zxid>{zxid(40), zxid(20)}));
  EXPECT_GT(bases_.back(), Zxid{});
  EXPECT_LE(bases_.back(), zxid(20));
  EXPECT_FALSE(snapshotter_.is_purging());
}

TEST_F(SnapshotterTest, ADamagedOneIsRemovedAndCountsForNothing) {
  take_at(5);
  take_at(20);
  for (const std::string& name : snapshot_disk_.list()) {
    if (name.ends_with(std::string("14"))) snapshot_disk_.rot(name, 60);  // of (1,20)
  }
  take_at(40);
  EXPECT_EQ(damage_.size(), 1u);
  EXPECT_EQ(stored(), (std::vector<Zxid>{zxid(40), zxid(5)}));
}

TEST_F(SnapshotterTest, NothingIsPurgedOnceTheNodeServesNoMore) {
  take_at(5);
  take_at(20);
  size_t purges = bases_.size();
  apply_up_to(40);
  snapshotter_.take();
  HandLanes::run_one(lanes_.background_);  // it is taken,
  HandLanes::run_one(lanes_.background_);  // and strays are gone
  EXPECT_TRUE(snapshotter_.is_purging());
  serves_ = false;
  lanes_.run_all();
  EXPECT_FALSE(snapshotter_.is_purging());
  EXPECT_EQ(bases_.size(), purges);
  EXPECT_EQ(stored().size(), 3u);
}

TEST_F(SnapshotterTest, ATreeThatDivergedIsKeptOnce) {
  for (uint32_t counter : {1u, 2u}) {
    auto tree = std::make_shared<tree::Tree>();
    tree->apply(create(zxid(counter)), nullptr);
    snapshotter_.keep_diverged(std::move(tree));
    lanes_.run_all();
  }
  EXPECT_TRUE(snapshot_disk_.exists(SnapshotStore::diverged_name(zxid(1))));
  EXPECT_FALSE(snapshot_disk_.exists(SnapshotStore::diverged_name(zxid(2))));
  EXPECT_TRUE(stored().empty());
}

// ---- of a leader's

TEST_F(SnapshotterTest, ALeadersIsOnTheDiskBeforeAnybodyIsTold) {
  receive(zxid(5));
  EXPECT_TRUE(snapshotter_.is_incoming());
  EXPECT_TRUE(taken_in_.empty());
  lanes_.run_all();
  EXPECT_EQ(taken_in_, (std::vector<LinkId>{kLink}));
  EXPECT_EQ(stored(), (std::vector<Zxid>{zxid(5)}));
  EXPECT_NE(snapshotter_.take_incoming(), nullptr);
  EXPECT_FALSE(snapshotter_.is_incoming());
  EXPECT_EQ(snapshotter_.take_incoming(), nullptr);
}

TEST_F(SnapshotterTest, NoneOfItsOwnIsTakenWhileALeadersComesIn) {
  receive(zxid(5));
  apply_up_to(1);
  snapshotter_.take();
  EXPECT_FALSE(snapshotter_.is_busy());
}

TEST_F(SnapshotterTest, NoneIsTakenOfATreeThatTheLogDoesNotGoOnFrom) {
  apply_up_to(1);
  tree_.stage(std::make_shared<tree::Tree>());
  snapshotter_.take();
  EXPECT_FALSE(snapshotter_.is_busy());
  tree_.drop_staged();
  snapshotter_.take();
  EXPECT_TRUE(snapshotter_.is_busy());
}

// The example of snapshotter.h.
TEST_F(SnapshotterTest, ALeadersWaitsForOneOfItsOwnAndTakesItsPlace) {
  apply_up_to(6);
  snapshotter_.take();
  serves_ = false;
  receive(zxid(3));
  EXPECT_TRUE(lanes_.io_.empty());
  lanes_.run_all();
  EXPECT_EQ(taken_in_, (std::vector<LinkId>{kLink}));
  EXPECT_EQ(stored(), (std::vector<Zxid>{zxid(3)}));
}

// The next leader is Apache ZooKeeper's, whose snapshot is fuzzy until its txns have come.
TEST_F(SnapshotterTest, AFuzzyOneIsNotWrittenInPlaceOfOneThatWaitedAndWasDropped) {
  apply_up_to(6);
  snapshotter_.take();
  serves_ = false;
  receive(zxid(3));
  snapshotter_.drop_incoming();
  snapshotter_.begin_fuzzy(kLink);
  auto tree = std::make_unique<tree::Tree>();
  tree->apply(create(zxid(4)), nullptr);
  snapshotter_.receive(std::move(tree));
  lanes_.run_all();
  EXPECT_TRUE(taken_in_.empty());
  EXPECT_EQ(stored(), std::vector<Zxid>{zxid(6)});
}

// The leader's is of no history that this node knows of yet.
TEST_F(SnapshotterTest, ALeadersIsNotTakenForAStray) {
  apply_up_to(6);
  snapshotter_.take();
  HandLanes::run_one(lanes_.background_);
  serves_ = false;  // the role ends while strays are looked for
  Zxid at = Zxid::make(2, 3);
  receive(at);
  EXPECT_TRUE(lanes_.io_.empty());
  lanes_.run_all();
  EXPECT_EQ(taken_in_, (std::vector<LinkId>{kLink}));
  EXPECT_EQ(stored().front(), at);
}

TEST_F(SnapshotterTest, ALeadersThatFindsNoRoomSaysAboutHowMuchItNeeds) {
  snapshot_disk_.set_capacity(10);
  receive(zxid(5));
  lanes_.run_all();
  EXPECT_TRUE(taken_in_.empty());
  ASSERT_EQ(missing_bytes_.size(), 1u);
  EXPECT_GT(missing_bytes_[0], 0u);
}

TEST_F(SnapshotterTest, NobodyIsToldOfALeadersWhoseLinkIsGone) {
  receive(zxid(5));
  is_up_ = false;
  lanes_.run_all();
  EXPECT_TRUE(taken_in_.empty());
  snapshotter_.drop_incoming();
  EXPECT_FALSE(snapshotter_.is_incoming());
  EXPECT_EQ(snapshotter_.incoming(), nullptr);
}

}  // namespace
}  // namespace zabfs::consensus
