#include "consensus/leadership.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "unit/numbers.h"

namespace zabfs::consensus {
namespace {

using tree::Error;
using tree::OpCode;

constexpr ServerId kMe{1};
constexpr int64_t kReapMs = 5'000;

// As a server of that number makes them for clients.
SessionId session_of(ServerId server, int64_t number) {
  return SessionId{(server.value << 56) | number};
}

class LeadershipTest : public testing::Test {
 protected:
  LeadershipTest() { begin(); }

  // A leadership of a later epoch, over the tree as it is.
  void begin() {
    tree::PrepareOptions prepare;
    prepare.extended_types = true;
    leadership_.emplace(Leadership::Options{kMe, 1'000, kReapMs, "super:hash", "CN=super"}, tree_,
                        prepare, ++epoch_, now_ms_);
  }
  static tree::Request request(OpCode type, SessionId session, std::string body,
                               tree::Identities identities = {}) {
    tree::Request made;
    made.session = session;
    made.type = type;
    made.body = std::move(body);
    made.identities = std::move(identities);
    made.attachment = tree::kNoAttachment;
    return made;
  }
  // Its txns are applied at once.
  Leadership::Prepared prepare(tree::Request made, ServerId from) {
    if (made.cxid == 0) made.cxid = ++cxid_;
    Leadership::Prepared prepared = leadership_->prepare(std::move(made), from, now_ms_, now_ms_);
    for (const tree::PreparedTxn& any : prepared.txns) {
      std::optional<tree::Txn> txn = tree::decode_txn(any.bytes);
      EXPECT_TRUE(txn);
      if (!txn) continue;
      tree_.apply(*txn, nullptr);
      leadership_->applied(any.zxid);
      if (txn->header.type == OpCode::kCloseSession) leadership_->closed(txn->header.session);
    }
    return prepared;
  }
  Error open(SessionId session, ServerId at, tree::Identities identities = {}) {
    return prepare(request(OpCode::kCreateSession, session, tree::create_session_body(3'000),
                           std::move(identities)),
                   at)
        .error;
  }
  Error attach(SessionId session, ServerId at, tree::Identities identities = {}) {
    tree::Request made = request(OpCode::kExtAttach, session, tree::create_session_body(3'000),
                                 std::move(identities));
    made.cxid = tree::attach_cxid(++attaches_, tree::server_byte(at));
    return prepare(std::move(made), at).error;
  }
  Leadership::Prepared write(SessionId session, ServerId from, tree::Identities identities = {}) {
    return prepare(request(OpCode::kSetData, session, tree::set_data_body("/", "x", -1),
                           std::move(identities)),
                   from);
  }
  void create(const std::string& path, int32_t flags) {
    prepare(tree::superuser_request({}, ++cxid_, OpCode::kCreateContainer,
                                    tree::create_body(path, "", tree::open_acl(), flags)),
            kMe);
  }
  bool expires(SessionId session) {
    std::vector<SessionId> expired = leadership_->take_expired(now_ms_);
    return std::find(expired.begin(), expired.end(), session) != expired.end();
  }

  tree::Tree tree_;
  std::optional<Leadership> leadership_;
  uint32_t epoch_ = 0;
  int64_t now_ms_ = 100'000;
  int32_t cxid_ = 0;
  uint32_t attaches_ = 0;
};

const tree::Id kUid7{std::string(tree::kUidScheme), "7"};
const tree::Id kUid8{std::string(tree::kUidScheme), "8"};
const tree::Id kSuper{"super", ""};

TEST_F(LeadershipTest, ZxidsOfTxnsFollowEachOtherFromTheFirstOfTheEpoch) {
  EXPECT_EQ(leadership_->last_proposed(), Zxid::make(1, 0));
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo), Error::kOk);
  EXPECT_EQ(leadership_->last_proposed(), Zxid::make(1, 1));
  write(session_of(kTwo, 5), kTwo);
  EXPECT_EQ(leadership_->last_proposed(), Zxid::make(1, 2));
  begin();
  EXPECT_EQ(leadership_->last_proposed(), Zxid::make(2, 0));
}

// ---- who may ask for what (ZAB.md section 4.3)

TEST_F(LeadershipTest, AMemberSpeaksForTheSessionsThatItMade) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo), Error::kOk);
  EXPECT_EQ(write(session_of(kTwo, 5), kTwo).error, Error::kOk);
  EXPECT_TRUE(leadership_->lives_at(session_of(kTwo, 5), kTwo));
}

