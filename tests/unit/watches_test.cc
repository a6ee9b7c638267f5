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
  tables.add_data(1, "/a");
  tables.add_child(2, "/");
  EXPECT_EQ(fire(tables, ChangeType::kCreated, "/a"),
            (Told{{1, EventType::kNodeCreated}, {2, EventType::kNodeChildrenChanged}}));
  EXPECT_EQ(fire(tables, ChangeType::kDeleted, "/a"), Told{});
}

TEST(Watches, DeleteTellsEachWatcherOnce) {
  WatchTables tables;
  tables.add_data(1, "/a");
  tables.add_child(1, "/a");
  tables.add_child(3, "/a");
  EXPECT_EQ(fire(tables, ChangeType::kDeleted, "/a"),
            (Told{{1, EventType::kNodeDeleted}, {3, EventType::kNodeDeleted}}));
}

TEST(Watches, PersistentOnesStay) {
  WatchTables tables;
  tables.add(1, "/a", WatchMode::kPersistent);
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
  tables.add(1, "/a", WatchMode::kPersistentRecursive);
  EXPECT_EQ(fire(tables, ChangeType::kCreated, "/a/b/c"), (Told{{1, EventType::kNodeCreated}}));
  EXPECT_EQ(fire(tables, ChangeType::kDeleted, "/a/b/c"), (Told{{1, EventType::kNodeDeleted}}));
  EXPECT_EQ(fire(tables, ChangeType::kCreated, "/ab"), Told{});
}

TEST(Watches, AreRemovedByTypeAndByWatcher) {
  WatchTables tables;
  tables.add_data(1, "/a");
  tables.add_child(1, "/a");
  EXPECT_TRUE(tables.remove(1, "/a", WatcherType::kData));
  EXPECT_FALSE(tables.remove(1, "/a", WatcherType::kData));
  EXPECT_TRUE(tables.contains(1, "/a", WatcherType::kAny));
  tables.remove_all(1);
  EXPECT_FALSE(tables.contains(1, "/a", WatcherType::kAny));
}

}  // namespace
}  // namespace zabfs::tree
