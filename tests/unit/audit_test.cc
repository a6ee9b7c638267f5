#include <gtest/gtest.h>

#include "fsd/audit/event.h"
#include "fsd/audit/operations.h"
#include "tree/request.h"

namespace zabfs::fsd::audit {
namespace {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

const Who kWho{tree::SessionId{0x12}, {"alice"}, {}, "10.0.0.7"};

std::vector<std::string> lines(OpCode type, const std::string& body, const Outcome& outcome = {}) {
  std::vector<std::string> lines;
  for (const Event& event : events_of(kWho, type, body, outcome)) {
    lines.push_back(text_of(event, event.who.users));
  }
  return lines;
}

// Without what all have.
std::vector<std::string> shorts(OpCode type, const std::string& body, const Outcome& outcome = {}) {
  std::vector<std::string> shorts;
  for (const std::string& line : lines(type, body, outcome)) {
    shorts.push_back(line.substr(line.find("operation=") + 10));
  }
  return shorts;
}

using Lines = std::vector<std::string>;

TEST(Audit, ALineHasJavasFieldsInJavasOrder) {
  EXPECT_EQ(lines(OpCode::kCreate, tree::create_body("/a", "x", tree::open_acl(), 1)),
            Lines{"session=0x12\tuser=alice\tip=10.0.0.7\toperation=create\tznode=/a\t"
                  "znode_type=ephemeral\tresult=success"});
  Event event;
  event.who.uids = {0};
  event.operation = "serverStart";
  EXPECT_EQ(text_of(event, {"root"}), "user=root\toperation=serverStart\tresult=success");
}

TEST(Audit, NoValueMakesAFieldOrALineOfItsOwn) {
  Event event;
  event.who.users = {"eve\tresult=success\nuser=bob"};
  event.operation = "delete";
  event.znode = "/a\tuser=bob";
  EXPECT_EQ(text_of(event, event.who.users),
            "user=eve\\tresult=success\\nuser=bob\toperation=delete\tznode=/a\\tuser=bob\t"
            "result=success");
}

TEST(Audit, APathIsWholeUpToItsLimit) {
  std::string path = "/" + std::string(kMaxValueBytes - 1, 'x');
  EXPECT_NE(lines(OpCode::kDelete, tree::delete_body(path, -1))[0].find(path + "\t"),
            std::string::npos);
  EXPECT_NE(lines(OpCode::kDelete, tree::delete_body(path + "yyy", -1))[0].find(
                path + "... (3 bytes more)\t"),
            std::string::npos);
}

// LineMax= of journald.conf(5), from where on journald splits a line.
TEST(Audit, TheLongestLineIsOneForTheJournal) {
  std::string bytes(1u << 20, '\xff');
  Event event;
  event.who = {tree::SessionId{-1}, {bytes, bytes}, {}, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
  event.operation = "ephemeralZNodeDeletionOnSessionCloseOrExpire";
  event.znode = event.acl = bytes;
  event.znode_type = "persistent_sequential_with_ttl";
  EXPECT_LT(text_of(event, event.who.users).size(), (48u << 10) - 100);
  EXPECT_GT(event.size_bytes(), 4u << 20);
}

TEST(Audit, UsersAreIdsWithoutSchemes) {
  Who who = who_of(tree::SessionId{1},
                   {{"ip", "10.0.0.7"},
                    {"digest", "alice:h="},
                    {"x509", "CN=b,O=c"},
                    {"sasl", "carl"},
                    {"super", ""},
                    {"uid", "1000"},
                    {"digest", ":"}},
                   "10.0.0.7");
  EXPECT_EQ(who.users, (Lines{"10.0.0.7", "alice", "CN=b,O=c", "carl"}));
  EXPECT_EQ(who.uids, std::vector<uint32_t>{1000});
}

TEST(Audit, ASequentialNodeHasTheNameThatItGot) {
  Outcome outcome;
  outcome.path = "/q-0000000007";
  EXPECT_EQ(shorts(OpCode::kCreate2, tree::create_body("/q-", "", tree::open_acl(), 2), outcome),
            Lines{"create\tznode=/q-0000000007\tznode_type=persistent_sequential\tresult=success"});
}

TEST(Audit, WhatFailedAndWhatIsUnknownAreTold) {
  Outcome failed, unknown;
  failed.error = Error::kNoNode;
  unknown.error = Error::kConnectionLoss;
  std::string body = tree::set_data_body("/a", "x", -1);
  EXPECT_EQ(shorts(OpCode::kSetData, body, failed), Lines{"setData\tznode=/a\tresult=failure"});
  EXPECT_EQ(shorts(OpCode::kSetData, body, unknown), Lines{"setData\tznode=/a\tresult=invoked"});
}

TEST(Audit, AnAclIsOneText) {
  tree::AclList acl{{31, {"world", "anyone"}}, {1, {"ip", "10.0.0.0/8"}}};
  EXPECT_EQ(shorts(OpCode::kSetAcl, tree::set_acl_body("/a", acl, -1)),
            Lines{"setAcl\tznode=/a\tacl=world:anyone:cdrwaip:10.0.0.0/8:r\tresult=success"});
}

TEST(Audit, AMultiHasALineForEachChange) {
  std::string body =
      tree::multi_body({{OpCode::kCheck, tree::check_body("/a", 1)},
                        {OpCode::kCreate, tree::create_body("/a/s-", "x", tree::open_acl(), 2)},
                        {OpCode::kSetData, tree::set_data_body("/b", "x", -1)},
                        {OpCode::kDelete, tree::delete_body("/c", -1)}});
  Outcome outcome;
  outcome.ops.resize(4);
  outcome.ops[1].path = "/a/s-0000000001";
  EXPECT_EQ(
      shorts(OpCode::kMulti, body, outcome),
      (Lines{"create\tznode=/a/s-0000000001\tznode_type=persistent_sequential\tresult=success",
             "setData\tznode=/b\tresult=success", "delete\tznode=/c\tresult=success"}));
  outcome.error = Error::kNoNode;
  EXPECT_EQ(shorts(OpCode::kMulti, body, outcome), Lines{"multiOperation\tresult=failure"});
}

TEST(Audit, WhatMountsAskForGoesByZooKeepersWords) {
  EXPECT_EQ(shorts(OpCode::kExtAppend, encode(tree::ExtAppend{"/a", {}, "x"})),
            Lines{"setData\tznode=/a\tresult=success"});
  EXPECT_EQ(shorts(OpCode::kExtRemove, encode(tree::ExtRemove{"/a", {}, true})),
            Lines{"delete\tznode=/a\tresult=success"});
  EXPECT_EQ(shorts(OpCode::kExtRename, encode(tree::ExtRename{"/a", "/b", {}, {}, false})),
            (Lines{"delete\tznode=/a\tresult=success", "create\tznode=/b\tresult=success"}));
  EXPECT_EQ(shorts(OpCode::kExtRename, encode(tree::ExtRename{"/a", "/b", {}, {}, true})).size(),
            4u);
  tree::ExtSetPosix set;
  set.path = "/a";
  set.change.mode = 0640;
  set.change.gid = 5;
  EXPECT_EQ(shorts(OpCode::kExtSetPosix, encode(set)),
            Lines{"setAcl\tznode=/a\tacl=mode:0640 gid:5\tresult=success"});
}

TEST(Audit, WhatChangesNeitherDataNorPermissionsHasNoLine) {
  tree::ExtSetPosix touch;
  touch.path = "/a";
  touch.change.mtime = decltype(touch.change.mtime)::value_type{};
  EXPECT_EQ(shorts(OpCode::kExtSetPosix, encode(touch)), Lines{});
  for (OpCode type : {OpCode::kGetData, OpCode::kSync, OpCode::kCheck, OpCode::kCreateSession,
                      OpCode::kCloseSession, OpCode::kPing}) {
    EXPECT_EQ(shorts(type, tree::check_body("/a", 1)), Lines{});
  }
}

// Whole requests, and such that end anywhere.
TEST(Audit, ARequestWithoutItsDataHasTheSameLines) {
  std::string data(1'000, 'x');
  tree::AclList acl{{31, {"digest", "alice:h="}}};
  std::string multi = tree::multi_body({{OpCode::kCheck, tree::check_body("/a", 1)},
                                        {OpCode::kCreate, tree::create_body("/a/s-", data, acl, 2)},
                                        {OpCode::kSetData, tree::set_data_body("/b", data, -1)},
                                        {OpCode::kDelete, tree::delete_body("/c", -1)}});
  std::vector<std::pair<OpCode, std::string>> requests = {
      {OpCode::kCreate, tree::create_body("/a", data, acl, 1)},
      {OpCode::kCreate2, tree::create_body("/a", data, acl, 0)},
      {OpCode::kDelete, tree::delete_body("/a", -1)},
      {OpCode::kSetData, tree::set_data_body("/a", data, 3)},
      {OpCode::kSetAcl, tree::set_acl_body("/a", acl, -1)},
      {OpCode::kReconfig, data},
      {OpCode::kCloseSession, ""},
      {OpCode::kMulti, multi}};
  for (const auto& [type, whole] : requests) {
    EXPECT_LE(without_data(type, whole).size(), type == OpCode::kMulti ? 250u : 100u);
    for (size_t size = 0; size <= whole.size(); ++size) {
      std::string body = whole.substr(0, size);
      EXPECT_EQ(lines(type, without_data(type, body)), lines(type, body)) << size;
    }
  }
}

// What a client sends may be cut anywhere.
TEST(Audit, MalformedRequestsHaveNoFieldOfWhatIsNotThere) {
  std::string body =
      tree::multi_body({{OpCode::kCreate, tree::create_body("/a", "x", tree::open_acl(), 2)}});
  std::string create = tree::create_body("/a", "x", tree::open_acl(), 99);
  Outcome failed;
  failed.error = Error::kMarshallingError;
  for (size_t size = 0; size < body.size(); ++size) {
    lines(OpCode::kMulti, body.substr(0, size), {});
    lines(OpCode::kExtWrite, body.substr(0, size), {});
    Lines cut = lines(OpCode::kCreate, create.substr(0, std::min(size, create.size())), failed);
    EXPECT_EQ(cut[0].find("znode_type"), std::string::npos);
  }
}

}  // namespace
}  // namespace zabfs::fsd::audit
