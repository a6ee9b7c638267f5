#include <gtest/gtest.h>

#include "fsd/wire/auth.h"
#include "fsd/wire/budget.h"
#include "fsd/wire/messages.h"
#include "fsd/wire/reads.h"
#include "fsd/wire/sasl.h"
#include "unit/tree_fixture.h"

namespace zabfs::fsd::wire {
namespace {

using tree::Error;
using tree::OpCode;
using tree::SessionId;

std::string hex(std::string_view bytes) {
  std::string text;
  for (char byte : bytes) {
    text += "0123456789abcdef"[static_cast<uint8_t>(byte) >> 4];
    text += "0123456789abcdef"[static_cast<uint8_t>(byte) & 15];
  }
  return text;
}

TEST(Passwords, PublicOnesAreJavas) {
  EXPECT_EQ(hex(public_password(SessionId{0x01000017885b0000})),
            "07f8e69b88163769bd9313a811feefd4");
  EXPECT_EQ(hex(public_password(SessionId{0x01000016c2810000})),
            "0528cba2aeb9a5ddeb2ecbfca764f0ce");
}

TEST(Passwords, SecretOnesNeedTheSecretAndTheSession) {
  std::string right = secret_password(SessionId{7}, std::string(32, 's'));
  EXPECT_EQ(right.size(), kPasswordBytes);
  EXPECT_TRUE(is_same_password(secret_password(SessionId{7}, std::string(32, 's')), right));
  EXPECT_FALSE(is_same_password(secret_password(SessionId{8}, std::string(32, 's')), right));
  EXPECT_FALSE(is_same_password(secret_password(SessionId{7}, std::string(32, 't')), right));
  EXPECT_FALSE(is_same_password(public_password(SessionId{7}), right));
  EXPECT_FALSE(is_same_password(right.substr(1), right));
  EXPECT_FALSE(is_same_password("", right));
}

TEST(Messages, AConnectRequestMayLackTheReadOnlyByte) {
  std::string record;
  tree::jute::Writer out(record);
  out.i32(0);
  out.i64(7);
  out.i32(30'000);
  out.i64(0);
  out.string(std::string(16, '\0'));
  std::optional<ConnectRequest> old = decode_connect_request(record);
  ASSERT_TRUE(old);
  EXPECT_EQ(old->last_zxid.value, 7);
  EXPECT_FALSE(old->read_only);
  out.boolean(true);
  EXPECT_TRUE(decode_connect_request(record)->read_only.value());
  EXPECT_FALSE(decode_connect_request(record.substr(0, 20)));
}

TEST(Messages, AFailedMultiHasAnErrorForEachOperation) {
  tree::Outcome outcome;
  outcome.type = OpCode::kMulti;
  outcome.error = Error::kNodeExists;
  for (Error error : {Error::kOk, Error::kNodeExists, Error::kRuntimeInconsistency}) {
    outcome.ops.emplace_back().error = error;
  }
  std::string bytes;
  append_outcome(bytes, 5, OpCode::kMulti, outcome);
  tree::jute::Reader in(bytes);
  EXPECT_EQ(static_cast<size_t>(in.i32()), bytes.size() - 4);
  EXPECT_EQ(in.i32(), 5);
  in.i64();
  EXPECT_EQ(in.i32(), 0);
  for (int32_t code : {0, -110, -2}) {
    EXPECT_EQ(in.i32(), -1);
    EXPECT_FALSE(in.boolean());
    EXPECT_EQ(in.i32(), code);
    EXPECT_EQ(in.i32(), code);
  }
  EXPECT_EQ(in.i32(), -1);
  EXPECT_TRUE(in.boolean());
  EXPECT_EQ(in.i32(), -1);
  EXPECT_TRUE(in.done());
}

TEST(Auth, ADigestIsNameAndHash) {
  EXPECT_EQ(digest_id("super:test"), "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
  std::optional<tree::Identities> super =
      authenticate("digest", "super:test", "::1", "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
  ASSERT_TRUE(super);
  EXPECT_EQ(super->front().scheme, "super");
  EXPECT_EQ(authenticate("digest", "super:test", "::1", "")->size(), 1u);
  EXPECT_FALSE(authenticate("world", "anyone", "::1", ""));
}

// The exchange of RFC 2831, section 4.
TEST(Sasl, ProvesEachToTheOther) {
  std::map<std::string, std::string> users{{"chris", "secret"}};
  DigestMd5 server(users, "OA6MG9tEQGm2hh");
  EXPECT_NE(server.challenge().find("nonce=\"OA6MG9tEQGm2hh\""), std::string::npos);
  std::string common =
      "charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\","
      "nonce=\"OA6MG9tEQGm2hh\",nc=00000001,cnonce=\"OA6MHXh6VqTrRk\","
      "digest-uri=\"imap/elwood.innosoft.com\",qop=auth,response=";
  EXPECT_FALSE(server.respond(common + "00000000000000000000000000000000"));
  EXPECT_EQ(server.respond(common + "d388dad90d4bbd760a152321f2143af7"),
            "rspauth=ea40f60335c427b5527b84dbabcdfffd");
  EXPECT_EQ(server.user(), "chris");
}

TEST(Sasl, RefusesWhatIsNoAnswerToItsChallenge) {
  std::map<std::string, std::string> users{{"chris", "secret"}};
  for (const char* response : {"", "x", "username=\"chris\"", "username=\"chris", "nonce=n,nonce=n",
                               "username=\"nobody\",nonce=\"n\",nc=00000001,response=aa"}) {
    EXPECT_FALSE(DigestMd5(users, "n").respond(response)) << response;
  }
}

class Reads : public tree::TreeFixture {
 protected:
  Error error_of(OpCode type, std::string_view body, const tree::Identities& who = {}) {
    answer_.clear();
    append_answer({tree_, board_, 1, SessionId{}, who, false}, 9, type, body, answer_);
    tree::jute::Reader in(answer_);
    in.i32();
    in.i32();
    in.i64();
    return static_cast<Error>(in.i32());
  }
  static std::string path_and_flag(std::string_view path, bool flag) {
    std::string body;
    tree::jute::Writer out(body);
    out.string(path);
    out.boolean(flag);
    return body;
  }
  WatchBoard board_;
  std::string answer_;
};

TEST_F(Reads, WhatIsNotThereIsToldBeforeWhatIsNotAllowed) {
  run(OpCode::kCreate, tree::create_body("/a", "x", {{tree::kPermWrite, {"world", "anyone"}}}, 0));
  EXPECT_EQ(error_of(OpCode::kGetData, path_and_flag("/b", false)), Error::kNoNode);
  EXPECT_EQ(error_of(OpCode::kGetData, path_and_flag("/a", false)), Error::kNoAuth);
  EXPECT_EQ(answer_.size(), 20u);  // an error has no body
  EXPECT_EQ(error_of(OpCode::kGetData, path_and_flag("/a", false), tree::superuser()), Error::kOk);
}

TEST_F(Reads, OnlyExistsWatchesWhatIsNotThere) {
  error_of(OpCode::kGetData, path_and_flag("/a", true));
  EXPECT_EQ(board_.with([](tree::WatchTables& t) { return t.count(); }), 0u);
  error_of(OpCode::kExists, path_and_flag("/a", true));
  EXPECT_EQ(board_.with([](tree::WatchTables& t) { return t.count(); }), 1u);
}

TEST_F(Reads, MalformedBodiesAreRefused) {
  for (OpCode type : {OpCode::kExists, OpCode::kGetData, OpCode::kGetChildren, OpCode::kGetAcl,
                      OpCode::kMultiRead, OpCode::kAddWatch, OpCode::kSetWatches2}) {
    EXPECT_EQ(error_of(type, "\0\0\0\x09/a"), Error::kMarshallingError);
  }
}

TEST_F(Reads, AnAnswerHasABound) {
  run(OpCode::kCreate,
      tree::create_body("/large", std::string(1'000'000, 'x'), tree::open_acl(), 0));
  auto times = [](size_t n) {
    std::vector<tree::MultiOp> reads(n, {OpCode::kGetData, path_and_flag("/large", false)});
    return tree::multi_body(reads);
  };
  EXPECT_EQ(error_of(OpCode::kMultiRead, times(10)), Error::kOk);
  EXPECT_GT(answer_.size(), 10'000'000u);
  size_t capacity = answer_.capacity();
  EXPECT_EQ(error_of(OpCode::kMultiRead, times(10'000)), Error::kBadArguments);
  EXPECT_EQ(answer_.size(), 20u);
  EXPECT_LE(answer_.capacity(), std::max(capacity, 4 * kMaxAnswerBytes));
}

TEST_F(Reads, ADirectoryThatIsTooLargeIsNotListed) {
  run(OpCode::kCreate, tree::create_body("/many", "", tree::open_acl(), 0));
  std::string name(250, 'n');
  size_t bytes = 0;
  for (int i = 0; bytes <= kMaxAnswerBytes; ++i) {
    std::string path = "/many/" + name + std::to_string(i);
    bytes += path.size() - 2;
    run(OpCode::kCreate, tree::create_body(path, "", tree::open_acl(), 0));
  }
  EXPECT_EQ(error_of(OpCode::kGetChildren2, path_and_flag("/many", true)), Error::kBadArguments);
  EXPECT_EQ(board_.with([](tree::WatchTables& t) { return t.count(); }), 0u);
  EXPECT_EQ(error_of(OpCode::kExists, path_and_flag("/many", false)), Error::kOk);
}

// Longer than a znode's path that zabfs makes. A server of Apache ZooKeeper makes longer ones.
TEST_F(Reads, APathOfAnyLengthIsWatched) {
  std::string path = "/" + std::string(tree::kMaxPathBytes, 'x');
  EXPECT_EQ(error_of(OpCode::kExists, path_and_flag(path, false)), Error::kNoNode);
  EXPECT_EQ(error_of(OpCode::kExists, path_and_flag(path, true)), Error::kNoNode);
  std::string body;
  tree::jute::Writer out(body);
  out.string(path);
  out.i32(0);
  EXPECT_EQ(error_of(OpCode::kAddWatch, body), Error::kOk);
  body.clear();
  out.i64(0);
  out.i32(0);  // data
  out.i32(1);  // exist
  out.string(path);
  out.i32(0);  // child
  EXPECT_EQ(error_of(OpCode::kSetWatches, body), Error::kOk);
  EXPECT_EQ(board_.with([](tree::WatchTables& t) { return t.count(); }), 2u);
}

TEST_F(Reads, AWatchWithoutRoomIsAnErrorAndASessionWithoutItsWatchesIsLost) {
  WatchBoard full({0, 0});
  auto error_there = [&](OpCode type, std::string_view body) {
    std::string answer;
    return append_answer({tree_, full, 1, SessionId{}, {}, false}, 9, type, body, answer);
  };
  EXPECT_EQ(error_there(OpCode::kGetData, path_and_flag("/zookeeper", false)), Error::kOk);
  EXPECT_EQ(error_there(OpCode::kGetData, path_and_flag("/zookeeper", true)), Error::kThrottledOp);
  EXPECT_EQ(error_there(OpCode::kGetChildren, path_and_flag("/", true)), Error::kThrottledOp);
  std::string body;
  tree::jute::Writer out(body);
  out.i64(0);
  out.i32(0);
  out.i32(1);
  out.string("/later");
  out.i32(0);
  Error error = error_there(OpCode::kSetWatches, body);
  EXPECT_TRUE(is_lost_without_watches(OpCode::kSetWatches, error));
  EXPECT_FALSE(is_lost_without_watches(OpCode::kGetData, error));
}

TEST(Budgets, WhoHasLittleUnderWayGoesOnWhileTheNodeIsShortOfRoom) {
  Budget budget(1'000'000, {100, 50'000, 0});
  for (int i = 0; i < 10; ++i) budget.enter();
  EXPECT_TRUE(budget.may_take_more({0, 0, 900'000}));
  budget.hold(0, 1'000'001);
  EXPECT_TRUE(budget.is_short());
  EXPECT_FALSE(budget.is_exceeded());
  EXPECT_FALSE(budget.may_take_more({0, 0, 900'000}));
  EXPECT_TRUE(budget.may_take_more({0, 0, 50'000}));
  budget.hold(1'000'001, 2'000'000);
  EXPECT_TRUE(budget.is_exceeded());
  budget.hold(2'000'000, 0);
  for (int i = 0; i < 101; ++i) budget.begin_request(10);
  EXPECT_FALSE(budget.may_take_more({6, 60, 60}));
  EXPECT_TRUE(budget.may_take_more({5, 50, 50}));
  budget.end_requests(101, 1'010);
  budget.begin_request(50'001);
  EXPECT_FALSE(budget.may_take_more({1, 2'501, 2'501}));
  EXPECT_TRUE(budget.may_take_more({1, 2'500, 2'500}));
}

}  // namespace
}  // namespace zabfs::fsd::wire
