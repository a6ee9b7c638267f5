#include "consensus/membership.h"

#include <gtest/gtest.h>

#include "consensus/reconfig.h"
#include "tree/jute.h"
#include "tree/txn.h"
#include "unit/numbers.h"

namespace zabfs::consensus {
namespace {

using tree::Error;

Ensemble of(std::set<int64_t> voters, int64_t version = 0) {
  std::map<ServerId, Member> members;
  for (int64_t id : voters) {
    members[ServerId{id}] = Member{"h" + std::to_string(id), 2888, 3888, false, "0.0.0.0:2181"};
  }
  return Ensemble(std::move(members), version);
}

std::string txn_for(const Ensemble& ensemble) {
  std::string text = ensemble.text(), bytes;
  tree::Txn txn;
  txn.header.type = tree::OpCode::kReconfig;
  txn.header.zxid = Zxid{ensemble.version()};
  txn.body = tree::SetDataTxn{tree::kConfigPath, text, -1};
  encode_txn(txn, bytes);
  return bytes;
}

class MembershipTest : public testing::Test {
 protected:
  void propose(std::set<int64_t> voters, uint32_t counter) {
    Zxid zxid = Zxid::make(1, counter);
    membership_.appended(zxid, txn_for(of(std::move(voters), zxid.value)));
  }
  Membership membership_{of({1, 2, 3})};
};

TEST_F(MembershipTest, WhatIsProposedNeedsQuorumsOfBoth) {
  propose({3, 4, 5}, 7);
  EXPECT_FALSE(membership_.is_quorum(ids({1, 2})));
  EXPECT_FALSE(membership_.is_quorum(ids({3, 4, 5})));
  EXPECT_TRUE(membership_.is_quorum(ids({2, 3, 4})));
  std::map<ServerId, Zxid> reached;
  for (int64_t id : {1, 2, 3}) reached[ServerId{id}] = Zxid::make(1, 9);
  // What is before it is the old configuration's to commit.
  EXPECT_EQ(membership_.quorum_zxid(reached), Zxid::make(1, 6));
  reached[ServerId{5}] = Zxid::make(1, 8);
  EXPECT_EQ(membership_.quorum_zxid(reached), Zxid::make(1, 8));
}

TEST_F(MembershipTest, OnceCommittedItIsAloneInForce) {
  propose({3, 4, 5}, 7);
  EXPECT_FALSE(membership_.committed(Zxid::make(1, 6)));
  EXPECT_TRUE(membership_.committed(Zxid::make(1, 7)));
  EXPECT_TRUE(membership_.is_quorum(ids({4, 5})));
  EXPECT_FALSE(membership_.is_voter(ServerId{1}));
}

TEST_F(MembershipTest, ATruncatedProposalIsForgotten) {
  propose({3, 4, 5}, 7);
  membership_.truncate(Zxid::make(1, 6));
  EXPECT_TRUE(membership_.is_quorum(ids({1, 2})));
}

TEST_F(MembershipTest, ASecondProposalSaysThatTheFirstIsCommitted) {
  propose({1, 2, 3, 4}, 7);
  propose({4, 5}, 9);
  EXPECT_EQ(membership_.in_force().version(), Zxid::make(1, 7).value);
  EXPECT_EQ(membership_.proposed()->version(), Zxid::make(1, 9).value);
}

TEST_F(MembershipTest, OnlyNewerConfigurationsAreAdopted) {
  EXPECT_FALSE(membership_.adopt(of({7, 8, 9}).text()));
  EXPECT_TRUE(membership_.adopt(of({1, 2}, 0x100000001).text()));
  EXPECT_FALSE(membership_.adopt(of({7, 8, 9}, 0x100000001).text()));
}

TEST_F(MembershipTest, WhatIsInForceElsewhereAndNotUnderstoodIsKnownToBe) {
  std::string riddle = "server.1=h1:2888:3888:participant\noracle.1=2\nversion=100000002";
  EXPECT_TRUE(membership_.adopt(riddle));
  EXPECT_FALSE(membership_.adopt(riddle));  // no news
  ASSERT_FALSE(membership_.is_understood());
  EXPECT_EQ(membership_.not_understood()->problem.key, "oracle.1");
  EXPECT_EQ(membership_.not_understood()->version, 0x100000002);
  EXPECT_TRUE(membership_.adopt(of({1, 2}, 0x100000001).text()));  // before it
  EXPECT_FALSE(membership_.is_understood());
  EXPECT_TRUE(membership_.adopt(of({1, 2}, 0x100000003).text()));
  EXPECT_TRUE(membership_.is_understood());
}

TEST_F(MembershipTest, WhatIsInTheLogAndNotUnderstoodCountsUntilItIsTakenBack) {
  Zxid zxid = Zxid::make(1, 7);
  auto append = [this](Zxid at, const std::string& text) {
    std::string bytes;
    tree::Txn txn;
    txn.header.type = tree::OpCode::kReconfig;
    txn.header.zxid = at;
    txn.body = tree::SetDataTxn{tree::kConfigPath, text, -1};
    encode_txn(txn, bytes);
    membership_.appended(at, bytes);
  };
  append(zxid, "server.1=h1:1:2\nserver.1.extra=1\nversion=100000007");
  EXPECT_FALSE(membership_.is_understood());
  membership_.truncate(Zxid::make(1, 6));
  EXPECT_TRUE(membership_.is_understood());
  append(zxid, "no configuration at all");
  EXPECT_TRUE(membership_.committed(zxid));
  EXPECT_FALSE(membership_.is_understood());
  membership_.truncate(Zxid{});  // as when a role ends: what is committed stays
  EXPECT_FALSE(membership_.is_understood());
  propose({1, 2, 3}, 9);
  EXPECT_FALSE(membership_.is_understood());  // it needs a quorum of the one before
  EXPECT_TRUE(membership_.committed(Zxid::make(1, 9)));
  EXPECT_TRUE(membership_.is_understood());
}

TEST_F(MembershipTest, WhoHasNoWeightAnywhereIsWeightless) {
  std::string text = of({1, 2, 3}, 0x100000007).text();
  std::string groups = "group.1=1:2:3\nweight.1=0\n";
  ASSERT_TRUE(membership_.adopt(text.insert(text.find("version="), groups)));
  EXPECT_TRUE(membership_.is_weightless(ServerId{1}));
  EXPECT_FALSE(membership_.is_weightless(ServerId{2}));
  EXPECT_FALSE(membership_.is_weightless(ServerId{9}));  // no voter
  propose({1, 2, 3}, 9);
  EXPECT_FALSE(membership_.is_weightless(ServerId{1}));
}

TEST_F(MembershipTest, ServersThatHaveMovedKeepEverythingButTheirAddresses) {
  auto at = [](const std::string& host, int64_t version) {
    std::string text = of({1, 2, 3}, version).text();
    for (size_t i = 0; (i = text.find("=h", i)) != std::string::npos; i += 2) {
      text.replace(i, 2, "=" + host);
    }
    return *parse_ensemble(text);
  };
  EXPECT_TRUE(membership_.readdress(at("new", 0)).ok());
  EXPECT_FALSE(membership_.is_overridden());  // nothing was committed: zoo.cfg counts
  ASSERT_TRUE(membership_.adopt(of({1, 2, 3}, 0x100000005).text()));
  EXPECT_TRUE(membership_.readdress(at("new", 0)).ok());
  EXPECT_TRUE(membership_.is_overridden());
  EXPECT_EQ(membership_.in_force().version(), 0x100000005);
  EXPECT_EQ(membership_.addresses().at(ServerId{2}).host, "new2");
  EXPECT_EQ(membership_.addresses().at(ServerId{2}).client_address, "0.0.0.0:2181");
  // The leader commits it.
  Zxid zxid = Zxid::make(2, 1);
  membership_.appended(zxid, txn_for(at("new", zxid.value)));
  EXPECT_TRUE(membership_.committed(zxid));
  EXPECT_FALSE(membership_.is_overridden());
  EXPECT_EQ(membership_.in_force().text(), at("new", zxid.value).text());
}

TEST_F(MembershipTest, WhoBeginsAloneIsAQuorumByItselfUntilItsLeaderSaysMore) {
  ASSERT_TRUE(membership_.adopt(of({1, 2, 3}, 0x100000005).text()));
  propose({1, 2, 3, 4}, 9);
  EXPECT_FALSE(membership_.begin_alone(ServerId{7}, of({1, 2, 3})).ok());  // where would it be?
  ASSERT_TRUE(membership_.begin_alone(ServerId{2}, of({1, 2, 3})).ok());
  EXPECT_TRUE(membership_.is_overridden());
  EXPECT_EQ(membership_.voters(), ids({2}));
  EXPECT_TRUE(membership_.is_quorum(ids({2})));
  EXPECT_EQ(membership_.proposed(), nullptr);
  EXPECT_FALSE(membership_.adopt(of({1, 2, 3, 4}, Zxid::make(1, 9).value).text()));
  Zxid zxid = Zxid::make(2, 1);
  membership_.appended(zxid, txn_for(of({2}, zxid.value)));
  EXPECT_TRUE(membership_.committed(zxid));
  EXPECT_FALSE(membership_.is_overridden());
}

TEST_F(MembershipTest, NothingButAddressesMayDifferWhereServersHaveMoved) {
  ASSERT_TRUE(membership_.adopt(of({1, 2, 3}, 0x100000005).text()));
  EXPECT_FALSE(membership_.readdress(of({1, 2})).ok());
  EXPECT_FALSE(membership_.readdress(of({1, 2, 3, 4})).ok());
  for (const char* text : {"server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2:observer\nversion=0",
                           "server.1=a:1:2\nserver.2=b:1:2\n"
                           "server.3=c:1:2\ngroup.1=1:2:3\nversion=0"}) {
    EXPECT_FALSE(membership_.readdress(*parse_ensemble(text)).ok()) << text;
  }
  EXPECT_FALSE(membership_.is_overridden());
}

TEST_F(MembershipTest, HearsayCountsForNoQuorum) {
  EXPECT_EQ(membership_.known_as_proposed(), nullptr);
  EXPECT_TRUE(membership_.hear_of(of({3, 4}, 0x100000001).text()));
  ASSERT_NE(membership_.known_as_proposed(), nullptr);  // and is passed on
  EXPECT_EQ(membership_.known_as_proposed()->version(), 0x100000001);
  EXPECT_FALSE(membership_.hear_of(of({3, 4}, 0x100000001).text()));
  EXPECT_TRUE(membership_.is_voter(ServerId{4}));
  EXPECT_FALSE(membership_.is_quorum(ids({3, 4})));
  EXPECT_TRUE(membership_.is_quorum(ids({1, 2})));
  EXPECT_TRUE(membership_.addresses().contains(ServerId{4}));
}

TEST_F(MembershipTest, TextAndBack) {
  Ensemble ensemble = of({1, 2, 30}, 0xabc);
  std::optional<Ensemble> read = parse_ensemble(ensemble.text());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->text(), ensemble.text());
  EXPECT_FALSE(parse_ensemble("group.1=1:2:3\nversion=1"));
  EXPECT_FALSE(parse_ensemble("version=1"));
  EXPECT_FALSE(parse_ensemble("server.1=[[]:8:4"));
  EXPECT_TRUE(parse_ensemble("server.1=[::1]:8:4"));
}

TEST_F(MembershipTest, AWildcardReplacesNoAddress) {
  auto host_of = [this](int64_t id) { return membership_.addresses().at(ServerId{id}).host; };
  auto listens_everywhere = [](std::set<int64_t> voters, int64_t version) {
    std::map<ServerId, Member> members = of(std::move(voters)).members();
    for (auto& [id, member] : members) member.host = id.value % 2 == 0 ? "0.0.0.0" : "::";
    return Ensemble(std::move(members), version);
  };
  EXPECT_TRUE(membership_.hear_of(listens_everywhere({2, 3}, 0x100000001).text()));
  EXPECT_EQ(host_of(2), "h2");
  EXPECT_TRUE(membership_.adopt(listens_everywhere({2, 3}, 0x100000002).text()));
  EXPECT_EQ(host_of(2), "h2");
  EXPECT_EQ(host_of(3), "h3");
  Zxid zxid = Zxid::make(1, 3);
  membership_.appended(zxid, txn_for(listens_everywhere({2, 3, 4}, zxid.value)));
  EXPECT_TRUE(membership_.committed(zxid));
  EXPECT_EQ(host_of(3), "h3");
  EXPECT_EQ(host_of(4), "0.0.0.0");  // counted, and nobody can dial it
}

struct Request {
  std::optional<std::string> joining, leaving, members;
  int64_t version = -1;
};

class ReconfigTest : public MembershipTest {
 protected:
  Error refusal(const Request& request, std::set<int64_t> synced = {1, 2, 3}) {
    std::string body;
    tree::jute::Writer out(body);
    out.buffer(request.joining);
    out.buffer(request.leaving);
    out.buffer(request.members);
    out.i64(request.version);
    auto planned = plan_reconfig(membership_, limits_, ids(std::move(synced)), body, Zxid{77});
    text_ = planned.ok() ? *planned : "";
    return planned.error();
  }
  ReconfigLimits limits_;
  std::string text_;
};

TEST_F(ReconfigTest, IncrementsAndReplacements) {
  EXPECT_EQ(refusal({"server.4=h4:1:2:observer;3", "1", {}}), Error::kOk);
  EXPECT_EQ(text_,
            "server.2=h2:2888:3888:participant;0.0.0.0:2181\n"
            "server.3=h3:2888:3888:participant;0.0.0.0:2181\n"
            "server.4=h4:1:2:observer;0.0.0.0:3\nversion=4d");
  EXPECT_EQ(refusal({{}, {}, "server.1=h1:1:2;3,server.2=h2:1:2;3\nversion=5"}), Error::kOk);
}

TEST_F(ReconfigTest, GroupsAreGivenAsAWholeAndTakenBackSo) {
  std::string groups = "group.1=1,group.2=2,group.3=3,weight.2=2";
  std::string servers = "server.1=h1:1:2;3,server.2=h2:1:2;3,server.3=h3:1:2;3,";
  EXPECT_EQ(refusal({{}, {}, servers + groups}), Error::kOk);
  EXPECT_EQ(text_.substr(text_.find("group")),
            "group.1=1\ngroup.2=2\ngroup.3=3\nweight.1=1\nweight.2=2\nweight.3=1\nversion=4d");
  EXPECT_EQ(refusal({{}, {}, servers + groups}, {1}), Error::kNewConfigNoQuorum);
  EXPECT_EQ(refusal({{}, {}, servers + "group.1=1:2"}), Error::kBadArguments);
  EXPECT_EQ(refusal({{}, {}, servers + "group.1=1:2:3:4"}), Error::kBadArguments);
  EXPECT_EQ(refusal({{}, {}, servers + "group"}), Error::kBadArguments);
  EXPECT_EQ(refusal({{}, {}, servers + "group.1=1:2:3,weight.1=0,weight.2=0,weight.3=0"}),
            Error::kNewConfigNoQuorum);
  EXPECT_EQ(refusal({{}, {}, servers + groups}), Error::kOk);
  ASSERT_TRUE(membership_.adopt(text_));
  EXPECT_EQ(refusal({"server.4=h4:1:2;3", {}, {}}), Error::kBadArguments);
  EXPECT_EQ(refusal({{}, "1", {}}), Error::kBadArguments);
  EXPECT_EQ(refusal({{}, {}, "server.1=h1:1:2;3,server.2=h2:1:2;3"}), Error::kOk);
}

TEST_F(ReconfigTest, AMemberIsFoundSomewhere) {
  EXPECT_EQ(refusal({"server.4=0.0.0.0:1:2;3", {}, {}}), Error::kBadArguments);
  EXPECT_EQ(refusal({{}, {}, "server.1=[::]:1:2;3,server.2=h2:1:2;3"}), Error::kBadArguments);
  EXPECT_EQ(refusal({"server.4=h4:1:2;0.0.0.0:3", {}, {}}), Error::kOk);  // for clients it may
}

// By the low byte of their servers' numbers, and 0 counts as 254.
TEST_F(ReconfigTest, NoTwoMembersGiveSessionsTheSameNumbers) {
  EXPECT_EQ(refusal({"server.257=h4:1:2;3", {}, {}}), Error::kBadArguments);
  EXPECT_EQ(refusal({"server.0=h4:1:2;3,server.254=h5:1:2;3", {}, {}}), Error::kBadArguments);
  EXPECT_EQ(refusal({"server.0=h4:1:2:observer;3", {}, {}}), Error::kOk);
}

TEST_F(ReconfigTest, TheOrderOfRefusals) {
  Request bad{"nonsense", {}, {}, 5};
  limits_.standalone = true;
  EXPECT_EQ(refusal(bad), Error::kUnimplemented);
  limits_.standalone = false;
  EXPECT_EQ(refusal(bad), Error::kBadVersion);
  bad.version = -1;
  EXPECT_EQ(refusal(bad), Error::kBadArguments);
  EXPECT_EQ(refusal({{}, "1,2", {}}), Error::kBadArguments);  // one voter
  EXPECT_EQ(refusal({{}, {}, "server.8=h:1:2;3,server.9=g:1:2;3"}), Error::kNewConfigNoQuorum);
  EXPECT_EQ(refusal({"server.4=h4:1:2;3", {}, {}}, {1, 2}), Error::kNewConfigNoQuorum);
  EXPECT_EQ(refusal({"server.4=h4:1:2", {}, {}}), Error::kBadArguments);       // no client port
  EXPECT_EQ(refusal({"server.4=h1:2888:9;3", {}, {}}), Error::kBadArguments);  // server 1's port
  propose({1, 2, 3, 4}, 7);
  EXPECT_EQ(refusal({{}, "3", {}}), Error::kReconfigInProgress);
}

}  // namespace
}  // namespace zabfs::consensus
