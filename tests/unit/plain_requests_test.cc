#include "tree/plain_requests.h"

#include <map>
#include <random>

#include "tree/identities.h"
#include "tree/path.h"
#include "unit/tree_fixture.h"

namespace zabfs::tree {
namespace {

constexpr SessionId kSession{5};

// One ensemble. Its node has requests of zabfs's own.
class Side : public TreeFixture {
 public:
  Side() { open_session(kSession.value); }
  void TestBody() override {}
  virtual Error ask(OpCode type, const std::string& body) {
    return run(type, body, kSession).error;
  }
  Error plain(OpCode type, const std::string& body) { return run(type, body, kSession).error; }
  const Tree& tree() const { return tree_; }
  Zxid czxid(std::string_view path) {
    const ZNode* node = tree_.find(path);
    return node == nullptr ? Zxid{1} : node->stat.czxid;
  }
  int32_t version(std::string_view path) {
    const ZNode* node = tree_.find(path);
    return node == nullptr ? 0 : node->stat.version;
  }
  PlainRequests made_plain(OpCode type, const std::string& body) {
    return plain_requests(tree_, with_ttl(), superuser_request(kSession, 0, type, body));
  }
};

// Its leader does not know them.
class JavaSide : public Side {
 public:
  Error ask(OpCode type, const std::string& body) override {
    PlainRequests made = made_plain(type, body);
    for (MultiOp& request : made.requests) {
      EXPECT_FALSE(has_plain_form(request.type));
      Error error = plain(request.type, request.body);
      EXPECT_EQ(error, Error::kOk);
    }
    Error rest = made.then ? ask(OpCode::kExtSetPosix, encode(*made.then)) : Error::kOk;
    EXPECT_EQ(rest, Error::kOk);
    return made.error;
  }
};

// What a mount shows of a znode, but for what comes of its zxids and versions.
std::string shown(const ZNode& node, const AclList& acl) {
  std::string text(node.data.is_null() ? "(null)" : node.data.view());
  text += " owner " + std::to_string(static_cast<int>(owner_kind(node.stat.owner)));
  if (owner_kind(node.stat.owner) == OwnerKind::kTtl) {
    text += " ttl " + std::to_string(owner_ttl_ms(node.stat.owner));
  }
  std::optional<PosixEntry> posix = find_posix(acl);
  if (!posix) return text;
  text += " kind " + std::to_string(static_cast<int>(posix->kind)) + " mode " +
          std::to_string(posix->mode) + " of " + std::to_string(posix->uid) + ":" +
          std::to_string(posix->gid);
  return text;
}

void list(const Tree& tree, const std::string& path, std::map<std::string, std::string>& out) {
  const ZNode* node = tree.find(path);
  out[path] = shown(*node, tree.acl_of(*node));
  std::vector<std::string> names;
  tree.for_each_child(*node, [&](const ZNode& child) { names.emplace_back(child.name.view()); });
  for (const std::string& name : names) list(tree, join_path(path, name), out);
}

std::map<std::string, std::string> all(const Tree& tree) {
  std::map<std::string, std::string> out;
  list(tree, "/", out);
  return out;
}

class Pair {
 public:
  explicit Pair(uint32_t seed) : random_(seed) {}

  void step() {
    switch (pick(9)) {
      case 0:
      case 1:
        return create();
      case 2:
      case 3:
        return write();
      case 4:
        return both(OpCode::kExtAppend, [&, path = path(), text = text()](Side& side) {
          return encode(ExtAppend{path, side.czxid(path), text});
        });
      case 5:
      case 6:
        return rename();
      case 7:
        return both(OpCode::kExtRemove, [&, path = path(), is_dir = pick(2) == 0](Side& side) {
          return encode(ExtRemove{path, side.czxid(path), is_dir});
        });
      default:
        return both(OpCode::kExtSetPosix, [&, path = path(), change = change()](Side& side) {
          return encode(ExtSetPosix{path, side.czxid(path), change});
        });
    }
  }
  void expect_equal() { EXPECT_EQ(all(zabfs_.tree()), all(java_.tree())); }
  size_t succeeded() const { return succeeded_; }

