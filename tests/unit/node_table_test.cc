#include "fsd/fuse/node_table.h"

#include <gtest/gtest.h>

namespace zabfs::fsd {
namespace {

using tree::Kind;
using tree::Zxid;

class NodeTableTest : public testing::Test {
 protected:
  KernelNode look_up(const char* path, int64_t czxid = 1, Kind kind = Kind::kFile) {
    return table_.look_up(path, Zxid{czxid}, kind, cacheable_);
  }
  KernelNode keep(const char* path, int64_t czxid = 1, Kind kind = Kind::kFile) {
    KernelNode node = look_up(path, czxid, kind);
    EXPECT_TRUE(table_.note_kept(path));
    return node;
  }
  NodeTable table_;
  bool cacheable_ = false;
};

TEST_F(NodeTableTest, OneNodeAZnodeUntilItIsForgotten) {
  KernelNode a = look_up("/a");
  EXPECT_TRUE(cacheable_);
  EXPECT_EQ(look_up("/a"), a);
  table_.forget(a, 1);
  EXPECT_TRUE(table_.find(a));
  table_.forget(a, 1);
  EXPECT_FALSE(table_.find(a));
  EXPECT_NE(look_up("/a"), a);
}

TEST_F(NodeTableTest, ASuccessorOrAnotherKindIsAnotherNode) {
  KernelNode first = look_up("/a", 1);
  KernelNode second = look_up("/a", 2);
  EXPECT_NE(first, second);
  EXPECT_TRUE(table_.find(first)->gone);
  KernelNode third = look_up("/a", 2, Kind::kDirectory);
  EXPECT_NE(second, third);
}

TEST_F(NodeTableTest, AbsenceIsCachedFromTheSecondTime) {
  EXPECT_FALSE(table_.note_absent("/x"));
  EXPECT_TRUE(table_.note_absent("/x"));
  NodeTable::Forget forget = table_.begin_change({"/x"}, {}, {});
  EXPECT_EQ(forget.names.size(), 1u);
  table_.end_change();
  forget = table_.begin_change({"/y"}, {}, {});
  EXPECT_TRUE(forget.names.empty());  // nobody was told of /y
}

TEST_F(NodeTableTest, NothingThatChangesIsCacheable) {
  look_up("/a");
  NodeTable::Forget forget = table_.begin_change({"/b"}, {"/a"}, {});
  EXPECT_EQ(forget.attributes.size(), 1u);
  look_up("/a");
  EXPECT_FALSE(cacheable_);
  EXPECT_FALSE(table_.note_absent("/b"));
  EXPECT_FALSE(table_.is_stable("/a"));
  table_.end_change();
  EXPECT_TRUE(table_.is_stable("/a"));
}

TEST_F(NodeTableTest, AChangeOfAllIsOfTheNodesThatWereSetAsideToo) {
  table_.set_aside(look_up("/target", 2));
  look_up("/target", 2);
  NodeTable::Forget forget = table_.begin_change_of_all();
  EXPECT_TRUE(forget.all_names);
  EXPECT_EQ(forget.attributes.size(), 3u);  // with the root
  look_up("/target", 2);
  EXPECT_FALSE(cacheable_);
}

TEST_F(NodeTableTest, AZnodeOfAnotherKindIsAnotherNode) {
  look_up("/d", 1, Kind::kDirectory);
  KernelNode link = look_up("/d/l", 2, Kind::kSymlink);
  EXPECT_EQ(table_.held_kind("/d/l"), Kind::kSymlink);
  EXPECT_FALSE(table_.held_kind("/"));  // always a directory
  table_.drop("/d/l");
  table_.note_retyped("/d", Zxid{7});
  EXPECT_TRUE(table_.find(link)->gone);
  EXPECT_EQ(table_.held("/d/l"), 0u);
  EXPECT_NE(look_up("/d/l", 2, Kind::kDirectory), link);
  EXPECT_EQ(table_.find(table_.held("/d"))->retyped, Zxid{7});
}

TEST_F(NodeTableTest, ANodeThatIsSetAsideChangesWithItsZnodeAndIsNotFoundByName) {
  KernelNode aside = look_up("/a");
  table_.set_aside(aside);
  KernelNode now = look_up("/a");
  EXPECT_NE(now, aside);
  EXPECT_FALSE(table_.find(aside)->gone);
  EXPECT_EQ(table_.begin_change({}, {"/a"}, {}).attributes, (std::vector{now, aside}));
  table_.end_change();
  table_.rename("/a", "/b");
  EXPECT_EQ(table_.find(aside)->path, "/b");
  table_.drop("/b");
  EXPECT_TRUE(table_.find(aside)->gone);
}

TEST_F(NodeTableTest, LocalRemovalsAreKnownToTheKernel) {
  keep("/a");
  NodeTable::Forget forget = table_.begin_change({"/a"}, {}, {"/a"});
  EXPECT_TRUE(forget.names.empty());
  EXPECT_TRUE(forget.local);
  table_.end_change();
  keep("/a");
  forget = table_.begin_change({"/a"}, {}, {});
  EXPECT_EQ(forget.names.size(), 1u);
  EXPECT_FALSE(forget.local);
}

TEST_F(NodeTableTest, OnlyNamesThatAreKeptAreForgottenAndThoseOnce) {
  look_up("/d", 1, Kind::kDirectory);
  look_up("/d/asked_each_time");
  KernelNode directory = table_.held("/d");
  keep("/d/kept");
  std::vector<std::string> both = {"/d/asked_each_time", "/d/kept"};
  EXPECT_EQ(table_.begin_change(both, {}, {}).names,
            (std::vector<NodeTable::HeldName>{{directory, "kept"}}));
  EXPECT_FALSE(table_.note_kept("/d/kept"));  // it is about to change
  table_.end_change();
  EXPECT_TRUE(table_.begin_change(both, {}, {}).names.empty());
}

TEST_F(NodeTableTest, NothingIsKeptOnceAllNamesAreForgotten) {
  keep("/a");
  for (int i = 0; i < 2; ++i) table_.note_absent("/b");
  table_.forgetting_all_names();
  EXPECT_TRUE(table_.begin_change({"/a", "/b"}, {}, {}).names.empty());
  table_.end_change();
  keep("/a");
  EXPECT_EQ(table_.begin_change({"/a"}, {}, {}).names.size(), 1u);
}

TEST_F(NodeTableTest, WhatTheKernelKeepsBelowADirectoryMovesWithIt) {
  look_up("/d", 1, Kind::kDirectory);
  keep("/d/a", 2);
  for (int i = 0; i < 2; ++i) table_.note_absent("/d/b");
  table_.rename("/d", "/e");
  EXPECT_EQ(table_.begin_change({"/e/a", "/e/b"}, {}, {}).names,
            (std::vector<NodeTable::HeldName>{{table_.held("/e"), "a"}, {table_.held("/e"), "b"}}));
  EXPECT_TRUE(table_.begin_change({"/d/b"}, {}, {}).names.empty());
}

TEST_F(NodeTableTest, ANameThatTheKernelMovesItselfIsKept) {
  keep("/a");
  EXPECT_TRUE(table_.begin_change({"/a", "/b"}, {}, {"/a", "/b"}).names.empty());
  table_.rename("/a", "/b");
  table_.end_change();
  EXPECT_EQ(table_.begin_change({"/b"}, {}, {}).names.size(), 1u);
}

TEST_F(NodeTableTest, ANameOfAnotherKindIsForgotten) {
  KernelNode file = keep("/a");
  EXPECT_EQ(table_.end_name("/a").names, (std::vector<NodeTable::HeldName>{{kRootNode, "a"}}));
  EXPECT_TRUE(table_.find(file)->gone);
  look_up("/b");
  EXPECT_TRUE(table_.end_name("/b").names.empty());
}

TEST_F(NodeTableTest, WhatIsMadeHereIsKnownToTheKernel) {
  table_.note_absent("/a");
  EXPECT_FALSE(table_.begin_change({"/a"}, {}, {"/a"}).local);  // it was not to keep the absence
  table_.end_change();
  for (int i = 0; i < 2; ++i) table_.note_absent("/b");
  NodeTable::Forget forget = table_.begin_change({"/b"}, {}, {"/b"});
  EXPECT_TRUE(forget.names.empty());
  EXPECT_TRUE(forget.local);
}

TEST_F(NodeTableTest, ADirectoryThatWasSetAsideHasItsNamesOnceMore) {
  table_.set_aside(look_up("/d", 1, Kind::kDirectory));
  look_up("/d", 1, Kind::kDirectory);
  for (int i = 0; i < 2; ++i) table_.note_absent("/d/a");
  EXPECT_EQ(table_.begin_change({"/d/a"}, {}, {"/d/a"}).names.size(), 2u);
}

TEST_F(NodeTableTest, RenamesMoveNodesAndThoseBelow) {
  KernelNode directory = look_up("/d", 1, Kind::kDirectory);
  KernelNode file = look_up("/d/f", 2);
  table_.rename("/d", "/e");
  EXPECT_EQ(table_.find(directory)->path, "/e");
  EXPECT_EQ(table_.find(file)->path, "/e/f");
  table_.refresh_identities("/e", [](const std::string&) { return Zxid{9}; });
  EXPECT_EQ(look_up("/e/f", 9), file);
}

TEST_F(NodeTableTest, AfterARenameOverTheNodeOfTheTargetIsGone) {
  KernelNode target = look_up("/target", 1);
  KernelNode source = look_up("/source", 2);
  table_.rename("/source", "/target");
  EXPECT_TRUE(table_.find(target)->gone);
  EXPECT_EQ(table_.find(source)->path, "/target");
  EXPECT_EQ(table_.held("/target"), source);
  EXPECT_EQ(table_.begin_change({}, {"/target"}, {}).attributes, std::vector{source});
}

TEST_F(NodeTableTest, DirtyFilesAreNotCached) {
  look_up("/a");
  table_.add_dirty("/a", +1);
  EXPECT_FALSE(table_.is_stable("/a"));
  table_.add_dirty("/a", -1);
  EXPECT_TRUE(table_.is_stable("/a"));
}

}  // namespace
}  // namespace zabfs::fsd
