#include "tree/snapshot.h"

#include <map>

#include "unit/tree_fixture.h"

namespace zabfs::tree {
namespace {

class SnapshotTest : public TreeFixture {
 protected:
  static std::unique_ptr<Tree> load(std::string_view bytes, Zxid zxid, size_t piece) {
    SnapshotLoader loader;
    std::string pending;
    auto state = SnapshotLoader::State::kMore;
    while (!bytes.empty() && state == SnapshotLoader::State::kMore) {
      pending.append(bytes.substr(0, piece));
      bytes.remove_prefix(std::min(piece, bytes.size()));
      std::string_view input = pending;
      state = loader.feed(input);
      pending = std::string(input);
    }
    while (state == SnapshotLoader::State::kDone) {
      std::string_view input = pending;
      if (loader.feed_times(input) != SnapshotLoader::State::kMore) return nullptr;
      pending = std::string(input) + std::string(bytes.substr(0, piece));
      if (bytes.empty()) return pending.empty() ? loader.finish(zxid) : nullptr;
      bytes.remove_prefix(std::min(piece, bytes.size()));
    }
    return nullptr;
  }
  static std::map<std::string, ChangeTimes> times_in(const Tree& tree) {
    std::map<std::string, ChangeTimes> times;
    std::vector<const ZNode*> left{&tree.root()};
    while (!left.empty()) {
      const ZNode* node = left.back();
      left.pop_back();
      times[tree.path_of(*node)] = node->times;
      tree.for_each_child(*node, [&left](const ZNode& child) { left.push_back(&child); });
    }
    return times;
  }
  void populate() {
    SessionId session = open_session(3);
    for (int i = 0; i < 300; ++i) {
      std::string top = "/n" + std::to_string(i);
      create(top, "data" + std::to_string(i));
      create(top + "/child", "x");
    }
    create("/eph", "", kCreateEphemeral, session);
    for (int64_t id = 100; id < 1'200; id += 2) {  // every other one has moved
      open_session(id);
      run(OpCode::kExtAttach, create_session_body(1000), open_session(id + 1));
    }
    int32_t cxid = std::exchange(cxid_, kCreatedWithSecret - 1);
    SessionId stays = open_session(2'000);
    cxid_ = kCreatedWithSecret - 1;
    SessionId moves = open_session(2'001);
    cxid_ = attach_cxid(1, 7, true) - 1;
    run(OpCode::kExtAttach, create_session_body(1000), moves);
    cxid_ = cxid;
    EXPECT_TRUE(tree_.sessions().at(stays).is_with_secret);
    EXPECT_TRUE(tree_.sessions().at(moves).is_with_secret);
    EXPECT_EQ(tree_.sessions().at(moves).home, 7);
    run(OpCode::kSetAcl, set_acl_body("/n5", {{kPermRead, {"world", "anyone"}}}, -1));
  }
};

TEST_F(SnapshotTest, ComesBackTheSame) {
  populate();
  std::unique_ptr<SnapshotCursor> cursor = tree_.begin_snapshot();
  std::string bytes;
  while (cursor->next(bytes, 1'000)) {
  }
  for (size_t piece : {7u, 1'000u, 1'000'000u}) {
    std::unique_ptr<Tree> copy = load(bytes, cursor->zxid(), piece);
    ASSERT_NE(copy, nullptr);
    EXPECT_EQ(copy->digest(), tree_.digest());
    EXPECT_EQ(copy->node_count(), tree_.node_count());
    EXPECT_EQ(copy->data_bytes(), tree_.data_bytes());
    ASSERT_EQ(copy->sessions().size(), tree_.sessions().size());
    for (const auto& [id, session] : tree_.sessions()) {
      EXPECT_EQ(copy->sessions().at(id).timeout_ms, session.timeout_ms);
      EXPECT_EQ(copy->sessions().at(id).attachment, session.attachment);
      EXPECT_EQ(copy->sessions().at(id).home, session.home);
      EXPECT_EQ(copy->sessions().at(id).is_with_secret, session.is_with_secret);
    }
    EXPECT_NE(copy->sessions().at(SessionId{101}).attachment, kFirstAttachment);
    EXPECT_EQ(copy->ephemerals_of(SessionId{3}), std::vector<std::string>{"/eph"});
    EXPECT_EQ(copy->acl_of(*copy->find("/n5"))[0].perms, kPermRead);
    EXPECT_EQ(times_in(*copy), times_in(tree_));
    EXPECT_EQ(copy->find("/n5")->times.acl_ms, time_ms_);
    EXPECT_NE(copy->find("/n6")->times.children_ms, 0);
  }
}

// Java writes its ACLs first, and then znodes that may have newer ones.
TEST_F(SnapshotTest, MissingAclsComeWithTheTxnsBehindAFuzzySnapshot) {
  std::string bytes;
  jute::Writer out(bytes);
  out.count(0);  // sessions
  out.count(0);  // ACLs
  for (const char* path : {"", "/made", "/set"}) {
    out.string(path);
    out.buffer(std::string_view());
    out.i64(*path == 0 ? -1 : 7);
    out.raw(std::string(60, '\0'));
  }
  out.string("/");
  std::string_view strict = bytes, input = bytes;
  EXPECT_EQ(SnapshotLoader().feed(strict), SnapshotLoader::State::kBad);
  SnapshotLoader loader(true);
  ASSERT_EQ(loader.feed(input), SnapshotLoader::State::kDone);
  std::unique_ptr<Tree> tree = loader.finish(Zxid{1});
  EXPECT_EQ(tree->path_without_acl().substr(0, 1), "/");
  const AclList readable{{kPermRead, {"world", "anyone"}}};
  Txn txn;
  txn.header.zxid = Zxid{2};
  txn.header.type = OpCode::kCreate;
  txn.body = CreateTxn{"/made", "", readable, false, 1, 0};
  EXPECT_EQ(tree->apply(txn, nullptr).error, Error::kNodeExists);
  EXPECT_EQ(tree->acl_of(*tree->find("/made")), readable);
  EXPECT_EQ(tree->path_without_acl(), "/set");
  txn.header.zxid = Zxid{3};
  txn.header.type = OpCode::kSetAcl;
  txn.body = SetAclTxn{"/set", readable, 1};
  tree->apply(txn, nullptr);
  EXPECT_EQ(tree->path_without_acl(), "");
  EXPECT_EQ(tree->acl_of(*tree->find("/set")), readable);
}

TEST_F(SnapshotTest, TimesAreInBlocksThatCanBeLeftOut) {
  for (int i = 0; i < 10'050; ++i) {
    std::string top = "/n" + std::to_string(i);
    create(top);
    create(top + "/child");
  }
  std::unique_ptr<SnapshotCursor> cursor = tree_.begin_snapshot();
  std::string whole, tree_alone, piece;
  int blocks = 0;
  for (; cursor->next(piece, 100'000); piece.clear()) {
    whole += piece;
    if (!is_times_block(piece)) tree_alone += piece;
    blocks += is_times_block(piece);
  }
  EXPECT_EQ(blocks, 2);
  EXPECT_EQ(times_in(*load(whole, cursor->zxid(), 300'000)), times_in(tree_));
  std::unique_ptr<Tree> without = load(tree_alone, cursor->zxid(), 300'000);
  EXPECT_EQ(without->digest(), tree_.digest());
  EXPECT_EQ(without->find("/n1")->times, ChangeTimes());
  EXPECT_EQ(load(whole + "x", cursor->zxid(), 300'000), nullptr);
  EXPECT_EQ(load(whole.substr(0, whole.size() - 1), cursor->zxid(), 300'000), nullptr);
}

TEST_F(SnapshotTest, IsExactWhileTheTreeChanges) {
  populate();
  int64_t digest = tree_.digest();
  size_t nodes = tree_.node_count();
  std::map<std::string, ChangeTimes> times = times_in(tree_);
  std::unique_ptr<SnapshotCursor> cursor = tree_.begin_snapshot();
  std::string bytes;
  for (int i = 0; cursor->next(bytes, 400); ++i) {
    std::string top = "/n" + std::to_string(i * 7 % 300);
    if (tree_.find(top + "/child") != nullptr) remove(top + "/child");
    set("/n" + std::to_string(i * 11 % 300), "changed");
    create("/new" + std::to_string(i));
    if (i % 3 == 0 && tree_.find(top) != nullptr) remove(top);
    create("/n" + std::to_string((i + 1) % 300) + "/late" + std::to_string(i));
  }
  std::unique_ptr<Tree> copy = load(bytes, cursor->zxid(), 4'096);
  ASSERT_NE(copy, nullptr);
  EXPECT_EQ(copy->digest(), digest);
  EXPECT_EQ(copy->node_count(), nodes);
  EXPECT_NE(tree_.digest(), digest);
  EXPECT_EQ(times_in(*copy), times);
  cursor.reset();
  create("/after");  // freed slots are used again
  EXPECT_NE(tree_.find("/after"), nullptr);
}

TEST_F(SnapshotTest, HoldsTheAclsThatZnodesHaveAndNoOthers) {
  auto acl_of_round = [](int round) -> AclList {
    return {{kPermAll, {"digest", "user" + std::to_string(round) + ":" + std::string(100, 'x')}}};
  };
  for (const char* path : {"/a", "/b", "/gone"}) create(path);
  auto whole = [this] {
    std::unique_ptr<SnapshotCursor> cursor = tree_.begin_snapshot();
    std::string bytes;
    while (cursor->next(bytes, 1 << 20)) {
    }
    return bytes;
  };
  size_t before = whole().size();
  for (int round = 0; round < 2'000; ++round) {
    for (const char* path : {"/a", "/gone"}) {
      run(OpCode::kSetAcl, set_acl_body(path, acl_of_round(round), -1));
    }
  }
  remove("/gone");
  EXPECT_LT(whole().size(), before + 500);
  // Numbers that are used again meanwhile mean what they meant when the snapshot began.
  run(OpCode::kSetAcl, set_acl_body("/b", acl_of_round(-1), -1));
  std::unique_ptr<SnapshotCursor> cursor = tree_.begin_snapshot();
  for (int round = 3'000; round < 3'010; ++round) {
    for (const char* path : {"/a", "/b"}) {
      run(OpCode::kSetAcl, set_acl_body(path, acl_of_round(round), -1));
    }
    create("/late" + std::to_string(round));
  }
  std::string bytes;
  while (cursor->next(bytes, 50)) {
  }
  std::unique_ptr<Tree> copy = load(bytes, cursor->zxid(), 1'000);
  ASSERT_NE(copy, nullptr);
  EXPECT_EQ(copy->acl_of(*copy->find("/a")), acl_of_round(1'999));
  EXPECT_EQ(copy->acl_of(*copy->find("/b")), acl_of_round(-1));
  EXPECT_EQ(tree_.acl_of(*tree_.find("/b")), acl_of_round(3'009));
  EXPECT_EQ(copy->find("/late3000"), nullptr);
}

TEST_F(SnapshotTest, DamagedBytesAreRefused) {
  populate();
  std::unique_ptr<SnapshotCursor> cursor = tree_.begin_snapshot();
  std::string bytes;
  while (cursor->next(bytes, 1 << 20)) {
  }
  EXPECT_EQ(load(bytes.substr(0, bytes.size() - 5), cursor->zxid(), 1'000), nullptr);
  for (size_t at = 0; at < bytes.size(); at += 101) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x55);
    load(damaged, cursor->zxid(), 1'000);  // must not crash
  }
}

}  // namespace
}  // namespace zabfs::tree