TEST_F(LeadershipTest, WhatAMemberAsksForASessionElsewhereIsRefusedWithoutATxn) {
  EXPECT_EQ(open(session_of(kTwo, 5), kTwo), Error::kOk);
  Zxid before = leadership_->last_proposed();
  for (OpCode type : {OpCode::kSetData, OpCode::kCreateSession}) {
    tree::Request made = request(type, session_of(kTwo, 5), tree::set_data_body("/", "x", -1));
    made.attachment = tree::kFirstAttachment;
    EXPECT_EQ(prepare(std::move(made), kThree).error, Error::kSessionMoved);
  }
  EXPECT_EQ(leadership_->last_proposed(), before);
}

// Example: a client's write waits at server two, of Apache ZooKeeper. The client comes to server
// three, and its requests begin with cxid 1 there. Then two forwards the write, which has cxid 500.
TEST_F(LeadershipTest, AServerThatKnowsNoOtherAnswerGetsATxn) {
  SessionId session = session_of(kTwo, 5);
  EXPECT_EQ(open(session, kTwo), Error::kOk);
  EXPECT_EQ(attach(session, kThree), Error::kOk);
  Zxid attachment = leadership_->last_proposed();
  tree::Request late = request(OpCode::kSetData, session, tree::set_data_body("/", "late", -1));
  late.cxid = 500;
  Leadership::Prepared prepared = prepare(std::move(late), kTwo);
  EXPECT_EQ(prepared.error, Error::kSessionMoved);
  ASSERT_EQ(prepared.txns.size(), 1u);
  std::optional<tree::Txn> txn = tree::decode_txn(prepared.txns[0].bytes);
  ASSERT_TRUE(txn);
  EXPECT_TRUE(tree::is_late(*txn));
  EXPECT_EQ(txn->header.session, session);
  EXPECT_EQ(txn->header.cxid, 500);
  EXPECT_EQ(tree_.root().data.view(), "");
  for (int32_t cxid = 1; cxid <= 2; ++cxid) {
    tree::Request next = request(OpCode::kSetData, session, tree::set_data_body("/", "x", -1));
    next.attachment = attachment;
    next.cxid = cxid;
    EXPECT_EQ(prepare(std::move(next), kThree).error, Error::kOk);
    begin();  // the next leader has it from the tree
  }
}

TEST_F(LeadershipTest, ASessionMovesToTheServerThatAttachesIt) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo), Error::kOk);
  ASSERT_EQ(attach(session_of(kTwo, 5), kThree), Error::kOk);
  EXPECT_EQ(write(session_of(kTwo, 5), kTwo).error, Error::kSessionMoved);
  EXPECT_EQ(write(session_of(kTwo, 5), kThree).error, Error::kOk);
}

TEST_F(LeadershipTest, AServerAttachesSessionsToItselfOnly) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo), Error::kOk);
  tree::Request made =
      request(OpCode::kExtAttach, session_of(kTwo, 5), tree::create_session_body(3'000));
  made.cxid = tree::attach_cxid(1, tree::server_byte(kTwo));
  EXPECT_EQ(prepare(std::move(made), kThree).error, Error::kSessionMoved);
}

TEST_F(LeadershipTest, NobodyAttachesTheSessionOfAMount) {
  SessionId mount{(kTwo.value << 48) | 9};
  ASSERT_TRUE(tree::is_mounts(mount));
  ASSERT_EQ(open(mount, kTwo), Error::kOk);
  EXPECT_EQ(attach(mount, kThree), Error::kSessionMoved);
}

TEST_F(LeadershipTest, NoMemberSendsWhatIsTheLeadersOwn) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo), Error::kOk);
  for (OpCode type : {OpCode::kDeleteContainer, OpCode::kError, OpCode::kNotification}) {
    EXPECT_EQ(prepare(request(type, session_of(kTwo, 5), "/a"), kTwo).error, Error::kUnimplemented);
  }
}

// ---- who a client is

