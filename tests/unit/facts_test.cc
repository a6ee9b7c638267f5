#include "fsd/wire/facts.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace zabfs::fsd::wire {
namespace {

template <class Fact>
std::string line_of(const std::vector<Fact>& facts) {
  std::string line;
  for (const Fact& fact : facts) line += std::string(fact.name) + "=" + text_of(fact.value) + " ";
  return line;
}

TEST(Facts, AreWrittenAsZooKeeperWritesThem) {
  EXPECT_EQ(text_of(int32_t{-1}), "-1");
  EXPECT_EQ(text_of(uint64_t{17}), "17");
  EXPECT_EQ(text_of(0.25), "0.2500");
  EXPECT_EQ(text_of(std::string("leader")), "leader");
  EXPECT_EQ(text_of(int32_t{-1}, true), "0xffffffff");
  EXPECT_EQ(text_of(int64_t{-1}, true), "0xffffffffffffffff");
  EXPECT_EQ(text_of(std::string("PING"), true), "PING");
}

TEST(Facts, OnlyALeaderTellsOfItsFollowers) {
  ServerFacts facts;
  facts.state = "follower";
  facts.synced_followers = 2;
  EXPECT_TRUE(monitored_leader_facts(facts).empty());
  facts.state = "leader";
  EXPECT_EQ(line_of(monitored_leader_facts(facts)), "learners=2 synced_followers=2 ");
}

TEST(Facts, AServerTellsAllThatMonitorsAskFor) {
  ServerFacts facts;
  facts.state = "standalone";
  facts.received = 3;
  facts.sent = 4;
  facts.latency_ms_avg = 1.5;
  std::string line = line_of(monitored_facts(facts));
  EXPECT_EQ(line.find("version=3.8.0-zabfs"), 0u);
  for (const char* part : {" server_state=standalone ", " packets_received=3 packets_sent=4 ",
                           " avg_latency=1.5000 ", " local_sessions=0 ", " quorum_size=0 "}) {
    EXPECT_NE(line.find(part), std::string::npos) << part << " in " << line;
  }
}

TEST(Facts, AConnectionWithoutASessionTellsOfNone) {
  ConnectionFacts facts;
  EXPECT_TRUE(session_facts(facts).empty());
  facts.session = tree::SessionId{0x1f};
  facts.last_op = "PING";
  facts.last_cxid = -1;
  std::string text;
  for (const ConnectionFact& fact : session_facts(facts)) {
    text += "," + std::string(fact.short_name) + "=" + text_of(fact.value, fact.is_hex);
  }
  EXPECT_EQ(text,
            ",sid=0x1f,lop=PING,est=0,to=0,lcxid=0xffffffff,lzxid=0x0,lresp=0,llat=0,minlat=0,"
            "avglat=0,maxlat=0");
}

}  // namespace
}  // namespace zabfs::fsd::wire