 private:
  uint32_t pick(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  std::string name() { return std::string("/") + "abc@"[pick(4)]; }
  std::string path() {
    return pick(3) == 0 ? name() : pick(2) == 0 ? name() + name() : name() + name() + name();
  }
  std::string text() { return std::string(pick(6), static_cast<char>('a' + pick(26))); }
  PosixEntry posix() {
    return {pick(2) == 0 ? Kind::kFile : Kind::kDirectory, pick(01000), pick(3), pick(3), {}, 0, 0};
  }
  PosixChange change() {
    PosixChange change;
    change.base = posix();
    if (pick(2) == 0) change.mode = pick(01000);
    if (pick(2) == 0) change.uid = pick(5);
    if (pick(2) == 0) change.gid = pick(5);
    if (pick(2) == 0) change.mtime = Time{pick(1'000), 5};
    return change;
  }
  void create() {
    AclList acl = pick(3) == 0 ? open_acl() : with_posix({}, posix());
    std::optional<std::string> data = text();
    if (pick(4) == 0) data.reset();
    uint32_t kind = pick(8);
    if (kind == 0) {
      std::string body = create_ttl_body(path(), data, acl, kCreateTtlFlag, 1 + pick(1'000));
      return plain(OpCode::kCreateTtl, body);
    }
    if (kind == 1) {
      return plain(OpCode::kCreateContainer, create_body(path(), data, acl, kCreateContainerFlag));
    }
    plain(OpCode::kCreate2,
          create_body(path(), data, acl, kind == 2 ? kCreateEphemeral : kCreatePersistent));
  }
  void plain(OpCode type, const std::string& body) {
    EXPECT_EQ(zabfs_.plain(type, body), java_.plain(type, body));
  }
  void write() {
    std::string path = this->path(), text = this->text();
    std::optional<PosixChange> posix;
    if (pick(2) == 0) posix = change();
    int32_t behind = pick(4) == 0 ? 1 : 0;
    bool any = pick(3) == 0;
    both(OpCode::kExtWrite, [&](Side& side) {
      ExtWrite write{path, side.czxid(path), side.version(path) - behind, text, posix};
      if (any) write.version = kAnyVersion;
      return encode(write);
    });
  }
  void rename() {
    std::string from = path(), to = path();
    bool exchange = pick(4) == 0, must_be_absent = pick(4) == 0;
    both(OpCode::kExtRename, [&](Side& side) {
      Zxid there = must_be_absent ? kAbsent : kAnyCzxid;
      return encode(ExtRename{from, to, side.czxid(from), there, exchange});
    });
  }
  template <class Body>
  void both(OpCode type, const Body& body) {
    Error error = zabfs_.ask(type, body(zabfs_));
    EXPECT_EQ(error, java_.ask(type, body(java_)));
    if (error == Error::kOk) ++succeeded_;
  }

  std::mt19937 random_;
  Side zabfs_;
  JavaSide java_;
  size_t succeeded_ = 0;
};

TEST(PlainRequests, DoWhatZabfsOwnDo) {
  size_t succeeded = 0;
  for (uint32_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Pair pair(seed);
    for (int i = 0; i < 150; ++i) pair.step();
    pair.expect_equal();
    succeeded += pair.succeeded();
  }
  EXPECT_GT(succeeded, 4'000u);
}

class PlainRequestsTest : public testing::Test {
 protected:
  void make_file(std::string_view path, std::string_view text, uint32_t mode) {
    AclList acl = with_posix({}, PosixEntry{Kind::kFile, mode, 1, 2, {}, 0, 0});
    node_.plain(OpCode::kCreate, create_body(path, text, acl, 0));
  }
  Error send(const PlainRequests& made) {
    Error error = made.error;
    for (const MultiOp& request : made.requests) {
      if (error == Error::kOk) error = node_.plain(request.type, request.body);
    }
    return error;
  }
  std::string data(std::string_view path) {
    const ZNode* node = node_.tree().find(path);
    return node == nullptr ? "(none)" : std::string(node->data.view());
  }
  PlainRequests rename_over() {
    return node_.made_plain(OpCode::kExtRename,
                            encode(ExtRename{"/from", "/to", kAnyCzxid, kAnyCzxid, false}));
  }

  Side node_;
};

TEST_F(PlainRequestsTest, AnAppendThatSomebodyOvertakesIsPreparedAnew) {
  make_file("/f", "1", 0644);
  std::string append = encode(ExtAppend{"/f", kAnyCzxid, "3"});
  PlainRequests made = node_.made_plain(OpCode::kExtAppend, append);
  node_.plain(OpCode::kSetData, set_data_body("/f", "12", kAnyVersion));
  EXPECT_TRUE(is_conflict(send(made)));
  EXPECT_EQ(data("/f"), "12");
  EXPECT_EQ(send(node_.made_plain(OpCode::kExtAppend, append)), Error::kOk);
  EXPECT_EQ(data("/f"), "123");
}

TEST_F(PlainRequestsTest, ARenameOverAFileIsOneStep) {
  make_file("/from", "secret", 0600);
  make_file("/to", "public", 0644);
  PlainRequests made = rename_over();
  ASSERT_EQ(made.requests.size(), 1u);
  EXPECT_EQ(send(made), Error::kOk);
  EXPECT_EQ(data("/from"), "(none)");
  EXPECT_EQ(data("/to"), "secret");
  EXPECT_EQ(find_posix(node_.tree().acl_of(*node_.tree().find("/to")))->mode, 0600u);
}

TEST_F(PlainRequestsTest, ARenameThatSomebodyOvertakesChangesNothing) {
  auto overtaken = [this](OpCode type, const std::string& body) {
    make_file("/from", "a", 0600);
    make_file("/to", "b", 0644);
    PlainRequests made = rename_over();
    EXPECT_EQ(node_.plain(type, body), Error::kOk);
    std::map<std::string, std::string> before = all(node_.tree());
    EXPECT_TRUE(is_conflict(send(made)));
    EXPECT_EQ(all(node_.tree()), before);
    node_.plain(OpCode::kDelete, delete_body("/to/x", -1));
    node_.plain(OpCode::kDelete, delete_body("/from", -1));
    node_.plain(OpCode::kDelete, delete_body("/to", -1));
  };
  overtaken(OpCode::kSetData, set_data_body("/from", "a", -1));
  overtaken(OpCode::kSetData, set_data_body("/to", "b", -1));
  overtaken(OpCode::kDelete, delete_body("/from", -1));
  overtaken(OpCode::kDelete, delete_body("/to", -1));
  overtaken(OpCode::kCreate, create_body("/to/x", "", open_acl(), 0));
}

TEST_F(PlainRequestsTest, AWriteOfARemovedFileIsStaleHere) {
  make_file("/f", "1", 0644);
  ExtWrite write{"/f", node_.czxid("/f"), 0, "2", {}};
  node_.plain(OpCode::kDelete, delete_body("/f", -1));
  EXPECT_EQ(node_.made_plain(OpCode::kExtWrite, encode(write)).error, Error::kNoNode);
  make_file("/f", "other", 0644);
  EXPECT_EQ(node_.made_plain(OpCode::kExtWrite, encode(write)).error, Error::kStale);
}

TEST_F(PlainRequestsTest, DataComesBeforeItsModeAndItsTime) {
  make_file("/f", "", 0600);
  PosixChange change;
  change.mode = 0644;
  change.mtime = Time{7, 8};
  PlainRequests made = node_.made_plain(
      OpCode::kExtWrite, encode(ExtWrite{"/f", kAnyCzxid, kAnyVersion, "text", change}));
  ASSERT_EQ(made.requests.size(), 1u);
  EXPECT_EQ(made.requests[0].type, OpCode::kSetData);
  EXPECT_EQ(send(made), Error::kOk);
  ASSERT_TRUE(made.then);
  PlainRequests then = node_.made_plain(OpCode::kExtSetPosix, encode(*made.then));
  EXPECT_EQ(send(then), Error::kOk);
  const ZNode* node = node_.tree().find("/f");
  std::optional<PosixEntry> posix = find_posix(node_.tree().acl_of(*node));
  EXPECT_EQ(posix->mode, 0644u);
  EXPECT_EQ(posix->mtime, (Time{7, 8}));
  EXPECT_EQ(posix->mtime_version, node->stat.version);
}

TEST_F(PlainRequestsTest, NothingIsLargerThanARequestMayBe) {
  PrepareOptions options;
  options.limits = Limits(4'000);
  make_file("/d", "", 0644);
  for (int i = 0; i < 3; ++i) make_file("/d/" + std::to_string(i), std::string(1'200, 'x'), 0644);
  std::string body = encode(ExtRename{"/d", "/e", kAnyCzxid, kAnyCzxid, false});
  Request request = superuser_request(kSession, 0, OpCode::kExtRename, body);
  EXPECT_EQ(plain_requests(node_.tree(), options, request).error, Error::kTooLarge);
}

// FORMATS.md 7.2.
TEST(RefusedForJava, WhatStopsAServerOfApacheZooKeeper) {
  Request request;
  request.type = OpCode::kCheck;
  request.body = check_body("/", -1);
  EXPECT_EQ(refused_for_java(request), Error::kUnimplemented);
  request.type = OpCode::kCreateTtl;
  for (int32_t flags : {0, 1, 2, 3, 4}) {
    request.body = create_ttl_body("/a", "x", open_acl(), flags, -1);
    EXPECT_EQ(refused_for_java(request), Error::kBadArguments) << flags;
  }
  for (int32_t flags : {kCreateTtlFlag, kCreateTtlSequentialFlag}) {
    request.body = create_ttl_body("/a", "x", open_acl(), flags, 1'000);
    EXPECT_EQ(refused_for_java(request), Error::kOk) << flags;
  }
  request.body.resize(3);
  EXPECT_EQ(refused_for_java(request), Error::kOk);  // it answers what it can't read
  request.type = OpCode::kMulti;
  request.body = multi_body({{OpCode::kCheck, check_body("/", -1)}});
  EXPECT_EQ(refused_for_java(request), Error::kOk);
}

}  // namespace
}  // namespace zabfs::tree
