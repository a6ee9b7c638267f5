#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tree/znode.h"

namespace zabfs::tree {
namespace {

class ChildTableTest : public testing::Test {
 protected:
  std::string_view name_of(NodeId id) {
    ++names_read_;
    return names_[id];
  }
  NodeId add(ChildTable& table, const std::string& name) {
    auto id = static_cast<NodeId>(names_.size());
    names_.push_back(name);
    table.insert(id, name_);
    return id;
  }
  static std::vector<NodeId> order(const ChildTable& table) {
    std::vector<NodeId> ids;
    table.for_each([&ids](NodeId id) { ids.push_back(id); });
    return ids;
  }

  std::vector<std::string> names_;
  size_t names_read_ = 0;
  std::function<std::string_view(NodeId)> name_ = [this](NodeId id) { return name_of(id); };
};

TEST_F(ChildTableTest, FindsWhatIsThereAfterInsertsAndErases) {
  ChildTable table;
  std::set<NodeId> there;
  for (int i = 0; i < 1'000; ++i) there.insert(add(table, "n" + std::to_string(i)));
  for (NodeId id = 0; id < 1'000; id += 3) {
    table.erase(id, name_);
    there.erase(id);
  }
  EXPECT_EQ(table.size(), there.size());
  for (NodeId id = 0; id < 1'000; ++id) {
    EXPECT_EQ(table.find(names_[id], name_), there.contains(id) ? id : kNoNodeId);
  }
  std::vector<NodeId> ids = order(table);
  EXPECT_EQ(std::set<NodeId>(ids.begin(), ids.end()), there);
}

// As a snapshot is loaded: 0.69 of a table of 2^17, whose order in one of 2^16 was one long run.
TEST_F(ChildTableTest, TheOrderOfOneTableIsNoBurdenToAnother) {
  ChildTable table;
  for (int i = 0; i < 90'000; ++i) add(table, "node" + std::to_string(i));
  ChildTable growing;
  names_read_ = 0;
  for (NodeId id : order(table)) {
    EXPECT_EQ(growing.find(names_[id], name_), kNoNodeId);
    growing.insert(id, name_);
  }
  EXPECT_LT(names_read_, 10 * 90'000u);
}

TEST_F(ChildTableTest, AReservedTableMovesNothing) {
  ChildTable table;
  for (int i = 0; i < 1'000; ++i) add(table, "node" + std::to_string(i));
  ChildTable reserved;
  reserved.reserve(1'000, name_);
  names_read_ = 0;
  std::vector<NodeId> ids = order(table);
  for (NodeId id : ids) reserved.insert(id, name_);
  EXPECT_EQ(names_read_, 1'000u);  // nothing was moved
  EXPECT_EQ(order(reserved).size(), 1'000u);
}

}  // namespace
}  // namespace zabfs::tree
