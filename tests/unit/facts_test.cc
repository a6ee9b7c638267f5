#include "fsd/wire/facts.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fsd/facts/health.h"
#include "fsd/facts/registry.h"
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
  facts.proposal_bytes.note(40);
  facts.proposal_bytes.note(30);
  EXPECT_EQ(srvr_text(facts), expected + "Proposal sizes last/min/max: 30/30/40\n");
  facts.state = "observer";
  EXPECT_NE(srvr_text(facts).find("Mode: observer\nNode count: 5\n"), std::string::npos);
  EXPECT_EQ(srvr_text(facts).find("Proposal"), std::string::npos);
}

Registry with(Metrics metrics) {
  Registry registry;
  registry.add([metrics = std::move(metrics)](Metrics& into) {
    into.insert(into.end(), metrics.begin(), metrics.end());
  });
  return registry;
}

consensus::Durations two_durations() {
  consensus::Histogram histogram;
  histogram.note(2'000);
  histogram.note(5'000);
  return histogram.durations();
}

TEST(Registry, WhatIsOfTheClusterIsGatheredWithAllTheOthersAndByItself) {
  Registry registry = with({own_gauge("quorum", 1, "")});
  registry.add_of_cluster(
      [](Metrics& into) { into.push_back(own_gauge("disk_free_bytes", 5, "")); });
  EXPECT_EQ(registry.gather().size(), 2u);
  Metrics some = registry.gather_of_cluster();
  ASSERT_EQ(some.size(), 1u);
  EXPECT_EQ(some[0].name, "disk_free_bytes");
}

TEST(Registry, PrometheusIsToldEachNameOnceWithAllItsLabels) {
  Registry registry =
      with({own_gauge("member_zxid", 5, "What it has", {{"member", "1"}}),
            zookeeper_value("znode_count", uint64_t{7}, "Znodes"), own_counter("lost", 3, "Lost"),
            own_gauge("member_zxid", 6, "What it has", {{"member", "2"}}),
            zookeeper_value("server_state", std::string("leader"), "")});
  EXPECT_EQ(registry.text(),
            "# HELP zabfs_member_zxid What it has\n# TYPE zabfs_member_zxid gauge\n"
            "zabfs_member_zxid{member=\"1\"} 5\nzabfs_member_zxid{member=\"2\"} 6\n"
            "# HELP znode_count Znodes\n# TYPE znode_count untyped\nznode_count 7\n"
            "# HELP zabfs_lost_total Lost\n# TYPE zabfs_lost_total counter\nzabfs_lost_total 3\n");
}

TEST(Registry, DurationsAreHistogramsOfOursAndSummariesOfZooKeepers) {
  std::string text = with({own_durations("fsync", two_durations(), "Ours")}).text();
  EXPECT_NE(text.find("# TYPE zabfs_fsync_seconds histogram\n"), std::string::npos) << text;
  EXPECT_NE(text.find("zabfs_fsync_seconds_count 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("zabfs_fsync_seconds_sum 0.007"), std::string::npos) << text;
  EXPECT_NE(text.find("_bucket{le=\"0.0025"), std::string::npos) << text;
  EXPECT_NE(text.find("_bucket{le=\"+Inf\"} 2\n"), std::string::npos) << text;
  text = with({zookeeper_durations("fsynctime", two_durations(), "Theirs")}).text();
  EXPECT_NE(text.find("# TYPE fsynctime summary\n"), std::string::npos) << text;
  EXPECT_NE(text.find("fsynctime_sum 7\n"), std::string::npos) << text;
  EXPECT_NE(text.find("fsynctime{quantile=\"0.9"), std::string::npos) << text;
}

TEST(Registry, MonitorsAreToldDurationsAsZooKeeperDoes) {
  Registry registry = with({zookeeper_durations("fsynctime", two_durations(), ""),
                            zookeeper_durations("readlatency", two_durations(), "", true),
                            zookeeper_value("commit_count", 4, "")});
  std::string line = line_of(registry.zookeeper_facts());
  EXPECT_EQ(line.find("avg_fsynctime=3.5000 min_fsynctime=2 max_fsynctime=5 cnt_fsynctime=2 "
                      "sum_fsynctime=7 avg_readlatency=3.5000"),
            0u)
      << line;
  for (const char* part : {" p50_readlatency=3 ", " p999_readlatency=5 ", " commit_count=4 "}) {
    EXPECT_NE(line.find(part), std::string::npos) << part << " in " << line;
  }
  EXPECT_EQ(line.find("p50_fsynctime"), std::string::npos);
  EXPECT_EQ(line.find("commit_count=0"), std::string::npos);
}

TEST(Registry, WhatIsNotMeasuredIsToldToMonitorsAsNothingAndToPrometheusNotAtAll) {
  Registry registry;
  std::string line = line_of(registry.zookeeper_facts());
  for (const char* part : {" dead_watchers_queued=0 ", " avg_jvm_pause_time_ms=0.0000 ",
                           " cnt_jvm_pause_time_ms=0 ", " p99_jvm_pause_time_ms=0 "}) {
    EXPECT_NE(line.find(part), std::string::npos) << part << " in " << line;
  }
  EXPECT_EQ(registry.text(), "");
}

TEST(Health, AMemberOfAnEarlierEpochIsBehindByAllOfThisOne) {
  EXPECT_EQ(lag_txns(tree::Zxid{0x200000005}, tree::Zxid{0x200000005}), 0u);
  EXPECT_EQ(lag_txns(tree::Zxid{0x200000005}, tree::Zxid{0x200000007}), 0u);
  EXPECT_EQ(lag_txns(tree::Zxid{0x200000005}, tree::Zxid{0x200000001}), 4u);
  EXPECT_EQ(lag_txns(tree::Zxid{0x200000005}, tree::Zxid{0x1000000ff}), 5u);
}

TEST(Health, ANodeThatCantBeGivenWorkSaysWhy) {
  Health health;
  EXPECT_EQ(health.why_not_ready(), "this node has no quorum");
  health.serving = true;
  EXPECT_EQ(health.why_not_ready(), "");
  EXPECT_TRUE(health.is_whole());
  health.lost.push_back(tree::ServerId{2});
  EXPECT_EQ(health.why_not_ready(), "");
  EXPECT_FALSE(health.is_whole());
  health.disk_full = true;
  EXPECT_EQ(health.why_not_ready(), "a disk of this node is full");
}

TEST(Facts, AServerTellsAllThatMonitorsAskFor) {
  ServerFacts facts;
  facts.received = 3;
  facts.sent = 4;
  facts.latency_ms_avg = 1.5;
  ServerStats stats;
  stats.times.note(tree::OpCode::kGetData, 1'000, 2);
  stats.times.note(tree::OpCode::kCreate2, 7'000, 1);
  stats.times.note(static_cast<tree::OpCode>(77'777), 9'000, 1);
  stats.note_answer_bytes(30);
  stats.note_answer_bytes(20);
  Registry registry;
  registry.add([&](Metrics& into) { add_client_metrics(facts, stats, into); });
  std::string line = line_of(registry.zookeeper_facts());
  EXPECT_EQ(line.find("version=3.8.0-zabfs"), 0u);
  for (const char* part :
       {" packets_received=3 packets_sent=4 ", " avg_latency=1.5000 ", " local_sessions=0 ",
        " cnt_readlatency=3 ", " max_updatelatency=7 ", " last_client_response_size=20 ",
        " min_client_response_size=20 ", " max_client_response_size=30 "}) {
    EXPECT_NE(line.find(part), std::string::npos) << part << " in " << line;
  }
  std::string text = registry.text();
  for (const char* part : {"_count{kind=\"getData\"} 2\n", "_count{kind=\"create\"} 1\n",
                           "_count{kind=\"other\"} 1\n"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " in " << text;
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
            ",sid=0x1f,lop=PING,est=0,to=0,lzxid=0x0,lresp=0,llat=0,minlat=0,avglat=0,maxlat=0");
}

}  // namespace
}  // namespace zabfs::fsd::wire
