#include "tree/java_log.h"

#include <gtest/gtest.h>

#include <vector>

#include "tree/posix.h"
#include "tree/txn.h"
#include "unit/java_files.h"

namespace zabfs::tree {
namespace {

struct Read {
  Status status;
  std::vector<std::string> txns;
  std::vector<uint64_t> offsets;
  bool has_ended = false, is_torn = false;
  uint64_t end = 0;
};

Read read(std::string_view bytes, size_t piece = 5) {
  JavaLogReader reader;
  Read read;
  auto sink = [&read](uint64_t offset, std::string_view txn) {
    read.txns.emplace_back(txn);
    read.offsets.push_back(offset);
    return Status();
  };
  while (!bytes.empty() && read.status.ok()) {
    read.status = reader.feed(bytes.substr(0, piece), sink);
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  if (read.status.ok()) read.status = reader.finish();
  read.has_ended = reader.has_ended();
  read.is_torn = reader.is_torn();
  read.end = reader.end();
  return read;
}

const std::string kThree = java_log_header() + java_log_entry("first") +
                           java_log_entry("the second one") + java_log_entry("third");

TEST(JavaLog, GivesTransactionsAndWhereTheyAre) {
  for (size_t piece : {1u, 5u, 10'000u}) {
    Read all = read(kThree, piece);
    EXPECT_TRUE(all.status.ok()) << all.status.why();
    EXPECT_EQ(all.txns, (std::vector<std::string>{"first", "the second one", "third"}));
    EXPECT_EQ(all.offsets, (std::vector<uint64_t>{16, 34, 61}));
    EXPECT_EQ(all.end, kThree.size());
    EXPECT_FALSE(all.is_torn);
  }
}

TEST(JavaLog, EndsWhereNothingWasWritten) {
  Read all = read(kThree + std::string(100, '\0') + "what does not count");
  EXPECT_TRUE(all.status.ok());
  EXPECT_TRUE(all.has_ended);
  EXPECT_FALSE(all.is_torn);
  EXPECT_EQ(all.txns.size(), 3u);
  EXPECT_EQ(read(java_log_header()).txns.size(), 0u);
  EXPECT_TRUE(read(java_log_header()).status.ok());
}

TEST(JavaLog, ACutOffEntryIsNone) {
  size_t two = kThree.size() - java_log_entry("third").size();
  for (size_t size = two + 1; size < kThree.size(); ++size) {
    Read cut = read(kThree.substr(0, size));
    EXPECT_TRUE(cut.status.ok()) << size;
    EXPECT_TRUE(cut.is_torn) << size;
    EXPECT_EQ(cut.txns.size(), 2u);
    EXPECT_EQ(cut.end, two);
  }
  std::string padded = kThree.substr(0, kThree.size() - 1) + std::string(100, '\0');
  EXPECT_TRUE(read(padded).status.ok());
  EXPECT_TRUE(read(padded).is_torn);
  EXPECT_EQ(read(padded).txns.size(), 2u);
}

TEST(JavaLog, DamageIsNamedWithItsOffset) {
  std::string damaged = kThree;
  damaged[34 + 12] = 'T';
  EXPECT_EQ(read(damaged).status.why(),
            "offset 34: an entry with a wrong checksum: the file is damaged here");
  damaged = kThree;
  damaged[34 + 8] = '\x7f';
  EXPECT_NE(read(damaged).status.why().find("offset 34: an entry of 21307"), std::string::npos)
      << read(damaged).status.why();
  damaged[34 + 8] = '\xff';
  EXPECT_FALSE(read(damaged).status.ok());
  EXPECT_EQ(read(damaged).txns.size(), 1u);
}

TEST(JavaLog, WhatIsWrittenIsWhatJavaWrites) {
  std::string bytes = java_log_head();
  for (const char* txn : {"first", "the second one", "third"}) append_java_log_entry(txn, bytes);
  EXPECT_EQ(bytes, kThree);
}

// The lists of ACLs of a transaction, or of the ops of a multi.
std::vector<AclList> acls_of(const Txn& txn) {
  std::vector<AclList> lists;
  auto add = [&lists](const auto& body) {
    if (auto* create = std::get_if<CreateTxn>(&body)) lists.push_back(create->acl);
    if (auto* set = std::get_if<SetAclTxn>(&body)) lists.push_back(set->acl);
  };
  add(txn.body);
  if (auto* multi = std::get_if<MultiTxn>(&txn.body)) {
    for (const Op& op : multi->ops) add(op.body);
  }
  return lists;
}

TEST(JavaLog, JavaGetsNeitherPosixEntriesNorWhoMadeIt) {
  PosixEntry posix;
  posix.mode = 0640;
  posix.uid = posix.gid = 7;
  AclList digest{{31, {"digest", "a:b"}}}, nobody{{0, {"world", "anyone"}}};
  AclList both = with_posix(digest, posix), alone = with_posix({}, posix);
  ASSERT_TRUE(find_posix(both) && find_posix(alone));
  Txn txn;
  txn.header = {SessionId{5}, 6, Zxid{7}, 8, OpCode::kMulti};
  txn.digest = 9;
  txn.body = MultiTxn{{{OpCode::kCreate, CreateTxn{"/a", "x", both, false, 1, 0}},
                       {OpCode::kSetAcl, SetAclTxn{"/a", alone, 1}},
                       {OpCode::kSetData, SetDataTxn{"/a", "y", 1}}}};
  for (bool is_multi : {true, false}) {
    if (!is_multi) {
      txn.header.type = OpCode::kSetAcl;
      txn.body = SetAclTxn{"/a", both, 2};
    }
    std::string ours, without;
    encode_txn(txn, without);
    txn.origin = "somebody";
    encode_txn(txn, ours);
    txn.origin = {};
    std::optional<std::string> bytes = java_txn(ours);
    ASSERT_TRUE(bytes);
    std::optional<Txn> java = decode_txn(*bytes);
    ASSERT_TRUE(java);
    EXPECT_EQ(java->digest, 9);
    EXPECT_EQ(java->origin, "");
    EXPECT_EQ(java->header.zxid, Zxid{7});
    EXPECT_EQ(acls_of(*java),
              is_multi ? (std::vector<AclList>{digest, nobody}) : std::vector<AclList>{digest});
  }
  EXPECT_FALSE(java_txn("nothing"));
}

TEST(JavaLog, OtherFilesAreRefused) {
  EXPECT_EQ(read("neither of them").status.why(), "offset 0: the file is cut off in its header");
  EXPECT_NE(read("something else entirely").status.why().find("no transaction log"),
            std::string::npos);
  EXPECT_FALSE(read("").status.ok());
}

}  // namespace
}  // namespace zabfs::tree
