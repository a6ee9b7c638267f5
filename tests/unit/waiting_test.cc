#include "consensus/waiting.h"

#include <gtest/gtest.h>

#include "consensus/claims.h"

namespace zabfs::consensus {
namespace {

Ensemble of(const std::string& host, int64_t version = 0) {
  std::map<ServerId, Member> members;
  for (int64_t i = 1; i <= 3; ++i) {
    members[ServerId{i}] = Member{host + std::to_string(i), 2888, 3888, false, ""};
  }
  return Ensemble(std::move(members), version);
}

class WaitingTest : public testing::Test {
 protected:
  WaitingTest() {
    waiting_.me = ServerId{1};
    waiting_.configured = of("h");
    waiting_.membership = Membership(waiting_.configured);
  }
  // All of it.
  std::string text() const {
    std::string all;
    for (const std::string& sentence : sentences(waiting_)) all += sentence + "\n";
    return all;
  }
  bool says(const std::string& part) const { return text().find(part) != std::string::npos; }

  Waiting waiting_;
};

TEST_F(WaitingTest, NothingIsSaidWhereNothingIsAmiss) {
  waiting_.serving = true;
  EXPECT_EQ(text(), "");
  waiting_.serving = false;  // an election that is about to end
  waiting_.heard = {ServerId{2}, ServerId{3}};
  EXPECT_EQ(text(), "");
}

TEST_F(WaitingTest, ThatANodeIsNoMemberWhileItServes) {
  waiting_.serving = true;
  waiting_.me = ServerId{4};
  EXPECT_TRUE(says("no member: the configuration 0x0 does not list server 4"));
  EXPECT_TRUE(says("`zabfs members add 4 "));
  waiting_.membership = Membership(Ensemble());  // it is alone
  EXPECT_EQ(text(), "");
}

TEST_F(WaitingTest, HowTheFileDiffersFromWhatIsCommitted) {
  EXPECT_EQ(difference(waiting_), "");
  Ensemble committed = of("h", 0x100000005);
  waiting_.membership = Membership(committed);
  EXPECT_EQ(difference(waiting_), "");
  std::map<ServerId, Member> members = committed.members();
  members.erase(ServerId{1});
  members[ServerId{2}].observer = true;
  members[ServerId{3}].host = "elsewhere";
  members[ServerId{4}] = Member{"h4", 2888, 3888, false, ""};
  waiting_.membership = Membership(Ensemble(std::move(members), 0x100000007));
  EXPECT_EQ(difference(waiting_),
            "zoo.cfg differs from the committed configuration 0x100000007, which counts: server 4 "
            "is missing; server 1 is no member; server 2, server 3 has another role or address. A "
            "node that loses its disk has only zoo.cfg: change it");
}

TEST_F(WaitingTest, WhoIsMissingForAQuorum) {
  EXPECT_TRUE(says("no word from server 2 (h2:2888:3888), server 3 (h3:2888:3888); without some"));
  waiting_.heard = {ServerId{3}};
  EXPECT_TRUE(says("no word from server 2 (h2:2888:3888); the others are enough"));
  waiting_.has_vote = false;
  EXPECT_TRUE(says("no word from server 2 (h2:2888:3888); without some"));
}

TEST_F(WaitingTest, WhoIsMissingForANewEnsembleAndHowToBeginWithoutThem) {
  waiting_.has_vote = false;
  waiting_.is_empty = true;
  waiting_.heard = waiting_.seen_empty = {ServerId{2}};
  EXPECT_TRUE(
      says("a new ensemble begins once all its voters have been seen empty; missing: "
           "server 3 (h3:2888:3888)"));
  EXPECT_TRUE(says("`initialize`"));
  waiting_.begins_by_itself = false;
  EXPECT_TRUE(says("db.autocreate is false"));
  waiting_.heard.insert(ServerId{3});
  EXPECT_TRUE(says("server 3 (h3:2888:3888) is there and not empty"));
}

TEST_F(WaitingTest, AddressesThatWhatIsCommittedOverrules) {
  ASSERT_TRUE(waiting_.membership.adopt(of("old", 0x100000005).text()));
  EXPECT_TRUE(
      says("the committed configuration 0x100000005 has server 1 at old1:2888:3888, and "
           "zoo.cfg at h1:2888:3888, server 2 at"));
  EXPECT_TRUE(says("--readdress"));
  waiting_.serving = true;
  EXPECT_EQ(text(), "");
}

TEST_F(WaitingTest, ConfigurationsThatContradict) {
  waiting_.heard = waiting_.other_voters = {ServerId{2}};
  EXPECT_TRUE(says("server 2 (h2:2888:3888) has other voters, groups or weights"));
  EXPECT_TRUE(says("than this node (1 2 3)"));
}

TEST_F(WaitingTest, AConfigurationThatIsNotUnderstood) {
  ASSERT_TRUE(waiting_.membership.adopt("oracle=1\nversion=100000005"));
  waiting_.serving = true;  // as an observer
  EXPECT_TRUE(
      says("this node has no vote: it does not understand oracle of the configuration "
           "0x100000005"));
}

TEST(Claims, TwoServersWithOneNumberAreToldOfNowAndThen) {
  Claims claims;
  ServerId me{1}, two{2};
  Claims::Claim a{"10.0.0.2", "3888"}, b{"10.0.0.9", "3888"};
  EXPECT_FALSE(claims.hello(0, me, two, a, nullptr));
  EXPECT_FALSE(claims.hello(1'000, me, two, a, &a));  // it connects anew
  EXPECT_FALSE(claims.hello(2'000, me, two, b, &a));  // it may have moved
  EXPECT_FALSE(claims.hello(3'000, me, two, a, &b));
  auto told = claims.hello(4'000, me, two, b, &a);
  ASSERT_TRUE(told);
  EXPECT_NE(told->find("two servers say that they are server 2, one at 10.0.0.2"),
            std::string::npos);
  EXPECT_FALSE(claims.hello(5'000, me, two, a, &b));  // not a flood
  EXPECT_TRUE(claims.hello(15'000, me, two, a, &b));
  EXPECT_FALSE(claims.hello(90'000, me, two, b, &a));  // long ago
}

TEST(Claims, AServerWithThisNodesOwnNumberIsToldOfAtOnce) {
  Claims claims;
  ServerId me{1};
  auto told = claims.hello(0, me, me, {"10.0.0.9", "3888"}, nullptr);
  ASSERT_TRUE(told);
  EXPECT_NE(told->find("10.0.0.9 with election port 3888 says that it is server 1, as this node"),
            std::string::npos);
  EXPECT_FALSE(claims.hello(1'000, me, me, {"10.0.0.9", "3888"}, nullptr));
}

}  // namespace
}  // namespace zabfs::consensus
