#include "consensus/ensemble.h"

#include <gtest/gtest.h>

#include <variant>

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

TEST(Ensemble, TextIsZooKeepers) {
  EXPECT_EQ(three_and_an_observer().text(),
            "server.1=h1:2888:3888:participant\nserver.2=h2:2888:3888:participant\n"
            "server.3=h3:2888:3888:participant\nserver.4=h4:2888:3888:observer\nversion=100000000");
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
