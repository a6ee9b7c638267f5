#include "tree/watches.h"

#include <gtest/gtest.h>

namespace zabfs::tree {
namespace {

std::vector<std::pair<Watcher, EventType>> fire(WatchTables& tables, ChangeType type,
                                                const char* path) {
  std::vector<WatchEvent> events;
  tables.fire(Change{type, path, Zxid{1}}, events);
  std::vector<std::pair<Watcher, EventType>> told;
  for (const WatchEvent& event : events) told.emplace_back(event.watcher, event.type);
  return told;
}

using Told = std::vector<std::pair<Watcher, EventType>>;

TEST(Watches, OneShotsFireOnce) {
  WatchTables tables;
  ASSERT_TRUE(tables.add_data(1, "/a"));
  ASSERT_TRUE(tables.add_child(2, "/"));
  EXPECT_EQ(fire(tables, ChangeType::kCreated, "/a"),
            (Told{{1, EventType::kNodeCreated}, {2, EventType::kNodeChildrenChanged}}));
  EXPECT_EQ(fire(tables, ChangeType::kDeleted, "/a"), Told{});
}

TEST(Watches, DeleteTellsEachWatcherOnce) {
  WatchTables tables;
  ASSERT_TRUE(tables.add_data(1, "/a"));
  ASSERT_TRUE(tables.add_child(1, "/a"));
  ASSERT_TRUE(tables.add_child(3, "/a"));
  EXPECT_EQ(fire(tables, ChangeType::kDeleted, "/a"),
            (Told{{1, EventType::kNodeDeleted}, {3, EventType::kNodeDeleted}}));
}

TEST(Watches, PersistentOnesStay) {
  WatchTables tables;
  ASSERT_TRUE(tables.add(1, "/a", WatchMode::kPersistent));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(fire(tables, ChangeType::kDataChanged, "/a"),
              (Told{{1, EventType::kNodeDataChanged}}));
  }
  EXPECT_EQ(fire(tables, ChangeType::kDataChanged, "/a/b"), Told{});
  EXPECT_EQ(fire(tables, ChangeType::kCreated, "/a/b"),
            (Told{{1, EventType::kNodeChildrenChanged}}));
}

TEST(Watches, RecursiveOnesSeeDescendantsAndNoChildrenChanged) {
  WatchTables tables;
  ASSERT_TRUE(tables.add(1, "/a", WatchMode::kPersistentRecursive));
  EXPECT_EQ(fire(tables, ChangeType::kCreated, "/a/b/c"), (Told{{1, EventType::kNodeCreated}}));
  EXPECT_EQ(fire(tables, ChangeType::kDeleted, "/a/b/c"), (Told{{1, EventType::kNodeDeleted}}));
  EXPECT_EQ(fire(tables, ChangeType::kCreated, "/ab"), Told{});
}

TEST(Watches, AreRemovedByTypeAndByWatcher) {
  WatchTables tables;
  ASSERT_TRUE(tables.add_data(1, "/a"));
  ASSERT_TRUE(tables.add_child(1, "/a"));
  EXPECT_TRUE(tables.remove(1, "/a", WatcherType::kData));
  EXPECT_FALSE(tables.remove(1, "/a", WatcherType::kData));
  EXPECT_TRUE(tables.contains(1, "/a", WatcherType::kAny));
  EXPECT_FALSE(tables.remove_some(1, 10));
  EXPECT_FALSE(tables.contains(1, "/a", WatcherType::kAny));
  EXPECT_EQ(tables.bytes(), 0u);
}

TEST(Watches, ManyOfOneWatcherAreForgottenInPieces) {
  WatchTables tables;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(tables.add(1, "/a" + std::to_string(i), WatchMode::kPersistent));
  }
  ASSERT_TRUE(tables.add_data(2, "/a0"));
  EXPECT_TRUE(tables.remove_some(1, 15));
  EXPECT_EQ(tables.count(), 6u);
  EXPECT_FALSE(tables.remove_some(1, 15));
  EXPECT_EQ(tables.count(), 1u);
  EXPECT_TRUE(tables.contains(2, "/a0", WatcherType::kData));
}

TEST(Watches, AreBoundedForOneWatcherAndForAll) {
  WatchTables tables({2'000, 3'000});
  auto fill = [&tables](Watcher watcher) {
    int set = 0;
    while (set < 100 && tables.add_child(watcher, "/" + std::to_string(set))) ++set;
    return set;
  };
  int of_one = fill(1);
  EXPECT_GT(of_one, 2);
  EXPECT_LT(of_one, 10);
  EXPECT_TRUE(tables.add_child(1, "/0"));  // it has that one
  EXPECT_FALSE(tables.add(1, "/0", WatchMode::kPersistent));
  EXPECT_FALSE(tables.contains(1, "/0", WatcherType::kData));
  int of_another = fill(2);
  EXPECT_GT(of_another, 0);
  EXPECT_LT(of_another, of_one);
  EXPECT_LE(tables.bytes(), 3'000u);
  fire(tables, ChangeType::kDeleted, "/0");
  EXPECT_TRUE(tables.add_child(2, "/x"));  // what was spent counts no more
}

TEST(Watches, AFewThatWantAllLeaveRoomForOthers) {
  WatchTables tables({25'000, 100'000});
  auto fill = [&tables](Watcher watcher) {
    size_t before = tables.bytes();
    for (int i = 0; i < 1'000 && tables.add_child(watcher, "/" + std::to_string(i)); ++i) {
    }
    return tables.bytes() - before;
  };
  for (Watcher watcher = 1; watcher <= 4; ++watcher) fill(watcher);
  for (Watcher watcher = 5; watcher <= 10; ++watcher) EXPECT_GT(fill(watcher), 500u);
  EXPECT_LE(tables.bytes(), 100'000u);
}

TEST(Watches, ManyWatchersOfOneDeletionAreEachToldOnce) {
  WatchTables tables;
  for (Watcher watcher = 1; watcher <= 2'000; ++watcher) {
    ASSERT_TRUE(tables.add(watcher, "/a/b", WatchMode::kPersistent));
    ASSERT_TRUE(tables.add(watcher, "/a", WatchMode::kPersistentRecursive));
  }
  EXPECT_EQ(fire(tables, ChangeType::kDeleted, "/a/b").size(), 2'000u);
}

}  // namespace
}  // namespace zabfs::tree
