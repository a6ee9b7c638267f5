#include "fsd/wire/facts.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fsd/wire/words.h"

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
  facts.synced_voters = 3;
  EXPECT_TRUE(monitored_leader_facts(facts).empty());
  facts.state = "leader";
  EXPECT_EQ(line_of(monitored_leader_facts(facts)), "learners=2 synced_followers=2 ");
}

// Monitors take it apart by its lines.
TEST(Facts, SrvrIsWrittenAsZooKeeperWritesIt) {
  ServerFacts facts;
  facts.state = "leader";
  facts.zxid = tree::Zxid{0x10000001f};
  facts.znodes = 5;
  facts.received = 3;
  facts.sent = 4;
  facts.connections = 2;
  facts.outstanding = 1;
  facts.latency_ms_avg = 0.25;
  facts.latency_ms_max = 7;
  std::string expected = std::string("Zookeeper version: ") + kServerVersion +
                         "\nLatency min/avg/max: 0/0.2500/7\nReceived: 3\nSent: 4\n"
                         "Connections: 2\nOutstanding: 1\nZxid: 0x10000001f\nMode: leader\n"
                         "Node count: 5\n";
  EXPECT_EQ(srvr_text(facts), expected + "Proposal sizes last/min/max: -1/-1/-1\n");
  facts.state = "observer";
  EXPECT_NE(srvr_text(facts).find("Mode: observer\nNode count: 5\n"), std::string::npos);
  EXPECT_EQ(srvr_text(facts).find("Proposal"), std::string::npos);
}

TEST(Facts, MetricsAreWrittenForPrometheus) {
  NodeFacts node;
  node.serving = true;
  node.epoch = 3;
  node.zxid = tree::Zxid{0x300000001};
  node.znodes = 5;
  node.sessions = 2;
  node.pending = 1;
  node.synced_voters = 3;
  std::string text = prometheus_text(node_metrics(node, {4'096, 0.5}));
  EXPECT_EQ(text,
            "# HELP zabfs_quorum 1 if this node serves with a quorum\n"
            "# TYPE zabfs_quorum gauge\nzabfs_quorum 1\n"
            "# HELP zabfs_leader 1 if this node leads\n"
            "# TYPE zabfs_leader gauge\nzabfs_leader 0\n"
            "# HELP zabfs_epoch The epoch this node is in\n"
            "# TYPE zabfs_epoch gauge\nzabfs_epoch 3\n"
            "# HELP zabfs_zxid The last transaction applied\n"
            "# TYPE zabfs_zxid counter\nzabfs_zxid 12884901889\n"
            "# HELP zabfs_znodes Znodes in the tree\n"
            "# TYPE zabfs_znodes gauge\nzabfs_znodes 5\n"
            "# HELP zabfs_sessions Sessions of the ensemble\n"
            "# TYPE zabfs_sessions gauge\nzabfs_sessions 2\n"
            "# HELP zabfs_requests_pending Writes of this node under way\n"
            "# TYPE zabfs_requests_pending gauge\nzabfs_requests_pending 1\n"
            "# HELP zabfs_synced_voters Voters that the leader has with it, itself included\n"
            "# TYPE zabfs_synced_voters gauge\nzabfs_synced_voters 3\n"
            "# HELP zabfs_disk_full 1 if the disk of the log is full\n"
            "# TYPE zabfs_disk_full gauge\nzabfs_disk_full 0\n"
            "# HELP zabfs_resident_memory_bytes Memory of this process\n"
            "# TYPE zabfs_resident_memory_bytes gauge\nzabfs_resident_memory_bytes 4096\n"
            "# HELP zabfs_cpu_seconds_total CPU time of this process\n"
            "# TYPE zabfs_cpu_seconds_total counter\nzabfs_cpu_seconds_total 0.5\n");
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
