#include "tree/tree_difference.h"

#include <map>
#include <random>
#include <utility>

#include "tree/path.h"
#include "unit/tree_fixture.h"

namespace zabfs::tree {
namespace {

constexpr SessionId kClient{5};

// A tree and its clients.
class Grown : public TreeFixture {
 public:
  Grown() { open_session(kClient.value); }
  void TestBody() override {}
  using TreeFixture::create;
  using TreeFixture::data;
  using TreeFixture::set;
  const Tree& tree() const { return tree_; }
  Error ask(const MultiOp& request) { return run(request.type, request.body, kClient).error; }

  // Some request of a client's. Few names, so that it often meets what is there.
  void step(std::mt19937& random) {
    std::string path;
    for (size_t depth = 1 + random() % 3; depth > 0; --depth) {
      path += "/n" + std::to_string(random() % 4);
    }
    std::string data(random() % 4, 'd');
    AclList acl = random() % 3 == 0 ? AclList{{kPermAll, {"ip", "10.0.0.1"}}} : open_acl();
    switch (random() % 8) {
      case 0:
        run(OpCode::kDelete, delete_body(path, kAnyVersion), kClient);
        break;
      case 1:
        run(OpCode::kSetData, set_data_body(path, data, kAnyVersion), kClient);
        break;
      case 2:
        run(OpCode::kSetAcl, set_acl_body(path, acl, kAnyVersion), kClient);
        break;
      case 3:
        run(OpCode::kCreate, create_body(path, data, acl, kCreateEphemeral), kClient);
        break;
      case 4:
        run(OpCode::kCreateContainer, create_body(path, data, acl, kCreateContainerFlag), kClient);
        break;
      case 5:
        run(OpCode::kCreateTtl,
            create_ttl_body(path, data, acl, kCreateTtlFlag, 1 + static_cast<int>(random() % 2)),
            kClient);
        break;
      default:
        run(OpCode::kCreate, create_body(path, std::nullopt, acl, kCreatePersistent), kClient);
    }
  }
};

std::string shown(const Tree& tree, const ZNode& node) {
  std::string text = node.data.is_null() ? "(null)" : std::string(node.data.view());
  text += " owner " + std::to_string(node.stat.owner);
  for (const Acl& entry : tree.acl_of(node)) {
    text += " " + entry.who.scheme + ":" + entry.who.id + ":" + std::to_string(entry.perms);
  }
  return text;
}

// All but ephemerals.
std::map<std::string, std::string> znodes(const Tree& tree) {
  std::map<std::string, std::string> out;
  std::vector<const ZNode*> left{&tree.root()};
  while (!left.empty()) {
    const ZNode& node = *left.back();
    left.pop_back();
    if (owner_kind(node.stat.owner) == OwnerKind::kEphemeral) continue;
    out.emplace(tree.path_of(node), shown(tree, node));
    tree.for_each_child(node, [&left](const ZNode& child) { left.push_back(&child); });
  }
  return out;
}

// Sends what a pass asks for. Gives how many requests there were, and how many failed.
template <class Before>
std::pair<size_t, size_t> pass(Grown& living, TreeDifference& difference, const Before& before) {
  size_t sent = 0, failed = 0;
  bool is_more = true;
  difference.begin();
  while (is_more) {
    std::vector<MultiOp> requests;
    is_more = difference.next(living.tree(), 3, requests);
    for (const MultiOp& request : requests) {
      before();
      ++sent;
      if (living.ask(request) != Error::kOk) ++failed;
    }
  }
  return {sent, failed};
}

class RandomTrees : public testing::TestWithParam<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Seeds, RandomTrees, testing::Range(1u, 41u));

TEST_P(RandomTrees, OneBecomesTheOther) {
  std::mt19937 random(GetParam());
  Grown wanted, living;
  for (int i = 0; i < 150; ++i) wanted.step(random);
  for (int i = 0; i < 150; ++i) living.step(random);
  TreeDifference difference(wanted.tree());
  auto nobody = [] {};
  auto [sent, failed] = pass(living, difference, nobody);
  EXPECT_GT(sent, 10u);
  EXPECT_EQ(failed, 0u);
  EXPECT_EQ(znodes(living.tree()), znodes(wanted.tree()));
  EXPECT_EQ(pass(living, difference, nobody).first, 0u);
}

TEST_P(RandomTrees, OthersWhoWriteMeanwhileMakeFurtherPasses) {
  std::mt19937 random(GetParam());
  Grown wanted, living;
  for (int i = 0; i < 150; ++i) wanted.step(random);
  for (int i = 0; i < 150; ++i) living.step(random);
  TreeDifference difference(wanted.tree());
  pass(living, difference, [&] { living.step(random); });
  int passes = 1;
  while (pass(living, difference, [] {}).second > 0) ASSERT_LT(++passes, 5);
  EXPECT_EQ(znodes(living.tree()), znodes(wanted.tree()));
}

class TreeDifferenceTest : public testing::Test {
 protected:
  size_t restore() {
    TreeDifference difference(wanted_.tree());
    auto [sent, failed] = pass(living_, difference, [] {});
    EXPECT_EQ(failed, 0u);
    return sent;
  }
  Grown wanted_, living_;
};

TEST_F(TreeDifferenceTest, EphemeralsAreTheirSessions) {
  wanted_.create("/d");
  wanted_.create("/d/gone", "", kCreateEphemeral, kClient);
  living_.create("/d");
  living_.create("/d/e", "", kCreateEphemeral, kClient);
  living_.create("/other");
  living_.create("/other/e", "", kCreateEphemeral, kClient);
  EXPECT_EQ(restore(), 2u);
  EXPECT_NE(living_.tree().find("/d/e"), nullptr);
  EXPECT_EQ(living_.tree().find("/d/gone"), nullptr);
  EXPECT_EQ(living_.tree().find("/other"), nullptr);
}

TEST_F(TreeDifferenceTest, AnEphemeralInThePlaceOfAZnodeGoes) {
  wanted_.create("/a");
  wanted_.create("/a/b", "x");
  living_.create("/a", "", kCreateEphemeral, kClient);
  EXPECT_EQ(restore(), 3u);
  EXPECT_EQ(living_.data("/a/b"), "x");
}

TEST_F(TreeDifferenceTest, TheMembersStayAndAQuotaCountsByItself) {
  for (Grown* grown : {&wanted_, &living_}) {
    grown->create("/zookeeper/quota/a");
    grown->create("/zookeeper/quota/a/zookeeper_limits", "count=10,bytes=-1");
    grown->create("/zookeeper/quota/a/zookeeper_stats", "count=0,bytes=0");
    grown->create("/a");
  }
  wanted_.create("/a/one");
  living_.set("/zookeeper/config", "server.1=...");
  living_.set("/zookeeper/quota/a/zookeeper_limits", "count=5,bytes=-1");
  std::string config = living_.data("/zookeeper/config");
  EXPECT_EQ(restore(), 2u);
  EXPECT_EQ(living_.data("/zookeeper/config"), config);
  EXPECT_EQ(living_.data("/zookeeper/quota/a/zookeeper_limits"), "count=10,bytes=-1");
}

}  // namespace
}  // namespace zabfs::tree
