#include "consensus/ensemble.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "unit/numbers.h"

namespace zabfs::consensus {
namespace {

Ensemble three_and_an_observer() {
  std::map<ServerId, Member> members;
  for (int64_t i = 1; i <= 4; ++i) {
    members[ServerId{i}] = Member{"h" + std::to_string(i), 2888, 3888, i == 4, ""};
  }
  return Ensemble(members, 0x100000000);
}

TEST(Ensemble, QuorumsAreMajoritiesOfVoters) {
  Ensemble ensemble = three_and_an_observer();
  EXPECT_FALSE(ensemble.is_quorum({ServerId{1}, ServerId{4}}));
  EXPECT_TRUE(ensemble.is_quorum({ServerId{1}, ServerId{3}}));
  EXPECT_FALSE(ensemble.is_quorum({ServerId{1}, ServerId{77}}));
  EXPECT_EQ(ensemble.quorum_zxid(
                {{ServerId{1}, Zxid{9}}, {ServerId{2}, Zxid{5}}, {ServerId{4}, Zxid{9}}}),
            Zxid{5});
  EXPECT_EQ(ensemble.quorum_zxid({{ServerId{1}, Zxid{9}}}), Zxid{});
}

TEST(Ensemble, AMemberWithoutAVoteIsStillThatMember) {
  for (int64_t number : {0, 1, 255}) {
    EXPECT_EQ(member_of(without_vote(ServerId{number})), ServerId{number});
    EXPECT_EQ(member_of(ServerId{number}), ServerId{number});
  }
}

TEST(Ensemble, TextIsZooKeepers) {
  EXPECT_EQ(three_and_an_observer().text(),
            "server.1=h1:2888:3888:participant\nserver.2=h2:2888:3888:participant\n"
            "server.3=h3:2888:3888:participant\nserver.4=h4:2888:3888:observer\nversion=100000000");
}

// Groups of three as in ZooKeeper's documentation, with some weights.
std::string nine(const std::string& hierarchy) {
  std::string text;
  for (int i = 1; i <= 9; ++i) {
    text += "server." + std::to_string(i) + "=h" + std::to_string(i) + ":2888:3888:participant\n";
  }
  return text + hierarchy + "version=5";
}

std::string wrong_key(const std::string& text) {
  auto read = read_ensemble(text);
  auto* error = std::get_if<EnsembleError>(&read);
  return error == nullptr ? "" : error->key;
}

TEST(Ensemble, WithGroupsAQuorumIsAMajorityInAMajorityOfThem) {
  auto ensemble = parse_ensemble(nine("group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\n"));
  ASSERT_TRUE(ensemble);
  EXPECT_TRUE(ensemble->is_quorum(ids({1, 2, 4, 5})));
  EXPECT_FALSE(ensemble->is_quorum(ids({1, 2, 3, 4, 7})));         // one group
  EXPECT_FALSE(ensemble->is_quorum(ids({1, 4, 7})));               // a third of each
  EXPECT_FALSE(ensemble->is_quorum(ids({1, 2, 3, 4, 7, 10, 0})));  // strangers
  std::map<ServerId, Zxid> reached;
  for (int64_t i = 1; i <= 9; ++i) reached[ServerId{i}] = Zxid{100 + i};
  EXPECT_EQ(ensemble->quorum_zxid(reached), Zxid{105});  // of 8 9, 5 6
  for (int64_t i : {5, 6, 8, 9}) reached.erase(ServerId{i});
  EXPECT_EQ(ensemble->quorum_zxid(reached), Zxid{});
}

// The largest number of which every choice may go: by trying them all.
std::optional<size_t> may_lose_by_trial(const Ensemble& ensemble, const std::set<ServerId>& here) {
  std::vector<ServerId> all(here.begin(), here.end());
  size_t least = all.size() + 1;  // whose loss is too much
  for (uint32_t lost = 0; lost < (1u << all.size()); ++lost) {
    std::set<ServerId> left;
    for (size_t i = 0; i < all.size(); ++i) {
      if ((lost >> i & 1) == 0) left.insert(all[i]);
    }
    if (!ensemble.is_quorum(left)) least = std::min(least, all.size() - left.size());
  }
  return least == 0 ? std::nullopt : std::optional<size_t>(least - 1);
}

TEST(Ensemble, SaysHowManyMayBeLost) {
  Ensemble ensemble = three_and_an_observer();
  EXPECT_EQ(ensemble.may_lose(ids({1, 2, 3, 4})), 1u);
  EXPECT_EQ(ensemble.may_lose(ids({1, 3, 4})), 0u);
  EXPECT_EQ(ensemble.may_lose(ids({1, 4})), std::nullopt);
  for (const char* hierarchy :
       {"group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\n",
        "group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\nweight.1=3\nweight.2=1\nweight.7=0\n"
        "weight.8=0\nweight.9=0\n",
        "group.1=1:2\ngroup.2=3\ngroup.3=4:5:6:7:8:9\nweight.4=9\nweight.5=5\n", ""}) {
    auto of_nine = parse_ensemble(nine(hierarchy));
    ASSERT_TRUE(of_nine);
    for (int64_t gone = 0; gone < 512; gone += 7) {
      std::set<ServerId> here;
      for (int64_t i = 0; i < 9; ++i) {
        if ((gone >> i & 1) == 0) here.insert(ServerId{i + 1});
      }
      EXPECT_EQ(of_nine->may_lose(here), may_lose_by_trial(*of_nine, here)) << hierarchy << gone;
    }
  }
}

TEST(Ensemble, WeightsDecideInAGroupAndAGroupWithoutAnyDoesNotCount) {
  auto ensemble =
      parse_ensemble(nine("group.1=1:2:3\ngroup.2=4:5:6\ngroup.3=7:8:9\n"
                          "weight.1=3\nweight.2=1\nweight.7=0\nweight.8=0\nweight.9=0\n"));
  ASSERT_TRUE(ensemble);
  EXPECT_EQ(ensemble->weight(ServerId{1}), 3);
  EXPECT_EQ(ensemble->weight(ServerId{4}), 1);
  EXPECT_EQ(ensemble->weight(ServerId{7}), 0);
  EXPECT_TRUE(ensemble->is_quorum(ids({1, 4, 5})));
  EXPECT_FALSE(ensemble->is_quorum(ids({2, 3, 4, 5, 6})));
  EXPECT_FALSE(ensemble->is_quorum(ids({1, 2, 3, 7, 8, 9})));  // one of two groups
  EXPECT_TRUE(ensemble->can_have_quorum());
}

TEST(Ensemble, ExactlyHalfOfTheWeightOrOfTheGroupsIsNoQuorum) {
  std::string servers =
      "server.1=a:1:2:participant\nserver.2=b:1:2:participant\n"
      "server.3=c:1:2:participant\nserver.4=d:1:2:participant\n";
  auto ensemble = parse_ensemble(servers + "group.1=1:2\ngroup.2=3:4\nversion=1");
  ASSERT_TRUE(ensemble);
  EXPECT_FALSE(ensemble->is_quorum(ids({1, 3, 4})));
  EXPECT_FALSE(ensemble->is_quorum(ids({1, 2})));
  EXPECT_TRUE(ensemble->is_quorum(ids({1, 2, 3, 4})));
  auto weightless = parse_ensemble(
      servers + "group.1=1:2:3:4\nweight.1=0\nweight.2=0\nweight.3=0\nweight.4=0\nversion=1");
  ASSERT_TRUE(weightless);
  EXPECT_FALSE(weightless->is_quorum(ids({1, 2, 3, 4})));
  EXPECT_FALSE(weightless->can_have_quorum());
}

TEST(Ensemble, AnObserverWithAWeightMakesItsGroupHarderToWinAsInJava) {
  auto ensemble = parse_ensemble(
      "server.1=a:1:2:participant\nserver.2=b:1:2:observer\n"
      "group.1=1:2\nweight.1=1\nweight.2=1\nversion=1");
  ASSERT_TRUE(ensemble);
  EXPECT_FALSE(ensemble->is_quorum(ids({1, 2})));
}

TEST(Ensemble, GroupsAndWeightsAreWrittenAsJavaWritesThem) {
  std::string text =
      "server.1=a:1:2:participant\nserver.2=b:1:2:participant;0.0.0.0:2181\n"
      "server.3=c:1:2:observer\n"
      "group.1=1\ngroup.2=2:3\nweight.1=1\nweight.2=4\nweight.3=0\nversion=1f";
  auto ensemble = parse_ensemble(text);
  ASSERT_TRUE(ensemble);
  EXPECT_EQ(ensemble->text(), text);
  // A weight that is not given is 1.
  auto shorter = parse_ensemble("server.1=a:1:2:participant\ngroup.9=1\nversion=1");
  ASSERT_TRUE(shorter);
  EXPECT_EQ(shorter->text(), "server.1=a:1:2:participant\ngroup.9=1\nweight.1=1\nversion=1");
}

TEST(Ensemble, WhatIsNotUnderstoodIsRefusedWithItsKey) {
  std::string groups = "group.1=1:2:3\ngroup.2=4:5:6\n";
  EXPECT_EQ(wrong_key(nine(groups)), "server.7");  // in no group
  EXPECT_EQ(wrong_key(nine(groups + "group.3=7:8:9:3\n")), "group.3");
  EXPECT_EQ(wrong_key(nine(groups + "group.3=7:8:9:10\n")), "group.3");
  EXPECT_EQ(wrong_key(nine(groups + "group.2=7:8:9\n")), "group.2");
  // As for Java, the weight of nobody counts for nothing.
  EXPECT_EQ(wrong_key(nine(groups + "group.3=7:8:9\nweight.10=1\n")), "");
  EXPECT_EQ(wrong_key(nine("weight.1=2\n")), "server.1");
  for (const char* bad :
       {"group.3=", "group.3=7:8:9:", "group.3=7,8,9", "group.x=7:8:9", "group3=7:8:9",
        "groups=7:8:9", "weight.7=-1", "weight.7=", "weight.7=1.5", "weight.7=99999999999",
        "weights=1", "oracle=/tmp", "nonsense"}) {
    EXPECT_NE(wrong_key(nine(groups + bad + "\n")), "") << bad;
  }
  EXPECT_NE(wrong_key("version=1"), "");
  EXPECT_EQ(wrong_key(nine(groups + "group.3=7:8:9\n")), "");
}

TEST(Ensemble, MembersAreParsedInAllForms) {
  auto parsed = [](const char* text) { return std::get<Member>(parse_member(text)); };
  EXPECT_EQ(parsed("h:1:2").host, "h");
  EXPECT_TRUE(parsed("h:1:2:observer").observer);
  EXPECT_EQ(parsed("h:1:2;2181").client_address, "0.0.0.0:2181");
  EXPECT_EQ(parsed("[::1]:1:2:participant;10.0.0.1:2181").host, "::1");
  for (const char* bad : {"", "h", "h:1", "h:1:1", "h:1:x", "h:0:2", "[::1:1:2", "h:1:2:king",
                          "h:1:2;x", "h:1:2:observer:more"}) {
    EXPECT_TRUE(std::holds_alternative<MemberError>(parse_member(bad))) << bad;
  }
}

}  // namespace
}  // namespace zabfs::consensus
