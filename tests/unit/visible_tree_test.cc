#include "consensus/visible_tree.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "unit/numbers.h"

namespace zabfs::consensus {
namespace {

tree::Txn create(uint32_t counter, std::string_view at) {
  tree::Txn txn;
  txn.header.zxid = zxid(counter);
  txn.header.type = tree::OpCode::kCreate;
  txn.body = tree::CreateTxn{at, "", tree::open_acl(), false, 1};
  return txn;
}

tree::Txn create(uint32_t counter) { return create(counter, borrowed_path(counter)); }

LogTxn logged(uint32_t counter) {
  std::string bytes;
  tree::encode_txn(create(counter), bytes);
  return {zxid(counter), make_payload(std::move(bytes))};
}

class VisibleTreeTest : public testing::Test {
 protected:
  void publish(std::vector<tree::Txn> txns) {
    tree_.publish(txns, [](const auto&, const auto&, auto) {});
  }
  bool shows(const std::string& at) {
    return tree_.read([&](const tree::Tree& tree) { return tree.find(at) != nullptr; });
  }
  // As a leader's snapshot has it, with one node.
  static std::shared_ptr<tree::Tree> tree_at(uint32_t counter, std::string_view at) {
    auto tree = std::make_shared<tree::Tree>();
    tree->apply(create(counter, at), nullptr);
    return tree;
  }
  VisibleTree tree_;
};

TEST_F(VisibleTreeTest, TellsOfEachTxnWithItsOwnChanges) {
  std::vector<std::pair<Zxid, size_t>> told;
  VisibleTree::Published published = tree_.publish(
      {create(1), create(2)},
      [&](const tree::Txn& txn, const tree::Outcome& outcome, std::span<const tree::Change> own) {
        EXPECT_EQ(outcome.zxid, txn.header.zxid);
        told.emplace_back(txn.header.zxid, own.size());
      });
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].first, zxid(1));
  EXPECT_EQ(published.outcomes.size(), 2u);
  EXPECT_EQ(published.changes.size(), told[0].second + told[1].second);
  EXPECT_EQ(tree_.applied(), zxid(2));
}

// ---- a staged tree

TEST_F(VisibleTreeTest, AStagedTreeIsNotShown) {
  publish({create(1)});
  tree_.stage(tree_at(5, "/staged"));
  EXPECT_TRUE(shows("/1"));
  EXPECT_FALSE(shows("/staged"));
  EXPECT_EQ(tree_.applied(), zxid(1));
  EXPECT_EQ(tree_.newest().last_zxid(), zxid(5));
  tree_.drop_staged();
  EXPECT_EQ(tree_.newest().last_zxid(), zxid(1));
}

TEST_F(VisibleTreeTest, ANewerOneIsShownAsItIs) {
  publish({create(1)});
  tree_.stage(tree_at(5, "/staged"));
  std::shared_ptr<tree::Tree> old = tree_.show_staged({logged(6)});
  ASSERT_TRUE(old);
  EXPECT_NE(old->find("/1"), nullptr);
  EXPECT_FALSE(shows("/1"));
  EXPECT_TRUE(shows("/staged"));
  EXPECT_FALSE(shows("/6"));  // nobody has said that it is committed
  EXPECT_EQ(tree_.applied(), zxid(5));
  EXPECT_EQ(tree_.staged(), nullptr);
}

// The example of visible_tree.h.
TEST_F(VisibleTreeTest, AnOlderOneCatchesUpBeforeItIsShown) {
  publish({create(8), create(9)});
  tree_.stage(tree_at(7, "/staged"));
  ASSERT_TRUE(tree_.show_staged({logged(8), logged(9), logged(10)}));
  EXPECT_EQ(tree_.applied(), zxid(9));
  EXPECT_TRUE(shows("/staged"));
  EXPECT_TRUE(shows("/8"));
  EXPECT_TRUE(shows("/9"));
  EXPECT_FALSE(shows("/10"));
}

TEST_F(VisibleTreeTest, TxnsThatTheStagedTreeHasAreNotAppliedTwice) {
  publish({create(6), create(7), create(8)});
  tree_.stage(tree_at(7, "/7"));
  ASSERT_TRUE(tree_.show_staged({logged(6), logged(7), logged(8)}));
  EXPECT_TRUE(shows("/8"));
  EXPECT_FALSE(shows("/6"));
}

TEST_F(VisibleTreeTest, ADoubtLastsUntilAnotherTreeIsShown) {
  publish({create(1)});
  tree_.distrust("it differs");
  publish({create(2)});
  tree_.stage(tree_at(5, "/staged"));
  EXPECT_EQ(tree_.doubt(), "it differs");
  EXPECT_TRUE(tree_.show_staged({}));
  EXPECT_EQ(tree_.doubt(), "");
}

TEST_F(VisibleTreeTest, ATxnThatIsNoneChangesNothing) {
  publish({create(9)});
  tree_.stage(tree_at(7, "/staged"));
  EXPECT_FALSE(tree_.show_staged({logged(8), {zxid(9), make_payload("?")}}));
  EXPECT_TRUE(shows("/9"));
  EXPECT_EQ(tree_.applied(), zxid(9));
  EXPECT_EQ(tree_.staged()->last_zxid(), zxid(7));
}

// ---- readers

// Batches of two txns, and in between a staged tree, which is older than what is shown.
TEST_F(VisibleTreeTest, ReadersNeverGoBackAndNeverSeeHalfABatch) {
  constexpr uint32_t kBatches = 300;
  std::atomic<bool> is_over = false;
  std::atomic<int> mistakes = 0;
  auto read = [&] {
    Zxid seen;
    while (!is_over) {
      tree_.read([&](const tree::Tree& tree) {
        Zxid now = tree.last_zxid();
        bool is_whole = now.counter() % 2 == 0 &&
                        (now == Zxid{} || tree.find(borrowed_path(now.counter() - 1)) != nullptr);
        if (now < seen || !is_whole) ++mistakes;
        seen = now;
      });
    }
  };
  std::thread one(read), other(read);
  for (uint32_t last = 2; last <= 2 * kBatches; last += 2) {
    publish({create(last - 1), create(last)});
    if (last % 50 != 0) continue;
    tree_.stage(tree_at(last - 2, "/staged"));
    if (!tree_.show_staged({logged(last - 1), logged(last)})) ++mistakes;
  }
  is_over = true;
  one.join();
  other.join();
  EXPECT_EQ(mistakes, 0);
}

// ---- walks

TEST_F(VisibleTreeTest, AWalkShowsTheTreeAsItWasWhenItBegan) {
  publish({create(1)});
  std::shared_ptr<VisibleTree::Walk> walk = tree_.begin_walk();
  publish({create(2)});
  EXPECT_EQ(walk->zxid(), zxid(1));
  std::string stream;
  while (walk->next(stream, 1u << 10)) {
  }
  walk->end();
  std::string_view input = stream;
  tree::SnapshotLoader loader;
  ASSERT_EQ(loader.feed(input), tree::SnapshotLoader::State::kDone);
  std::unique_ptr<tree::Tree> walked = loader.finish(zxid(1));
  ASSERT_TRUE(walked);
  EXPECT_NE(walked->find("/1"), nullptr);
  EXPECT_EQ(walked->find("/2"), nullptr);
  EXPECT_TRUE(shows("/2"));
}

}  // namespace
}  // namespace zabfs::consensus
