#include "tree/lasting_snapshot.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>

#include "tree/snapshot.h"
#include "unit/tree_fixture.h"

namespace zabfs::tree {
namespace {

class LastingSnapshotTest : public TreeFixture {
 protected:
  static std::unique_ptr<Tree> load(std::string_view bytes, Zxid zxid) {
    SnapshotLoader loader;
    if (loader.feed(bytes) != SnapshotLoader::State::kDone) return nullptr;
    if (loader.feed_times(bytes) != SnapshotLoader::State::kMore || !bytes.empty()) return nullptr;
    return loader.finish(zxid);
  }
  std::string stream() {
    std::unique_ptr<SnapshotCursor> cursor = tree_.begin_snapshot();
    std::string bytes;
    while (cursor->next(bytes, 1'000)) {
    }
    return bytes;
  }
  static std::string filter(std::string_view bytes, size_t piece, LastingSnapshot& lasting) {
    std::string out;
    for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
      Status fed = lasting.feed(bytes.substr(0, piece), out);
      EXPECT_TRUE(fed.ok()) << fed.why();
    }
    Status ended = lasting.finish();
    EXPECT_TRUE(ended.ok()) << ended.why();
    return out;
  }
  // All that a znode is, but for the number of its ephemerals.
  struct Znode {
    std::string data;
    bool has_data;
    AclList acl;
    Stat stat;
    ChangeTimes times;
    bool operator==(const Znode& other) const {
      return data == other.data && has_data == other.has_data && acl == other.acl &&
             times == other.times && stat.czxid == other.stat.czxid &&
             stat.mzxid == other.stat.mzxid && stat.pzxid == other.stat.pzxid &&
             stat.ctime_ms == other.stat.ctime_ms && stat.mtime_ms == other.stat.mtime_ms &&
             stat.version == other.stat.version && stat.cversion == other.stat.cversion &&
             stat.aversion == other.stat.aversion &&
             stat.ephemeral_owner == other.stat.ephemeral_owner &&
             stat.num_children == other.stat.num_children;
    }
  };
  static std::map<std::string, Znode> lasting_znodes(const Tree& tree) {
    std::map<std::string, Znode> found;
    std::vector<const ZNode*> left{&tree.root()};
    while (!left.empty()) {
      const ZNode& node = *left.back();
      left.pop_back();
      Znode znode{std::string(node.data.view()), !node.data.is_null(), tree.acl_of(node),
                  tree.stat_of(node), node.times};
      znode.stat.num_children = 0;
      znode.stat.cversion =
          node.stat.cversion;  // what clients get has the number of children in it
      tree.for_each_child(node, [&](const ZNode& child) {
        if (owner_kind(child.stat.owner) == OwnerKind::kEphemeral) return;
        ++znode.stat.num_children;
        left.push_back(&child);
      });
      found.emplace(tree.path_of(node), std::move(znode));
    }
    return found;
  }
  static size_t ephemerals_in(const Tree& tree) {
    size_t count = 0;
    for (const auto& [id, session] : tree.sessions()) count += tree.ephemerals_of(id).size();
    return count;
  }
  // Directories with children of all kinds, changed by sessions some of which have moved.
  void grow(std::mt19937& random) {
    std::vector<std::string> directories{""};
    std::vector<SessionId> sessions;
    for (int64_t id = 1; id <= 6; ++id) sessions.push_back(open_session(id));
    run(OpCode::kExtAttach, create_session_body(1000), sessions[2]);
    for (int i = 0; i < 400; ++i) {
      const std::string& parent = directories[random() % directories.size()];
      std::string path = parent + "/n" + std::to_string(i);
      SessionId session = sessions[random() % sessions.size()];
      std::string data(random() % 40, 'd');
      switch (random() % 8) {
        case 0:
        case 1:
          create(path, data, kCreateEphemeral, session);
          break;
        case 2:
          run(OpCode::kCreateTtl, create_ttl_body(path, data, open_acl(), 5, 9'000), session);
          break;
        case 3:
          run(OpCode::kCreateContainer, create_body(path, data, open_acl(), 4), session);
          directories.push_back(path);
          break;
        case 4:
          create(path, data);
          run(OpCode::kSetAcl, set_acl_body(path, {{kPermRead, {"ip", "10.0.0." + data}}}, -1));
          break;
        case 5:
          create(path + "-", data, kCreateSequential, session);
          break;
        default:
          create(path, data);
          directories.push_back(path);
      }
    }
  }
};

class RandomTree : public LastingSnapshotTest, public testing::WithParamInterface<unsigned> {};
INSTANTIATE_TEST_SUITE_P(Seeds, RandomTree, testing::Range(1u, 21u));

TEST_P(RandomTree, AllButSessionsAndEphemeralsComesBackTheSame) {
  std::mt19937 random(GetParam());
  grow(random);
  std::string whole = stream();
  std::unique_ptr<Tree> before = load(whole, zxid_);
  ASSERT_NE(before, nullptr);
  LastingSnapshot lasting;
  std::string bytes = filter(whole, 1 + random() % 3'000, lasting);
  std::unique_ptr<Tree> after = load(bytes, zxid_);
  ASSERT_NE(after, nullptr);
  EXPECT_GT(ephemerals_in(*before), 0u);
  EXPECT_EQ(lasting.counts().ephemerals, ephemerals_in(*before));
  EXPECT_EQ(lasting.counts().sessions, 6u);
  EXPECT_EQ(lasting.counts().znodes, after->node_count());
  EXPECT_EQ(lasting.counts().digest, after->digest());
  EXPECT_TRUE(after->sessions().empty());
  EXPECT_TRUE(lasting_znodes(*before) == lasting_znodes(*after));
  EXPECT_EQ(lasting_znodes(*after).size(), after->node_count());  // no ephemeral is left
  EXPECT_EQ(before->containers().size(), after->containers().size());
  EXPECT_EQ(before->ttl_nodes().size(), after->ttl_nodes().size());
}

TEST_F(LastingSnapshotTest, NothingMoreIsTakenFromWhatLasts) {
  std::mt19937 random(7);
  grow(random);
  LastingSnapshot first, second;
  std::string bytes = filter(stream(), 100, first);
  EXPECT_EQ(filter(bytes, 1'000, second), bytes);
  EXPECT_EQ(second.counts().sessions, 0u);
  EXPECT_EQ(second.counts().ephemerals, 0u);
  EXPECT_EQ(second.counts().znodes, first.counts().znodes);
  EXPECT_EQ(second.counts().data_bytes, first.counts().data_bytes);
  EXPECT_EQ(second.counts().digest, first.counts().digest);
}

TEST_F(LastingSnapshotTest, OneThatIsCutShortIsNoneWhereverThatIs) {
  create("/a", "x");
  create("/a/e", "x", kCreateEphemeral, open_session(5));
  create("/a/b", "x");
  std::string whole = stream();
  size_t end_of_tree = whole.find("zabfs-times") - 4;
  for (size_t size = 0; size < whole.size(); ++size) {
    LastingSnapshot lasting;
    std::string out;
    Status status = lasting.feed(std::string_view(whole).substr(0, size), out);
    if (status.ok()) status = lasting.finish();
    // Without its times it is a tree, too.
    EXPECT_EQ(status.ok(), size == end_of_tree) << size;
  }
}

TEST_F(LastingSnapshotTest, WhatIsNoTreeIsRefused) {
  create("/a");
  std::string whole = stream();
  for (const std::string& wrong :
       {std::string(64, '\x7f'), whole + std::string(64, 'x'), whole + std::string(64, '\0'),
        whole + whole.substr(whole.find("zabfs-times") - 4) + "x"}) {
    LastingSnapshot lasting;
    std::string out;
    Status status = lasting.feed(wrong, out);
    if (status.ok()) status = lasting.finish();
    EXPECT_FALSE(status.ok());
  }
}

}  // namespace
}  // namespace zabfs::tree