TEST_F(LeadershipTest, AnIdentityThatItsConnectionDidNotBeginWithDoesNotCount) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo, {kUid7}), Error::kOk);
  EXPECT_FALSE(write(session_of(kTwo, 5), kTwo, {kUid7}).was_unproven);
  EXPECT_TRUE(write(session_of(kTwo, 5), kTwo, {kUid8}).was_unproven);
}

TEST_F(LeadershipTest, AClientMayProveADigestLater) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo, {kUid7}), Error::kOk);
  EXPECT_FALSE(write(session_of(kTwo, 5), kTwo, {kUid7, {"digest", "a:b"}}).was_unproven);
}

TEST_F(LeadershipTest, AClientIsWhoItsNewServerSaysWhenItsSessionMoves) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo, {kUid7}), Error::kOk);
  ASSERT_EQ(attach(session_of(kTwo, 5), kThree, {kUid8}), Error::kOk);
  EXPECT_FALSE(write(session_of(kTwo, 5), kThree, {kUid8}).was_unproven);
  EXPECT_TRUE(write(session_of(kTwo, 5), kThree, {kUid7}).was_unproven);
}

TEST_F(LeadershipTest, TheFirstRequestTellsANewLeaderWhoAClientIs) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo, {kUid7}), Error::kOk);
  begin();
  EXPECT_FALSE(write(session_of(kTwo, 5), kTwo, {kUid8}).was_unproven);
  EXPECT_TRUE(write(session_of(kTwo, 5), kTwo, {kUid7}).was_unproven);
}

TEST_F(LeadershipTest, TheSuperuserIsWhoThisNodesConfigurationSays) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo), Error::kOk);
  EXPECT_TRUE(write(session_of(kTwo, 5), kTwo, {kSuper}).was_unproven);
  EXPECT_TRUE(write(session_of(kTwo, 5), kTwo, {kSuper, {"digest", "super:other"}}).was_unproven);
  EXPECT_FALSE(write(session_of(kTwo, 5), kTwo, {kSuper, {"digest", "super:hash"}}).was_unproven);
}

TEST_F(LeadershipTest, AMountMayAskAsTheSuperuser) {
  SessionId mount{(kTwo.value << 48) | 9};
  ASSERT_EQ(open(mount, kTwo), Error::kOk);
  EXPECT_FALSE(write(mount, kTwo, {kSuper}).was_unproven);
}

TEST_F(LeadershipTest, TheLeadersOwnWordIsNotDoubted) {
  ASSERT_EQ(open(session_of(kMe, 5), kMe), Error::kOk);
  EXPECT_FALSE(write(session_of(kMe, 5), kMe, {kSuper, kUid8}).was_unproven);
}

// ---- time

tree::Origin origin_of(const Leadership::Prepared& prepared) {
  std::optional<tree::Txn> txn = tree::decode_txn(prepared.txns.at(0).bytes);
  return txn ? tree::read_origin(txn->origin) : tree::Origin{};
}

TEST_F(LeadershipTest, ATxnTellsWhoAskedAtAnotherMember) {
  SessionId session = session_of(ServerId{2}, 7);
  EXPECT_EQ(open(session, ServerId{2}, {{"ip", "10.0.0.7"}}), Error::kOk);
  tree::Origin origin =
      origin_of(write(session, ServerId{2}, {{"ip", "10.0.0.7"}, {"digest", "bob:hash"}}));
  EXPECT_EQ(origin.address, "10.0.0.7");
  EXPECT_EQ(origin.users, std::vector<std::string>{"digest:bob"});
  EXPECT_FALSE(origin.node);  // the session says it
}

TEST_F(LeadershipTest, ATxnNamesTheServerThatItsSessionHasComeTo) {
  SessionId session = session_of(ServerId{2}, 7);
  EXPECT_EQ(open(session, ServerId{2}, {kUid7}), Error::kOk);
  EXPECT_EQ(attach(session, ServerId{3}, {kUid7}), Error::kOk);
  EXPECT_EQ(origin_of(write(session, ServerId{3}, {kUid7})).node, 3);
}

