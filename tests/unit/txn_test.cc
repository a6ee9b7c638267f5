#include "tree/txn.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace zabfs::tree {
namespace {

std::string from_hex(std::string_view hex) {
  std::string bytes;
  std::string digits;
  for (char c : hex) {
    if (c == ' ') continue;
    digits += c;
    if (digits.size() < 2) continue;
    bytes += static_cast<char>(std::strtoul(digits.c_str(), nullptr, 16));
    digits.clear();
  }
  return bytes;
}

// Log entries of a Java server (FORMATS.md 5.2).
TEST(Txn, ReadsAndWritesJavasCreateSession) {
  std::string bytes = from_hex(
      "01000017885b0000 00000000 0000000100000001 000001a204980af5 fffffff6 00001770 00000002 "
      "0000000051c6d660");
  std::optional<Txn> txn = decode_txn(bytes);
  ASSERT_TRUE(txn);
  EXPECT_EQ(txn->header.type, OpCode::kCreateSession);
  EXPECT_EQ(txn->header.zxid, Zxid::make(1, 1));
  EXPECT_EQ(std::get<CreateSessionTxn>(txn->body).timeout_ms, 6'000);
  EXPECT_EQ(txn->digest, 0x51c6d660);
  std::string again;
  encode_txn(*txn, again);
  EXPECT_EQ(again, bytes);
}

TEST(Txn, ReadsAndWritesJavasCloseSession) {
  std::string bytes = from_hex(
      "01000017885b0000 00000036 000000010000000c 000001a204980c50 fffffff5 00000001 00000006 "
      "2f652f657068 00000002 00000002eb148133");
  std::optional<Txn> txn = decode_txn(bytes);
  ASSERT_TRUE(txn);
  EXPECT_EQ(std::get<CloseSessionTxn>(txn->body).paths[0], "/e/eph");
  std::string again;
  encode_txn(*txn, again);
  EXPECT_EQ(again, bytes);
}

TEST(Txn, ReadsJavasErrorWithoutADigest) {
  std::optional<Txn> txn = decode_txn(
      from_hex("01000017885b0000 00000008 0000000100000009 000001a204980b52 ffffffff ffffff9b"));
  ASSERT_TRUE(txn);
  EXPECT_EQ(std::get<ErrorTxn>(txn->body).error, Error::kNoNode);
  EXPECT_FALSE(txn->digest);
}

// A client is answered by such a txn if its own server synchronises with the next leader from it.
TEST(Txn, AnOpThatJavaMadeAnErrorHasNoCodeOfItsOwn) {
  Txn txn;
  txn.header.type = OpCode::kMulti;
  txn.body = MultiTxn{{{OpCode::kSetData, SetDataTxn{"/registers/a", "x", 3}},
                       {OpCode::kError, ErrorTxn{Error::kBadVersion}},
                       {OpCode::kError, ErrorTxn{Error::kRuntimeInconsistency}}}};
  std::string bytes;
  encode_txn(txn, bytes);
  size_t type = bytes.find(std::string("\0\0\0\5", 4));
  ASSERT_NE(type, std::string::npos);
  bytes.replace(type, 4, "\xff\xff\xff\xff");
  std::optional<Txn> read = decode_txn(bytes);
  ASSERT_TRUE(read);
  std::vector<Error> errors;
  for (const Op& op : std::get<MultiTxn>(read->body).ops) {
    ASSERT_EQ(op.type, OpCode::kError);
    errors.push_back(std::get<ErrorTxn>(op.body).error);
  }
  EXPECT_EQ(errors,
            (std::vector<Error>{Error::kOk, Error::kBadVersion, Error::kRuntimeInconsistency}));
}

// Java with -Dzookeeper.closeSessionTxn.enabled=false.
TEST(Txn, AnEndOfASessionMayHaveADigestAndNoBody) {
  std::string bytes;
  jute::Writer out(bytes);
  out.i64(5);  // session
  out.i32(6);
  out.i64(7);
  out.i64(8);
  out.i32(static_cast<int32_t>(OpCode::kCloseSession));
  for (bool has_digest : {false, true}) {
    if (has_digest) {
      out.i32(2);
      out.i64(99);
    }
    std::optional<Txn> txn = decode_txn(bytes);
    ASSERT_TRUE(txn);
    EXPECT_TRUE(std::get<CloseSessionTxn>(txn->body).paths.empty());
    EXPECT_EQ(txn->digest, has_digest ? std::optional<int64_t>(99) : std::nullopt);
  }
}

TEST(Txn, ErrorInAMultiMayDragAnotherBody) {
  Txn txn;
  txn.header.type = OpCode::kMulti;
  MultiTxn multi;
  multi.ops.push_back({OpCode::kCreate, CreateTxn{"/a", "data", open_acl(), false, 1, 0}});
  txn.body = multi;
  std::string bytes;
  encode_txn(txn, bytes);
  bytes[32 + 4 + 3] = '\xff';  // the sub-type becomes -1, as Java rewrites it in memory
  bytes[32 + 4 + 2] = bytes[32 + 4 + 1] = bytes[32 + 4] = '\xff';
  std::optional<Txn> read = decode_txn(bytes);
  ASSERT_TRUE(read);
  EXPECT_TRUE(std::get<MultiTxn>(read->body).failed());
}

TEST(Txn, TruncatedBytesAreRefusedAtEveryLength) {
  Txn txn;
  txn.header.type = OpCode::kMulti;
  MultiTxn multi;
  multi.ops.push_back({OpCode::kCreate, CreateTxn{"/a", "data", open_acl(), false, 1, 0}});
  multi.ops.push_back({OpCode::kSetData, SetDataTxn{"/a", "x", 3}});
  txn.body = multi;
  std::string bytes;
  encode_txn(txn, bytes);
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_FALSE(decode_txn(std::string_view(bytes).substr(0, n))) << n;
  }
  EXPECT_TRUE(decode_txn(bytes));
}

}  // namespace
}  // namespace zabfs::tree
