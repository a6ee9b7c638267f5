#include <gtest/gtest.h>

#include "fsd/wire/auth.h"
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

}  // namespace
}  // namespace zabfs::fsd::wire