TEST_F(LeadershipTest, WhatIsUnprovenIsNotToldOfATxn) {
  SessionId session = session_of(ServerId{2}, 7);
  EXPECT_EQ(open(session, ServerId{2}, {kUid7}), Error::kOk);
  EXPECT_EQ(origin_of(write(session, ServerId{2}, {kUid8})).uid, std::nullopt);
}

TEST_F(LeadershipTest, OnlyAMountNamesAUserBesideTheIdentities) {
  SessionId client = session_of(ServerId{2}, 7), mount{int64_t{2} << 48 | 7};
  for (SessionId session : {client, mount}) {
    EXPECT_EQ(open(session, ServerId{2}), Error::kOk);
    tree::Request made =
        request(OpCode::kSetData, session, tree::set_data_body("/", "x", -1), {kSuper});
    made.user = {1000, "vim"};
    made.identities.push_back({"ip", "10.0.0.7"});
    std::optional<uint32_t> uid = origin_of(prepare(made, ServerId{2})).uid;
    EXPECT_EQ(uid.has_value(), session == mount);
  }
}

TEST_F(LeadershipTest, EverySessionOfTheTreeBeginsWithItsFullTime) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo), Error::kOk);
  now_ms_ += 3'000;
  begin();
  now_ms_ += 2'000;
  EXPECT_FALSE(expires(session_of(kTwo, 5)));
  now_ms_ += 2'000;
  EXPECT_TRUE(expires(session_of(kTwo, 5)));
  EXPECT_FALSE(expires(session_of(kTwo, 5)));
}

TEST_F(LeadershipTest, ARequestRenewsItsSession) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo), Error::kOk);
  now_ms_ += 2'000;
  write(session_of(kTwo, 5), kTwo);
  now_ms_ += 2'000;
  EXPECT_FALSE(expires(session_of(kTwo, 5)));
}

TEST_F(LeadershipTest, OnlyItsOwnServerSetsTheTimeOfASession) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo), Error::kOk);
  ASSERT_EQ(open(session_of(kTwo, 6), kTwo), Error::kOk);
  leadership_->touched_at(kTwo, session_of(kTwo, 5), 20'000, now_ms_);
  leadership_->touched_at(kThree, session_of(kTwo, 6), 20'000, now_ms_);
  now_ms_ += 10'000;
  std::vector<SessionId> expired = leadership_->take_expired(now_ms_);
  EXPECT_EQ(expired, std::vector<SessionId>{session_of(kTwo, 6)});
}

TEST_F(LeadershipTest, NoWordOfAMembersBringsASessionBack) {
  ASSERT_EQ(open(session_of(kTwo, 5), kTwo), Error::kOk);
  ASSERT_EQ(prepare(request(OpCode::kCloseSession, session_of(kTwo, 5), ""), kTwo).error,
            Error::kOk);
  leadership_->touched_at(kTwo, session_of(kTwo, 5), 3'000, now_ms_);
  EXPECT_FALSE(leadership_->touch(session_of(kTwo, 5), now_ms_));
  now_ms_ += 10'000;
  EXPECT_FALSE(expires(session_of(kTwo, 5)));
}

// ---- reaping

TEST_F(LeadershipTest, ReapsContainersThatHaveBecomeEmptyOnceAnInterval) {
  create("/unused", tree::kCreateContainerFlag);
  create("/emptied", tree::kCreateContainerFlag);
  prepare(tree::superuser_request({}, ++cxid_, OpCode::kCreate,
                                  tree::create_body("/emptied/a", "", tree::open_acl(), 0)),
          kMe);
  prepare(
      tree::superuser_request({}, ++cxid_, OpCode::kDelete, tree::delete_body("/emptied/a", -1)),
      kMe);
  EXPECT_TRUE(leadership_->take_to_reap(now_ms_, now_ms_).empty());
  now_ms_ += kReapMs;
  EXPECT_EQ(leadership_->take_to_reap(now_ms_, now_ms_), std::vector<std::string>{"/emptied"});
  EXPECT_TRUE(leadership_->take_to_reap(now_ms_, now_ms_).empty());
  now_ms_ += kReapMs;
  EXPECT_EQ(leadership_->take_to_reap(now_ms_, now_ms_), std::vector<std::string>{"/emptied"});
}

}  // namespace
}  // namespace zabfs::consensus
