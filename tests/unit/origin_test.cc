#include "tree/origin.h"

#include "unit/tree_fixture.h"

namespace zabfs::tree {
namespace {

constexpr uint8_t kNode = 2;
const SessionId kMadeHere{int64_t{kNode} << 56 | 7};  // made by that node

Request request_of(Identities identities, LocalUser user = {}, uint8_t node = kNode) {
  Request request;
  request.session = kMadeHere;
  request.identities = std::move(identities);
  request.user = std::move(user);
  request.node = node;
  return request;
}

std::string written(const Request& request) {
  std::string bytes;
  write_origin(request, bytes);
  return bytes;
}

Origin read_back(const Request& request) { return read_origin(written(request)); }

bool is_empty(const Origin& origin) {
  return !origin.node && !origin.uid && origin.program.empty() && origin.address.empty() &&
         origin.users.empty();
}

TEST(Origin, TellsTheUserAndTheProgramOfAMount) {
  Origin origin = read_back(request_of(superuser(), {1000, "vim"}));
  EXPECT_EQ(origin.uid, 1000U);
  EXPECT_EQ(origin.program, "vim");
  EXPECT_TRUE(origin.address.empty());
  EXPECT_TRUE(origin.users.empty());
}

TEST(Origin, RootIsAUserToo) { EXPECT_EQ(read_back(request_of({}, {0})).uid, 0U); }

TEST(Origin, TellsAClientsAddressAndWhatItHasProven) {
  Origin origin = read_back(request_of(
      {{"ip", "10.0.0.7"}, {"digest", "bob:3nB1="}, {"sasl", "carol"}, {"x509", "CN=dave,O=x"}}));
  EXPECT_EQ(origin.address, "10.0.0.7");
  EXPECT_EQ(origin.users,
            (std::vector<std::string>{"digest:bob", "sasl:carol", "x509:CN=dave;O=x"}));
}

TEST(Origin, KeepsNoSecretOfADigest) {
  std::string bytes = written(request_of({{"digest", "bob:3nB1="}}));
  EXPECT_NE(bytes.find("bob"), std::string::npos);
  EXPECT_EQ(bytes.find("3nB1"), std::string::npos);
}

TEST(Origin, KeepsNothingOfSchemesThatMayHaveSecrets) {
  EXPECT_TRUE(written(request_of({{"token", "secret"}, {"super", ""}})).empty());
}

TEST(Origin, TellsTheUserBehindAUnixSocket) {
  EXPECT_EQ(read_back(request_of({{std::string(kUidScheme), "1000"}})).uid, 1000U);
}

TEST(Origin, NamesTheNodeOnlyWhereTheSessionDoesNot) {
  Identities bob{{"digest", "bob:x"}};
  EXPECT_FALSE(read_back(request_of(bob)).node);
  EXPECT_EQ(read_back(request_of(bob, {}, 3)).node, 3);
  EXPECT_TRUE(written(request_of({}, {}, 3)).empty());  // nobody asked: the leader itself
}

TEST(Origin, IsBoundedWhateverAClientHasProven) {
  Identities many{{"digest", std::string(kMaxOriginUserBytes + 1, 'x') + ":hash"}};
  for (int i = 0; i < 100; ++i) many.push_back({"digest", std::string(100, 'y') + ":hash"});
  many.push_back({"ip", "10.0.0.7"});
  Request request = request_of(many, {1000, std::string(kMaxProgramBytes + 1, 'p')});
  EXPECT_LE(written(request).size(), kMaxOriginBytes);
  Origin origin = read_back(request);
  EXPECT_EQ(origin.uid, 1000U);
  EXPECT_EQ(origin.address, "10.0.0.7");  // comes first, wherever it stands
  EXPECT_TRUE(origin.program.empty());
  EXPECT_EQ(origin.users.size(), 2U);  // those that there is room for
}

TEST(Origin, TextsAreWordsThatCanBeShown) {
  Origin origin = read_back(request_of({{"digest", "a b\n\x1b[1m,0:x"}}, {1000, "my\tprog"}));
  EXPECT_EQ(origin.program, "my_prog");
  EXPECT_EQ(origin.users[0], "digest:a_b__[1m;0");
}

TEST(Origin, WhatIsMalformedReadsAsNothing) {
  std::string good = written(request_of({{"ip", "10.0.0.7"}}, {1000, "vim"}));
  for (size_t size = 0; size < good.size(); ++size) {
    Origin origin = read_origin(std::string_view(good).substr(0, size));
    EXPECT_TRUE(is_empty(origin) || origin.uid == 1000U) << size;
  }
  EXPECT_TRUE(is_empty(read_origin(std::string(200, '\xff'))));
  EXPECT_TRUE(is_empty(read_origin(good + std::string(kMaxOriginBytes, '\0'))));
  std::string long_program = good.substr(0, 4) + '\x03' + static_cast<char>(kMaxProgramBytes + 1) +
                             std::string(kMaxProgramBytes + 1, 'p');
  EXPECT_TRUE(is_empty(read_origin(long_program)));
  std::string later_field = good + "\x63\x01z";
  EXPECT_EQ(read_origin(later_field).program, "vim");
}

TEST(Origin, AUserTravelsAmongIdentitiesAndIsTakenOff) {
  Identities identities = superuser();
  identities.push_back(identity_of({1000, "vim"}));
  identities.push_back(identity_of({0, "forged"}));
  LocalUser user = take_local_user(identities);
  EXPECT_EQ(user.uid, 1000U);
  EXPECT_EQ(user.program, "vim");
  EXPECT_EQ(identities, superuser());
}

TEST(Origin, AMalformedUserIsNobody) {
  for (const char* text : {"", " ", "x vim", "99999999999 vim", "-1 "}) {
    Identities identities{{"mount", text}};
    EXPECT_FALSE(take_local_user(identities).uid) << text;
    EXPECT_TRUE(identities.empty());
  }
  Identities identities{{"mount", "7 " + std::string(kMaxProgramBytes + 1, 'p')}};
  LocalUser user = take_local_user(identities);
  EXPECT_EQ(user.uid, 7U);
  EXPECT_TRUE(user.program.empty());
}

class OriginOfTxns : public TreeFixture {
 protected:
  // The txns of a request by that user; they are applied.
  std::vector<PreparedTxn> by_user(OpCode type, std::string body) {
    Request request = superuser_request({}, ++cxid_, type, std::move(body));
    request.user = {1000, "vim"};
    std::vector<PreparedTxn> txns = preparer_.prepare(request, zxid_.next(), time_ms_ += 10);
    zxid_ = txns.back().zxid;
    prepared_ = txns;
    apply_all();
    return txns;
  }
};

TEST_F(OriginOfTxns, StandsBehindTheDigestWhereJavaReadsNoFurther) {
  std::vector<PreparedTxn> txns =
      by_user(OpCode::kCreate2, create_body("/a", "data", open_acl(), 0));
  std::optional<Txn> txn = decode_txn(txns[0].bytes);
  ASSERT_TRUE(txn && txn->digest);
  EXPECT_EQ(read_origin(txn->origin).uid, 1000U);
  EXPECT_TRUE(txns[0].bytes.ends_with(txn->origin));
  // As Java's log keeps it.
  Txn without = *txn;
  without.origin = {};
  std::string bytes;
  encode_txn(without, bytes);
  EXPECT_EQ(txns[0].bytes, bytes + std::string(txn->origin));
  EXPECT_TRUE(decode_txn(bytes)->origin.empty());
}

TEST_F(OriginOfTxns, IsOnEveryTxnOfARequest) {
  create("/a", "from");
  create("/b", "to");
  ExtRename rename;
  rename.from = "/a";
  rename.to = "/b";
  std::vector<PreparedTxn> txns = by_user(OpCode::kExtRename, encode(rename));
  ExtWrite write{"/b", kAnyCzxid, kAnyVersion, "x", PosixChange{}};
  write.posix->mode = 0600;
  for (PreparedTxn& txn : by_user(OpCode::kExtWrite, encode(write))) txns.push_back(std::move(txn));
  ASSERT_GE(txns.size(), 3U);
  for (const PreparedTxn& txn : txns) {
    EXPECT_EQ(read_origin(decode_txn(txn.bytes)->origin).program, "vim");
  }
}

// Without a digest Java would take it for one.
TEST_F(OriginOfTxns, IsNotOnAnErrorWhichHasNoDigest) {
  std::vector<PreparedTxn> txns = by_user(OpCode::kDelete, delete_body("/none", kAnyVersion));
  std::optional<Txn> txn = decode_txn(txns[0].bytes);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->header.type, OpCode::kError);
  EXPECT_TRUE(txn->origin.empty());
  EXPECT_EQ(txns[0].bytes.size(), 36U);
}

TEST_F(OriginOfTxns, TheLargestTxnHasItToo) {
  PrepareOptions options;
  options.max_txn_bytes = 1'000;
  Preparer small(tree_, options);
  size_t most = 0;
  for (size_t size = 700; size < 1'000; ++size) {
    Request request = superuser_request({}, 1, OpCode::kCreate2,
                                        create_body("/a", std::string(size, 'x'), open_acl(), 0));
    request.user = {1000, "vim"};
    small.reset();
    std::string bytes = small.prepare(request, zxid_.next(), 1)[0].bytes;
    std::optional<Txn> txn = decode_txn(bytes);
    if (txn->header.type == OpCode::kError) break;
    EXPECT_EQ(read_origin(txn->origin).uid, 1000U);
    most = bytes.size() - txn->origin.size();
  }
  EXPECT_EQ(most, options.max_txn_bytes);
}

}  // namespace
}  // namespace zabfs::tree
