#include "tree/java_snapshot.h"

#include <snappy.h>
#include <zlib.h>

#include "tree/java_replay.h"
#include "tree/java_snapshot_stream.h"
#include "tree/java_unpack.h"
#include "tree/posix.h"
#include "tree/snapshot_parts.h"
#include "unit/java_files.h"
#include "unit/tree_fixture.h"

namespace zabfs::tree {
namespace {

std::string gzip(std::string_view bytes) {
  z_stream stream = {};
  EXPECT_EQ(::deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(::deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(packed.size() - stream.avail_out);
  ::deflateEnd(&stream);
  return packed;
}

std::string snappy_java(std::string_view bytes, size_t block_bytes = 1'000) {
  std::string packed("\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
  for (; !bytes.empty(); bytes.remove_prefix(std::min(block_bytes, bytes.size()))) {
    std::string block;
    std::string_view piece = bytes.substr(0, block_bytes);
    snappy::Compress(piece.data(), piece.size(), &block);
    jute::Writer(packed).string(block);
  }
  return packed;
}

StatusOr<std::string> unpack(JavaPacking packing, std::string_view bytes, size_t piece = 7) {
  std::unique_ptr<JavaUnpacker> unpacker = make_unpacker(packing);
  std::string all;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    Status status = unpacker->feed(bytes.substr(0, piece), [&all](std::string_view unpacked) {
      EXPECT_LE(unpacked.size(), kUnpackedPieceBytes);
      all += unpacked;
      return Status();
    });
    if (!status.ok()) return status;
  }
  Status status = unpacker->finish();
  if (!status.ok()) return status;
  return all;
}

class JavaSnapshotTest : public TreeFixture {
 protected:
  void populate() {
    SessionId session = open_session(3);
    for (int i = 0; i < 50; ++i) {
      std::string top = "/n" + std::to_string(i);
      create(top, "data" + std::to_string(i));
      create(top + "/child", "x");
    }
    create("/eph", "", kCreateEphemeral, session);
    run(OpCode::kCreateContainer, create_body("/container", "", open_acl(), 4));
    run(OpCode::kCreateTtl, create_ttl_body("/ttl", "x", open_acl(), 5, 1'000));
    run(OpCode::kSetAcl, set_acl_body("/n5", {{kPermRead, {"world", "anyone"}}}, -1));
    run(OpCode::kSetAcl, set_acl_body("/n6", {{kPermAll, {"digest", "u:secret"}}}, -1));
  }
  // Prepares and applies a request; its txns' bytes.
  std::vector<std::string> txns_of(OpCode type, std::string body, SessionId session = {}) {
    prepare(type, std::move(body), session);
    std::vector<std::string> all;
    for (const PreparedTxn& txn : prepared_) all.push_back(txn.bytes);
    apply_all();
    return all;
  }
  static void expect_same(const Tree& a, const Tree& b) {
    EXPECT_EQ(a.digest(), b.digest());
    EXPECT_EQ(a.last_zxid(), b.last_zxid());
    EXPECT_EQ(a.node_count(), b.node_count());
    EXPECT_EQ(a.sessions().size(), b.sessions().size());
    std::vector<const ZNode*> left{&a.root()};
    while (!left.empty()) {
      const ZNode* node = left.back();
      left.pop_back();
      const ZNode* other = b.find(a.path_of(*node));
      ASSERT_NE(other, nullptr) << a.path_of(*node);
      EXPECT_EQ(other->data.view(), node->data.view());
      EXPECT_EQ(other->data.is_null(), node->data.is_null());
      EXPECT_EQ(a.acl_of(*node), b.acl_of(*other)) << a.path_of(*node);
      a.for_each_child(*node, [&left](const ZNode& child) { left.push_back(&child); });
    }
  }
};

TEST_F(JavaSnapshotTest, ComesBackTheSame) {
  populate();
  for (size_t piece : {13u, 1'000u, 1'000'000u}) {
    StatusOr<JavaSnapshot> read =
        read_java_snapshot(java_snapshot_of(tree_, piece), tree_.last_zxid(), piece);
    ASSERT_TRUE(read.ok()) << read.why();
    EXPECT_EQ(read->digest_zxid, tree_.last_zxid());
    EXPECT_EQ(read->digest, tree_.digest());
    expect_same(tree_, *read->tree);
    EXPECT_EQ(read->tree->ephemerals_of(SessionId{3}), std::vector<std::string>{"/eph"});
    EXPECT_EQ(read->tree->containers().size(), 1u);
    EXPECT_EQ(read->tree->ttl_nodes().size(), 1u);
  }
}

TEST_F(JavaSnapshotTest, IsMadeOfOneOfZabfsAsItStreams) {
  populate();
  std::unique_ptr<SnapshotCursor> cursor = tree_.begin_snapshot();
  JavaSnapshotStream stream(cursor->zxid());
  std::string bytes;
  for (std::string piece; cursor->next(piece, 100); piece.clear()) stream.add(piece, bytes);
  stream.finish(bytes);
  StatusOr<JavaSnapshot> read = read_java_snapshot(bytes, cursor->zxid());
  ASSERT_TRUE(read.ok()) << read.why();
  expect_same(tree_, *read->tree);
  EXPECT_FALSE(read->digest.has_value());
}

TEST_F(JavaSnapshotTest, ADamagedFileIsFoundWhereverItIs) {
  create("/a", "data");
  std::string bytes = java_snapshot_of(tree_);
  size_t may_end = bytes.size() - 33;  // without a digest, as before 3.6
  for (size_t size = may_end % 3; size < bytes.size(); size += 3) {
    EXPECT_EQ(read_java_snapshot(bytes.substr(0, size), tree_.last_zxid()).ok(), size == may_end);
  }
  for (size_t at = 0; at < bytes.size(); at += 3) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    EXPECT_FALSE(read_java_snapshot(damaged, tree_.last_zxid()).ok()) << at;
  }
  EXPECT_FALSE(read_java_snapshot(bytes + std::string(1'000, 'x'), tree_.last_zxid()).ok());
}

TEST_F(JavaSnapshotTest, AZxidBehindTheDigestIsTakenAsOf39) {
  create("/a", "data");
  std::string bytes = java_snapshot_of(tree_);
  auto with_zxid = [](std::string file) {
    jute::Writer(file).i64(77);
    uint32_t sum = ::libdeflate_adler32(1, file.data(), file.size());
    jute::Writer(file).i64(int64_t{sum});
    jute::Writer(file).string("/");
    return file;
  };
  for (const std::string& file : {bytes, bytes.substr(0, bytes.size() - 33)}) {
    StatusOr<JavaSnapshot> read = read_java_snapshot(with_zxid(file), tree_.last_zxid());
    ASSERT_TRUE(read.ok()) << read.why();
    EXPECT_EQ(read->digest.has_value(), file.size() == bytes.size());
    EXPECT_EQ(read->tree->last_zxid(), tree_.last_zxid());
  }
}

TEST_F(JavaSnapshotTest, PosixEntriesStayBehindAndGrantNothing) {
  create("/file");
  create("/locked");
  PosixEntry posix;
  posix.mode = 0600;
  run(OpCode::kSetAcl, set_acl_body("/locked", with_posix({}, posix), -1));
  run(OpCode::kSetAcl,
      set_acl_body("/file", with_posix({{kPermRead, {"digest", "u:x"}}}, posix), -1));
  JavaSnapshotWriter writer(tree_);
  EXPECT_EQ(writer.left_out().posix_entries, 2u);
  StatusOr<JavaSnapshot> read = read_java_snapshot(java_snapshot_of(tree_), tree_.last_zxid());
  ASSERT_TRUE(read.ok());
  const Tree& tree = *read->tree;
  EXPECT_EQ(tree.acl_of(*tree.find("/locked")), (AclList{{0, {"world", "anyone"}}}));
  EXPECT_EQ(tree.acl_of(*tree.find("/file")), (AclList{{kPermRead, {"digest", "u:x"}}}));
  EXPECT_EQ(tree.digest(), tree_.digest());
}

TEST_F(JavaSnapshotTest, IsUnpacked) {
  populate();
  std::string bytes = java_snapshot_of(tree_);
  EXPECT_EQ(packing_of("snapshot.10a"), JavaPacking::kPlain);
  EXPECT_EQ(packing_of("snapshot.10a.gz"), JavaPacking::kGzip);
  EXPECT_EQ(packing_of("snapshot.10a.snappy"), JavaPacking::kSnappy);
  for (size_t piece : {1u, 7u, 100'000u}) {
    EXPECT_EQ(*unpack(JavaPacking::kPlain, bytes, piece), bytes);
    EXPECT_EQ(*unpack(JavaPacking::kGzip, gzip(bytes), piece), bytes);
    EXPECT_EQ(*unpack(JavaPacking::kSnappy, snappy_java(bytes), piece), bytes);
  }
}

TEST_F(JavaSnapshotTest, WhatIsNotPackedOrCutOffIsRefused) {
  std::string bytes(10'000, 'x');
  std::string zipped = gzip(bytes), snapped = snappy_java(bytes);
  EXPECT_FALSE(unpack(JavaPacking::kGzip, bytes).ok());
  EXPECT_FALSE(unpack(JavaPacking::kSnappy, bytes).ok());
  EXPECT_FALSE(unpack(JavaPacking::kGzip, zipped.substr(0, zipped.size() - 1)).ok());
  EXPECT_FALSE(unpack(JavaPacking::kSnappy, snapped.substr(0, snapped.size() - 1)).ok());
  for (const char* length : {"\x7f\xff\xff\xff", "\xff\xff\xff\xff", "\0\0\0\0"}) {
    std::string hostile = snapped.substr(0, 16) + std::string(length, 4) + bytes;
    EXPECT_FALSE(unpack(JavaPacking::kSnappy, hostile).ok());
  }
}

TEST_F(JavaSnapshotTest, ALittleFileThatStandsForMuchComesInPieces) {
  size_t unpacked = 0;
  std::string zipped = gzip(std::string(size_t{100} << 20, '\0'));
  Status status =
      make_unpacker(JavaPacking::kGzip)->feed(zipped, [&unpacked](std::string_view piece) {
        EXPECT_LE(piece.size(), kUnpackedPieceBytes);
        unpacked += piece.size();
        return unpacked > 10'000'000 ? Status::failed("enough") : Status();
      });
  EXPECT_EQ(status.why(), "enough");
  EXPECT_LT(unpacked, size_t{12'000'000});
}

// ---- with a log

TEST_F(JavaSnapshotTest, TheLogGoesOnFromIt) {
  populate();
  JavaSnapshot snapshot = std::move(*read_java_snapshot(java_snapshot_of(tree_), zxid_));
  JavaReplay replay(std::move(snapshot));
  for (const auto& [type, body] : std::vector<std::pair<OpCode, std::string>>{
           {OpCode::kCreate, create_body("/later", "x", open_acl(), 0)},
           {OpCode::kSetData, set_data_body("/n1", "y", -1)},
           {OpCode::kDelete, delete_body("/n2/child", -1)},
           {OpCode::kDelete, delete_body("/not-there", -1)}}) {
    for (const std::string& txn : txns_of(type, body)) ASSERT_TRUE(replay.apply(txn).ok());
  }
  ASSERT_TRUE(replay.finish().ok());
  EXPECT_EQ(replay.applied(), 4u);
  EXPECT_GE(replay.compared(), 4u);
  EXPECT_EQ(replay.differs_since(), std::nullopt);
  EXPECT_TRUE(replay.gaps().empty());
  std::unique_ptr<Tree> tree = replay.take_tree();
  expect_same(tree_, *tree);
  EXPECT_EQ(tree->sessions().at(SessionId{3}).attachment, kNoAttachment);
}

// A snapshot that was begun at one zxid and holds what came later.
TEST_F(JavaSnapshotTest, WhatWasWrittenMeanwhileComesOutRight) {
  populate();
  Zxid begun = zxid_;
  std::vector<std::string> log;
  auto go_on = [&](OpCode type, std::string body, SessionId session = {}) {
    for (std::string& txn : txns_of(type, std::move(body), session)) log.push_back(txn);
  };
  go_on(OpCode::kCreate, create_body("/later", "x", open_acl(), 0));
  go_on(OpCode::kCreate, create_body("/later/s-", "x", open_acl(), 2));
  go_on(OpCode::kDelete, delete_body("/n3/child", -1));
  go_on(OpCode::kSetData, set_data_body("/n1", "y", -1));
  go_on(OpCode::kSetAcl, set_acl_body("/n4", {{kPermRead, {"world", "anyone"}}}, -1));
  go_on(OpCode::kCloseSession, "", SessionId{3});
  std::string fuzzy = java_snapshot_of(tree_);
  go_on(OpCode::kCreate, create_body("/after", "x", open_acl(), 0));
  StatusOr<JavaSnapshot> read = read_java_snapshot(fuzzy, begun);
  ASSERT_TRUE(read.ok());
  EXPECT_GT(read->digest_zxid, begun);
  JavaReplay replay(std::move(*read));
  for (const std::string& txn : log) ASSERT_TRUE(replay.apply(txn).ok());
  ASSERT_TRUE(replay.finish().ok());
  EXPECT_EQ(replay.differs_since(), std::nullopt);
  expect_same(tree_, *replay.take_tree());
}

// Its ACLs were written before the first use of one that a znode in it has.
TEST_F(JavaSnapshotTest, AnAclThatItLacksComesFromTheLog) {
  create("/a");
  Zxid begun = zxid_;
  AclList acl{{kPermAll, {"digest", "u:secret"}}};
  std::vector<std::string> log = txns_of(OpCode::kCreate, create_body("/b", "x", acl, 0));
  std::string bytes = java_snapshot_of(tree_);
  // The ACLs are a count of two and both lists, behind the header and the count of sessions; the
  // one of /zookeeper/config is left.
  std::string lists;
  jute::Writer out(lists);
  out.i32(2);
  size_t at = bytes.find(lists, 20);
  ASSERT_EQ(at, size_t{20});
  for (int64_t kept : {1, 2}) {
    std::string known;
    jute::Writer known_out(known);
    known_out.i64(kept);
    size_t list = bytes.find(known, 24);
    std::string rest = bytes.substr(list + 8);
    jute::Reader in(rest);
    AclList found = read_acl(in);
    if (found != acl) continue;
    bytes.erase(list, 8 + rest.size() - in.rest().size());
    bytes[23] = 1;
  }
  size_t body = bytes.size() - 46;
  uint32_t sum = ::libdeflate_adler32(1, bytes.data(), body);
  bytes.resize(body);
  jute::Writer seal(bytes);
  seal.i64(int64_t{sum});
  seal.string("/");
  auto read = [&] { return read_java_snapshot(bytes, begun); };
  ASSERT_TRUE(read().ok()) << read().why();
  EXPECT_EQ(read()->tree->path_without_acl(), "/b");
  JavaReplay replay(std::move(*read()));
  for (const std::string& txn : log) ASSERT_TRUE(replay.apply(txn).ok());
  ASSERT_TRUE(replay.finish().ok());
  expect_same(tree_, *replay.take_tree());

  JavaReplay without_log(std::move(*read()));
  EXPECT_EQ(without_log.finish().why(), "neither the snapshot nor the log has the ACL of /b");
}

TEST_F(JavaSnapshotTest, ADifferenceFromTheServersTreeIsNoticed) {
  populate();
  JavaSnapshot snapshot = std::move(*read_java_snapshot(java_snapshot_of(tree_), zxid_));
  create("/lost");
  std::vector<std::string> log = txns_of(OpCode::kSetData, set_data_body("/n1", "y", -1));
  JavaReplay replay(std::move(snapshot));
  for (const std::string& txn : log) ASSERT_TRUE(replay.apply(txn).ok());
  ASSERT_TRUE(replay.finish().ok());
  EXPECT_EQ(replay.differs_since(), zxid_);
  ASSERT_EQ(replay.gaps().size(), 1u);
  EXPECT_EQ(replay.gaps()[0].after, zxid_);
}

TEST_F(JavaSnapshotTest, EphemeralsOfLostSessionsGoAtTheStart) {
  populate();
  JavaSnapshot snapshot = std::move(*read_java_snapshot(java_snapshot_of(tree_), zxid_));
  Txn create;
  create.header = {SessionId{99}, 1, zxid_.next(), 5, OpCode::kCreate};
  create.body = CreateTxn{"/n1/eph", "x", open_acl(), true, -1, 0};
  std::string bytes;
  encode_txn(create, bytes);
  JavaReplay replay(std::move(snapshot));
  ASSERT_TRUE(replay.apply(bytes).ok());
  ASSERT_TRUE(replay.finish().ok());
  EXPECT_EQ(replay.removed_ephemerals(), 1u);
  std::unique_ptr<Tree> tree = replay.take_tree();
  EXPECT_EQ(tree->find("/n1/eph"), nullptr);
  EXPECT_NE(tree->find("/eph"), nullptr);
  EXPECT_EQ(tree->last_zxid(), zxid_.next());
}

TEST_F(JavaSnapshotTest, UnknownTransactionsAreNamed) {
  JavaReplay replay(std::move(*read_java_snapshot(java_snapshot_of(tree_), Zxid{7})));
  Txn txn;
  txn.header = {SessionId{1}, 1, Zxid{8}, 5, OpCode::kError};
  txn.body = ErrorTxn{};
  std::string bytes;
  encode_txn(txn, bytes);
  bytes[31] = 99;
  EXPECT_NE(replay.apply(bytes).why().find("0x8 is of type -157"), std::string::npos)
      << replay.apply(bytes).why();
  EXPECT_FALSE(replay.apply("short").ok());
}

}  // namespace
}  // namespace zabfs::tree
