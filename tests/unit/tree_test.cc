#include "unit/tree_fixture.h"

namespace zabfs::tree {
namespace {

class TreeTest : public TreeFixture {};

TEST_F(TreeTest, EmptyTreeHasZooKeepersDigest) {
  // Java's tree before anything is done (FORMATS.md 5.5).
  EXPECT_EQ(Tree().digest(), 0x51c6d660);
}

TEST_F(TreeTest, TheDigestOfAZnodeWithoutDataCoversItsPath) {
  // As if its data were empty: zlib's CRC goes on from what came before (FORMATS.md 5.5).
  EXPECT_EQ(node_digest("/a", Bytes(), NodeStat()), node_digest("/a", Bytes(""), NodeStat()));
  EXPECT_NE(node_digest("/a", Bytes(), NodeStat()), node_digest("/b", Bytes(), NodeStat()));
  // CRC-32 of "/a" and 60 zero bytes.
  EXPECT_EQ(node_digest("/a", Bytes(), NodeStat()), 0xdbb3aeae);
}

TEST_F(TreeTest, FreshRootShowsCversionMinusOne) {
  EXPECT_EQ(stat("/").cversion, -1);
  EXPECT_EQ(stat("/").num_children, 1);
  EXPECT_EQ(stat("/zookeeper/config").aversion, -1);
}

TEST_F(TreeTest, CreateSetsTheNodesStatAndTheParentsCounters) {
  Outcome outcome = create("/a", "xy");
  Stat a = stat("/a");
  EXPECT_EQ(outcome.path, "/a");
  EXPECT_EQ(a.czxid, outcome.zxid);
  EXPECT_EQ(a.mzxid, outcome.zxid);
  EXPECT_EQ(a.pzxid, outcome.zxid);
  EXPECT_EQ(a.ctime_ms, time_ms_);
  EXPECT_EQ(a.data_length, 2);
  EXPECT_EQ(stat("/").cversion, 0);
  EXPECT_EQ(stat("/").pzxid, outcome.zxid);
  EXPECT_EQ(stat("/").mzxid, Zxid{});
}

TEST_F(TreeTest, DeleteCountsInTheParentsCversionAndPzxid) {
  create("/a");
  Outcome outcome = remove("/a");
  EXPECT_EQ(stat("/").cversion, 1);
  EXPECT_EQ(stat("/").pzxid, outcome.zxid);
  EXPECT_EQ(tree_.find("/a"), nullptr);
}

TEST_F(TreeTest, SetDataMovesVersionMzxidAndMtimeOnly) {
  create("/a", "1");
  Stat before = stat("/a");
  Outcome outcome = set("/a", "22");
  Stat after = stat("/a");
  EXPECT_EQ(after.version, 1);
  EXPECT_EQ(after.mzxid, outcome.zxid);
  EXPECT_GT(after.mtime_ms, before.mtime_ms);
  EXPECT_EQ(after.czxid, before.czxid);
  EXPECT_EQ(after.pzxid, before.pzxid);
  EXPECT_EQ(after.aversion, 0);
}

TEST_F(TreeTest, ChangesTellTheVersionOfTheData) {
  create("/n", "0");
  set("/n", "1");
  ASSERT_EQ(changes_.size(), 1u);
  EXPECT_EQ(changes_[0].version, 1);
  remove("/n");
  ASSERT_EQ(changes_.size(), 1u);
  EXPECT_EQ(changes_[0].version, 1);
}

TEST_F(TreeTest, SetAclMovesAversionOnly) {
  create("/a", "1");
  Stat before = stat("/a");
  run(OpCode::kSetAcl, set_acl_body("/a", {{kPermRead, {"world", "anyone"}}}, -1));
  Stat after = stat("/a");
  EXPECT_EQ(after.aversion, 1);
  EXPECT_EQ(after.mzxid, before.mzxid);
  EXPECT_EQ(after.version, 0);
}

TEST_F(TreeTest, NullDataStaysNull) {
  run(OpCode::kCreate, create_body("/n", std::nullopt, open_acl(), 0));
  create("/e", "");
  EXPECT_TRUE(tree_.find("/n")->data.is_null());
  EXPECT_FALSE(tree_.find("/e")->data.is_null());
}

TEST_F(TreeTest, CloseSessionRemovesItsEphemerals) {
  SessionId session = open_session(77);
  create("/p");
  create("/p/e1", "", kCreateEphemeral, session);
  create("/p/e2", "", kCreateEphemeral, session);
  EXPECT_EQ(stat("/p/e1").ephemeral_owner, 77);
  EXPECT_EQ(tree_.ephemerals_of(session), (std::vector<std::string>{"/p/e1", "/p/e2"}));
  run(OpCode::kCloseSession, "", session);
  EXPECT_EQ(stat("/p").num_children, 0);
  EXPECT_FALSE(tree_.sessions().contains(session));
  EXPECT_EQ(changes_.size(), 2u);
}

TEST_F(TreeTest, ContainersAndTtlNodesAreNoEphemerals) {
  run(OpCode::kCreateContainer, create_body("/c", "", open_acl(), kCreateContainerFlag));
  run(OpCode::kCreateTtl, create_ttl_body("/t", "", open_acl(), kCreateTtlFlag, 5'000));
  EXPECT_EQ(stat("/c").ephemeral_owner, 0);
  EXPECT_EQ(stat("/t").ephemeral_owner, 0);
  EXPECT_EQ(tree_.containers().size(), 1u);
  EXPECT_EQ(tree_.ttl_nodes().size(), 1u);
  EXPECT_EQ(owner_ttl_ms(tree_.find("/t")->stat.owner), 5'000);
}

TEST_F(TreeTest, ReplayedCreateOnlyRaisesTheParent) {
  create("/a");
  Txn txn;
  txn.header.type = OpCode::kCreate;
  txn.header.zxid = zxid_.next();
  txn.body = CreateTxn{"/a", "other", open_acl(), false, 9, 0};
  EXPECT_EQ(tree_.apply(txn, nullptr).error, Error::kNodeExists);
  EXPECT_EQ(tree_.root().stat.cversion, 9);
  EXPECT_EQ(data("/a"), "");
}

TEST_F(TreeTest, ManyChildrenAreFoundAfterInsertsAndErases) {
  create("/d");
  for (int i = 0; i < 2'000; ++i) create("/d/child-" + std::to_string(i));
  for (int i = 0; i < 2'000; i += 3) remove("/d/child-" + std::to_string(i));
  for (int i = 0; i < 2'000; ++i) {
    EXPECT_EQ(tree_.find("/d/child-" + std::to_string(i)) != nullptr, i % 3 != 0) << i;
  }
  size_t seen = 0;
  tree_.for_each_child(*tree_.find("/d"), [&seen](const ZNode&) { ++seen; });
  EXPECT_EQ(seen, static_cast<size_t>(stat("/d").num_children));
}

// Apache ZooKeeper bounds a request, and no name.
TEST_F(TreeTest, NamesOfAnyLengthAreTold) {
  create("/d");
  auto apply_txn = [this](OpCode type, auto body) {
    zxid_ = zxid_.next();
    Txn txn;
    txn.header = {SessionId{1}, 1, zxid_, 1'000, type};
    txn.body = body;
    tree_.apply(txn, nullptr);
  };
  std::vector<std::string> names;
  for (int length : {14, 15, 65'534, 65'535, 65'536, 70'000, 135'536}) {
    names.push_back(std::string(static_cast<size_t>(length), 'x'));
    std::string path = "/d/" + names.back();
    apply_txn(OpCode::kCreate, CreateTxn{path, "x", open_acl(), false, -1, 0});
  }
  EXPECT_EQ(stat("/d").num_children, 7);
  for (const std::string& name : names) {
    const ZNode* node = tree_.find("/d/" + name);
    ASSERT_NE(node, nullptr) << name.size();
    EXPECT_EQ(node->name.view(), name);
    EXPECT_EQ(tree_.path_of(*node).size(), 3 + name.size());
  }
  EXPECT_EQ(tree_.find("/d/" + std::string(70'000 % 65'536, 'x')), nullptr);
  for (const std::string& name : names) {
    std::string path = "/d/" + name;
    apply_txn(OpCode::kDelete, DeleteTxn{path});
  }
  EXPECT_EQ(stat("/d").num_children, 0);
}

TEST_F(TreeTest, PathsAreRebuiltFromParents) {
  create("/a");
  create("/a/a-name-longer-than-fourteen-bytes");
  const ZNode* node = tree_.find("/a/a-name-longer-than-fourteen-bytes");
  ASSERT_NE(node, nullptr);
  EXPECT_EQ(tree_.path_of(*node), "/a/a-name-longer-than-fourteen-bytes");
  EXPECT_EQ(tree_.path_of(tree_.root()), "/");
}

}  // namespace
}  // namespace zabfs::tree
