#include "fsd/config/config.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

#include "fsd/config/keys.h"
#include "fsd/config/reader.h"
#include "fsd/config/redacted.h"

namespace zabfs::fsd {
namespace {

class ConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/zabfs-config-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string load(const std::string& text) {
    std::ofstream(directory_ + "/zoo.cfg") << "dataDir=" << directory_ << "\n" << text;
    StatusOr<Config> loaded = load_config(directory_ + "/zoo.cfg");
    if (loaded.ok()) config_ = *loaded;
    return loaded.why();
  }
  std::string directory_;
  Config config_;
};

TEST_F(ConfigTest, ReadsZooKeepersAndOurKeys) {
  std::ofstream(directory_ + "/myid") << "2\n";
  EXPECT_EQ(load("# comment\ntickTime = 500\ninitLimit=7\nclientPort=2181\n"
                 "server.1=a:1:2\nserver.2=b:3:4:participant;2181\nserver.3=c:5:6:observer\n"
                 "zabfs.mount=/zab\nzabfs.uid=12\nzabfs.rootMode=1777\nzabfs.quorumGrace=100\n"),
            "");
  const consensus::ZabConfig& zab = config_.host.replica.zab;
  EXPECT_EQ(zab.tick_ms, 500);
  EXPECT_EQ(zab.init_limit, 7);
  EXPECT_EQ(zab.me.value, 2);
  EXPECT_EQ(zab.ensemble.voter_count(), 2u);
  EXPECT_EQ(config_.mount.point, "/zab");
  EXPECT_EQ(config_.mount.uid, 12u);
  EXPECT_EQ(config_.mount.root_mode, 01777u);
  EXPECT_EQ(config_.mount.quorum_grace_ms, 100);
  EXPECT_TRUE(config_.warnings.empty());
}

TEST_F(ConfigTest, UnknownKeysAreWarningsWithTheirLine) {
  EXPECT_EQ(load("someKey=1\n"), "");
  ASSERT_EQ(config_.warnings.size(), 1u);
  EXPECT_NE(config_.warnings[0].find("zoo.cfg:2: unknown key someKey"), std::string::npos);
}

TEST_F(ConfigTest, TheLogsLevelIsOneOfThoseThatTheErrorNames) {
  EXPECT_EQ(load(""), "");
  EXPECT_EQ(config_.log_level, spdlog::level::info);
  EXPECT_EQ(load("zabfs.log.level=warning\n"), "");
  EXPECT_EQ(config_.log_level, spdlog::level::warn);
  for (const char* level : {"verbose", "WARN", ""}) {
    EXPECT_NE(load(std::string("zabfs.log.level=") + level + "\n")
                  .find("is none of debug, info, warning, error"),
              std::string::npos);
  }
}

TEST(Redacted, NoSecretAndNoUnknownValueIsShown) {
  std::istringstream in(
      "# ssl.keyStore.password=in a comment\ntickTime=500\nssl.keyStore.location=/k\n"
      "ssl.keyStore.password = hidden\nssl.quorum.trustStore.passwordPath=hidden\n"
      "DigestAuthenticationProvider.superDigest:hidden\nzabfs.sasl.user.a=hid\\\nden\nplugin="
      "hidden\n"
      "server.1=a:1:2\n");
  std::string text = without_secrets(in, "zoo.cfg");
  EXPECT_EQ(text.find("hid"), std::string::npos) << text;
  EXPECT_EQ(text.find("comment"), std::string::npos);
  for (const char* kept : {"tickTime=500\n", "ssl.keyStore.location=/k\n", "server.1=a:1:2\n",
                           "plugin=(left out: an unknown key)\n"}) {
    EXPECT_NE(text.find(kept), std::string::npos) << kept << text;
  }
}

TEST(Redacted, OfAFileThatIsNoConfigurationNothingIsShown) {
  std::istringstream in(
      "-----BEGIN PRIVATE KEY-----\nMIIEvhiddenQIBADANBgkqhkiG9w0BAQEFAASC\nhid/den+A=\n"
      "two hidden words\n" +
      std::string(101, 'h') + "id=1\n");
  std::string text = without_secrets(in, "key.pem");
  EXPECT_EQ(text.find("hid"), std::string::npos) << text;
  EXPECT_EQ(text.find("KEY"), std::string::npos) << text;
}

// Whatever key is a secret: its name says so, and this test, that is_secret sees it.
TEST(Redacted, KeysWhosePasswordsAreTakenAreSecret) {
  for (const Key& key : config_keys()) {
    bool takes_secret = key.value == "a password" || key.value == "user:digest";
    EXPECT_TRUE(!takes_secret || is_secret(key.name)) << key.name;
  }
}

TEST_F(ConfigTest, ErrorsNameFileLineAndKey) {
  EXPECT_NE(load("\nzabfs.commitTimeout=never\n").find("zoo.cfg:3: zabfs.commitTimeout: "),
            std::string::npos);
  EXPECT_NE(load("server.1=a:1:2\nserver.01=b:1:2\n").find("listed twice"), std::string::npos);
  EXPECT_NE(load("server.0=a:1:2\nserver.254=b:1:2\n").find("server.0 and server.254"),
            std::string::npos);
  for (const char* mode : {"0788", "rwx", "10755", "-1", ""}) {
    EXPECT_NE(load(std::string("zabfs.rootMode=") + mode + "\n").find("is not an octal mode"),
              std::string::npos);
  }
  EXPECT_NE(load("zabfs.uid=4294967295\n").find("is not a number"), std::string::npos);
}

constexpr const char* kThree =
    "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nserver.4=d:1:2:observer\n";

TEST_F(ConfigTest, GroupsAndWeights) {
  std::ofstream(directory_ + "/myid") << "1\n";
  EXPECT_EQ(load(std::string("weight.1=0\ngroup.2=1:2\n") + kThree + "group.7=3\n"), "");
  const consensus::Ensemble& ensemble = config_.host.replica.zab.ensemble;
  EXPECT_EQ(ensemble.weight(tree::ServerId{1}), 0);
  EXPECT_TRUE(ensemble.is_quorum({tree::ServerId{2}, tree::ServerId{3}}));
  EXPECT_FALSE(ensemble.is_quorum({tree::ServerId{1}, tree::ServerId{3}}));
  EXPECT_TRUE(config_.warnings.empty());
}

TEST_F(ConfigTest, GroupsThatDoNotFitTheServersAreErrorsWithTheirLine) {
  std::ofstream(directory_ + "/myid") << "1\n";
  struct Case {
    std::string lines, wanted;
  };
  for (const auto& [lines, wanted] : std::vector<Case>{
           {"group.1=1:2\n", "zoo.cfg:4: server.3: this voter is in no group"},
           {"weight.3=2\n", "zoo.cfg:2: server.1: this voter is in no group"},
           {"group.1=1:2:3:5\n", "zoo.cfg:6: group.1: server 5 is not listed"},
           {"group.1=1:2:3:4\n", "zoo.cfg:6: group.1: server 4 is an observer"},
           {"group.1=1:2\ngroup.2=2:3\n", "zoo.cfg:7: group.2: server 2 is in two groups"},
           {"group.1=1:2:3\ngroup.01=1:2:3\n", "zoo.cfg:7: group.01: "},
           {"group.1=1:2:3\nweight.1=x\n", "zoo.cfg:7: weight.1: "},
           {"group.a=1:2:3\n", "zoo.cfg:6: group.a: "},
           {"groups=1:2:3\n", "zoo.cfg:6: groups: "},
           {"weight.1=0\nweight.2=0\nweight.3=0\ngroup.1=1:2:3\n", "no voter has weight"}}) {
    std::string error = load(kThree + lines);
    EXPECT_NE(error.find(wanted), std::string::npos) << error;
  }
}

TEST_F(ConfigTest, WhatChangesQuorumsOrElectionsAndIsNotDoneHereIsRefused) {
  for (const char* line :
       {"electionAlg=0", "oraclePath=/tmp/oracle", "quorum.auth.enableSasl=true",
        "quorum.auth.learnerRequireSasl=true", "quorum.auth.serverRequireSasl=true",
        "peerType=king", "portUnification=true"}) {
    std::string key = std::string(line).substr(0, std::string(line).find('='));
    EXPECT_NE(load(std::string(line) + "\n").find("zoo.cfg:2: " + key + ": "), std::string::npos)
        << line;
  }
  std::ofstream(directory_ + "/myid") << "1\n";
  EXPECT_EQ(load(std::string(kThree) +
                 "electionAlg=3\nmultiAddress.enabled=false\nquorum.auth.enableSasl=false\n"
                 "peerType=participant\ndb.autocreate=false\n"),
            "");
  EXPECT_TRUE(config_.warnings.empty());
  EXPECT_FALSE(config_.host.replica.zab.begins_by_itself);
  EXPECT_EQ(load(std::string(kThree) + "peerType=observer\n"), "");
  ASSERT_EQ(config_.warnings.size(), 1u);
  EXPECT_NE(config_.warnings[0].find("by server.1 this server is a participant"),
            std::string::npos);
}

TEST_F(ConfigTest, TheMembersOfADynamicFileAreInNoOtherPlace) {
  std::ofstream(directory_ + "/myid") << "1\n";
  std::string dynamic = directory_ + "/zoo.cfg.dynamic";
  std::ofstream(dynamic) << kThree << "group.1=1:2:3\nweight.3=2\nversion=100000000\n";
  EXPECT_EQ(load("dynamicConfigFile=" + dynamic + "\n"), "");
  EXPECT_EQ(config_.host.replica.zab.ensemble.weight(tree::ServerId{3}), 2);
  std::string error = load("group.1=1:2:3\ndynamicConfigFile=" + dynamic + "\n");
  EXPECT_NE(error.find("zoo.cfg:2: group.1: "), std::string::npos) << error;
  std::ofstream(dynamic) << kThree << "group.1=1:2\n";
  error = load("dynamicConfigFile=" + dynamic + "\n");
  EXPECT_NE(error.find("zoo.cfg.dynamic:3: server.3: "), std::string::npos) << error;
}

TEST_F(ConfigTest, OneServerIsStandalone) {
  EXPECT_EQ(load("clientPort=2181\n"), "");
  EXPECT_EQ(config_.host.replica.zab.ensemble.voter_count(), 1u);
}

TEST_F(ConfigTest, AWildcardIsAnAddressOfThisServersOnlyAndNotToldToOthers) {
  std::ofstream(directory_ + "/myid") << "1\n";
  const std::string others = "server.2=b:3:4\nserver.3=c:5:6\n";
  for (const std::string wildcard : {"0.0.0.0", "[::]", "[::ffff:0.0.0.0]", "0"}) {
    EXPECT_EQ(load("server.1=" + wildcard + ":1:2\n" + others), "");
    std::string error = load("reconfigEnabled=true\nserver.1=" + wildcard + ":1:2\n" + others);
    if (std::optional<std::string> name = name_for_others()) {
      EXPECT_EQ(error, "");
      EXPECT_EQ(config_.host.replica.zab.ensemble.find(tree::ServerId{1})->host, *name);
      EXPECT_TRUE(config_.host.listen_on_all);
    } else {
      EXPECT_NE(error.find("write the address by which they reach this server"), std::string::npos);
    }
    EXPECT_NE(load("server.1=a:1:2\nserver.2=" + wildcard + ":3:4\nserver.3=c:5:6\n")
                  .find("is no address by which that server is found"),
              std::string::npos);
  }
  EXPECT_EQ(load("reconfigEnabled=true\nserver.1=0.0.0.0:1:2\n"), "");  // nobody is told
  EXPECT_EQ(load("reconfigEnabled=true\nstandaloneEnabled=false\nserver.1=0.0.0.0:1:2\n").empty(),
            name_for_others().has_value());
}

TEST_F(ConfigTest, NumbersOutOfBoundsAreTakenAsTheNearestAsInJava) {
  EXPECT_EQ(load("autopurge.snapRetainCount=1\nsnapCount=1\ntickTime=1\nmaxClientCnxns=-1\n"
                 "minSessionTimeout=-1\nmaxSessionTimeout=-1\n"),
            "");
  const consensus::ReplicaConfig& replica = config_.host.replica;
  EXPECT_EQ(replica.snapshot_retain, 3u);
  EXPECT_EQ(replica.snapshot_txns, 2);
  EXPECT_EQ(replica.zab.tick_ms, 10);
  EXPECT_EQ(config_.wire.max_per_address, 0u);
  EXPECT_EQ(replica.min_session_ms, 0);
  EXPECT_EQ(config_.warnings.size(), 3u);
  EXPECT_EQ(load("autopurge.snapRetainCount=5000\n"), "");
  EXPECT_EQ(replica.snapshot_retain, 5000u);
  EXPECT_NE(load("tickTime=0\n"), "");
  EXPECT_NE(load("tickTime=2s\n"), "");
}

TEST_F(ConfigTest, HistoryIsATimeASizeOrBoth) {
  const consensus::KeptHistory::Options& history = config_.host.replica.history;
  constexpr int64_t kDayMs = 86'400'000;
  EXPECT_EQ(load(""), "");
  EXPECT_EQ(history.max_age_ms, 7 * kDayMs);
  EXPECT_EQ(history.max_bytes, 1u << 30);
  EXPECT_EQ(load("zabfs.history=12h\n"), "");
  EXPECT_EQ(history.max_age_ms, kDayMs / 2);
  EXPECT_EQ(history.max_bytes, 1u << 30);
  EXPECT_EQ(load("zabfs.history=500MiB,2d\n"), "");
  EXPECT_EQ(history.max_age_ms, 2 * kDayMs);
  EXPECT_EQ(history.max_bytes, 500u << 20);
  for (const char* off : {"off", "0"}) {
    EXPECT_EQ(load(std::string("zabfs.history=") + off + "\n"), "");
    EXPECT_FALSE(history.is_on());
  }
  for (const char* wrong : {"7", "d", "-1d", "1GB", "7d,", "99999999999999d", "7d 1GiB", ""}) {
    EXPECT_NE(load(std::string("zabfs.history=") + wrong + "\n").find("is none of"),
              std::string::npos)
        << wrong;
  }
}

TEST_F(ConfigTest, PropertiesOfJavasAreLenientAndOurKeysAreNot) {
  EXPECT_EQ(load("snapCount=few\nextendedTypesEnabled=yes\nreconfigEnabled=TRUE\n"), "");
  EXPECT_EQ(config_.host.replica.snapshot_txns, 100'000);
  EXPECT_FALSE(config_.host.replica.prepare.extended_types);
  EXPECT_TRUE(config_.host.replica.reconfig_enabled);
  EXPECT_EQ(config_.warnings.size(), 2u);
  EXPECT_NE(load("reconfigEnabled=yes\n").find("neither true nor false"), std::string::npos);
  EXPECT_NE(load("zabfs.inotify=yes\n").find("neither true nor false"), std::string::npos);
}

TEST_F(ConfigTest, AllLimitsFollowFromJuteMaxBuffer) {
  EXPECT_EQ(load("jute.maxbuffer=0x400000\n"), "");
  const consensus::ReplicaConfig& replica = config_.host.replica;
  EXPECT_EQ(config_.wire.max_frame_bytes, 4u << 20);
  EXPECT_EQ(replica.prepare.limits.data_bytes(), (4u << 20) - 16'384);
  EXPECT_EQ(replica.prepare.max_txn_bytes, (8u << 20) - 1'024);
  EXPECT_EQ(load("jute.maxbuffer=134217728\nzabfs.clientMemory=512\n"), "");
  EXPECT_EQ(config_.wire.max_frame_bytes, 64u << 20);
  EXPECT_EQ(config_.wire.memory_bytes, 1u << 30);
  EXPECT_EQ(config_.warnings.size(), 2u);
  EXPECT_EQ(load(""), "");
  EXPECT_EQ(replica.prepare.limits.data_bytes(), 1'032'191u);
}

TEST_F(ConfigTest, OfAKeyThatComesTwiceTheLastLineCounts) {
  EXPECT_EQ(load("tickTime=never\ntickTime=500\n"), "");
  EXPECT_EQ(config_.host.replica.zab.tick_ms, 500);
  ASSERT_EQ(config_.warnings.size(), 1u);
  EXPECT_NE(config_.warnings[0].find("zoo.cfg:2: tickTime is ignored: line 3 has it again"),
            std::string::npos);
}

TEST_F(ConfigTest, AMistypedKeyOfOursIsAnErrorAndNamesTheNearest) {
  EXPECT_NE(load("zabfs.mout=/zab\n").find("is it zabfs.mount?"), std::string::npos);
  EXPECT_NE(load("Zabfs.uid=1\n").find("is it zabfs.uid?"), std::string::npos);
  EXPECT_EQ(load("zookeeper.skipACL=yes\n"), "");
  EXPECT_NE(config_.warnings[0].find("in zoo.cfg its name is skipACL"), std::string::npos);
}

TEST_F(ConfigTest, WhatHasNoEffectIsListedWithItsReason) {
  EXPECT_EQ(load("preAllocSize=65536\n"), "");
  ASSERT_EQ(config_.ignored.size(), 1u);
  EXPECT_NE(config_.ignored[0].find("zoo.cfg:2: preAllocSize is ignored: "), std::string::npos);
  EXPECT_TRUE(config_.warnings.empty());
}

TEST_F(ConfigTest, WhoHasToAuthenticateIsNeverLetInForAKeyThatIsNotKnown) {
  const std::string user = "zabfs.sasl.user.ann=secret\n";
  for (const char* line : {"sessionRequireClientSASLAuth=true\n", "requireClientAuthScheme=sasl\n",
                           "enforce.auth.enabled=true\nenforce.auth.schemes=sasl\n"}) {
    EXPECT_EQ(load(line + user), "");
    EXPECT_EQ(config_.wire.enforced_auth, std::vector<std::string>{"sasl"});
    EXPECT_NE(load(line).find("there are no users who could"), std::string::npos);
  }
  for (const char* line :
       {"enforce.auth.enabled=yes\n", "enforce.auth.enabled=true\n",
        "enforce.auth.enabled=true\nenforce.auth.schemes=kerberos\n",
        "requireClientAuthScheme=kerberos\n", "DigestAuthenticationProvider.enabled=false\n",
        "ssl.crl=true\n", "ssl.quorum.ocsp=true\n", "client.portUnification=true\n",
        "serverCnxnFactory=com.example.Own\n", "ssl.context.supplier.class=com.example.Own\n"}) {
    EXPECT_NE(load(line + user), "") << line;
  }
}

TEST_F(ConfigTest, VersionsAndCiphersOfTls) {
  EXPECT_EQ(load("ssl.enabledProtocols=TLSv1.3\nssl.protocol=TLSv1.2\n"
                 "ssl.quorum.protocol=TLSv1.2\n"
                 "ssl.ciphersuites=TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n"),
            "");
  const consensus::TlsConfig& tls = config_.wire.tls;
  EXPECT_FALSE(tls.is_1_2);
  EXPECT_TRUE(tls.is_1_3);
  EXPECT_EQ(tls.ciphers.of_1_3, "TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(tls.ciphers.of_1_2, "ECDHE-RSA-AES128-GCM-SHA256");
  EXPECT_NE(load("ssl.ciphersuites=TLS_NONE_SUCH\n").find("TLS_NONE_SUCH is not known"),
            std::string::npos);
  EXPECT_NE(load("ssl.protocol=TLSv1\n"), "");
  EXPECT_NE(load("minSessionTimeout=9000\nmaxSessionTimeout=8000\n"), "");
}

TEST_F(ConfigTest, AddressesToListenOnAreWithoutBracketsAndEmptyForAll) {
  EXPECT_EQ(load("clientPort=2181\nclientPortAddress=[::1]\n"), "");
  EXPECT_EQ(config_.wire.address, "::1");
  EXPECT_EQ(load("clientPort=2181\nclientPortAddress=[::]\n"), "");
  EXPECT_EQ(config_.wire.address, "");
  EXPECT_EQ(load("server.7=a:1:2:PARTICIPANT;[::1]:2182\n"), "");
  EXPECT_EQ(config_.wire.address, "::1");
  EXPECT_EQ(config_.wire.port, 2182);
  EXPECT_EQ(load("clientPort=0\n"), "");
  EXPECT_FALSE(config_.wire.port.has_value());
}

TEST_F(ConfigTest, MembersMayHaveLargeNumbersAndSeveralAddresses) {
  std::ofstream(directory_ + "/myid") << "70000\n";
  EXPECT_EQ(load("server.70000=a:1:2\nserver.300=b:1:2|c:1:2\nserver.3=c:1:2\n"), "");
  EXPECT_EQ(config_.host.replica.zab.ensemble.find(tree::ServerId{300})->host, "b");
  ASSERT_EQ(config_.warnings.size(), 1u);
  EXPECT_NE(config_.warnings[0].find("only the first, b, is used"), std::string::npos);
  EXPECT_NE(load("server.70000=a:1:2\nserver.300=b:1:2|c:1\nserver.3=c:1:2\n"), "");
  EXPECT_NE(load("server.70000=a:1:2\nserver.368=b:1:2\n").find("server.368 and server.70000"),
            std::string::npos);
}

// The administrator's guide of ZooKeeper 3.8.
TEST(Keys, AllOfTheAdministratorsGuideAreKnown) {
  for (const char* name : {"clientPort",
                           "secureClientPort",
                           "observerMasterPort",
                           "dataDir",
                           "tickTime",
                           "dataLogDir",
                           "globalOutstandingLimit",
                           "preAllocSize",
                           "snapCount",
                           "commitLogCount",
                           "snapSizeLimitInKb",
                           "txnLogSizeLimitInKb",
                           "maxCnxns",
                           "maxClientCnxns",
                           "clientPortAddress",
                           "minSessionTimeout",
                           "maxSessionTimeout",
                           "fsync.warningthresholdms",
                           "maxResponseCacheSize",
                           "maxGetChildrenResponseCacheSize",
                           "autopurge.snapRetainCount",
                           "autopurge.purgeInterval",
                           "syncEnabled",
                           "extendedTypesEnabled",
                           "emulate353TTLNodes",
                           "watchManagerName",
                           "watcherCleanThreadsNum",
                           "watcherCleanThreshold",
                           "watcherCleanIntervalInSeconds",
                           "maxInProcessingDeadWatchers",
                           "bitHashCacheSize",
                           "fastleader.minNotificationInterval",
                           "fastleader.maxNotificationInterval",
                           "connectionMaxTokens",
                           "connectionTokenFillTime",
                           "connectionTokenFillCount",
                           "connectionFreezeTime",
                           "connectionDropIncrease",
                           "connectionDropDecrease",
                           "connectionDecreaseRatio",
                           "connection_throttle_weight_enabled",
                           "connection_throttle_global_session_weight",
                           "connection_throttle_local_session_weight",
                           "connection_throttle_renew_session_weight",
                           "clientPortListenBacklog",
                           "serverCnxnFactory",
                           "flushDelay",
                           "maxWriteQueuePollTime",
                           "maxBatchSize",
                           "enforceQuota",
                           "requestThrottleLimit",
                           "requestThrottleStallTime",
                           "requestThrottleDropStale",
                           "requestStaleLatencyCheck",
                           "requestStaleConnectionCheck",
                           "request_throttler.shutdownTimeout",
                           "advancedFlowControlEnabled",
                           "enableEagerACLCheck",
                           "maxConcurrentSnapSyncs",
                           "maxConcurrentDiffSyncs",
                           "digest.enabled",
                           "snapshot.compression.method",
                           "snapshot.trust.empty",
                           "audit.enable",
                           "audit.impl.class",
                           "largeRequestMaxBytes",
                           "largeRequestThreshold",
                           "outstandingHandshake.limit",
                           "netty.server.earlyDropSecureConnectionHandshakes",
                           "throttledOpWaitTime",
                           "learner.closeSocketAsync",
                           "leader.closeSocketAsync",
                           "learner.asyncSending",
                           "forward_learner_requests_to_commit_processor_disabled",
                           "electionAlg",
                           "maxTimeToWaitForEpoch",
                           "initLimit",
                           "connectToLearnerMasterLimit",
                           "leaderServes",
                           "server.1",
                           "syncLimit",
                           "group.1",
                           "weight.1",
                           "cnxTimeout",
                           "quorumCnxnTimeoutMs",
                           "standaloneEnabled",
                           "reconfigEnabled",
                           "4lw.commands.whitelist",
                           "tcpKeepAlive",
                           "clientTcpKeepAlive",
                           "electionPortBindRetry",
                           "observer.reconnectDelayMs",
                           "observer.election.DelayMs",
                           "localSessionsEnabled",
                           "localSessionsUpgradingEnabled",
                           "DigestAuthenticationProvider.enabled",
                           "DigestAuthenticationProvider.superDigest",
                           "DigestAuthenticationProvider.digestAlg",
                           "X509AuthenticationProvider.superUser",
                           "superUser",
                           "ssl.authProvider",
                           "ensembleAuthName",
                           "sessionRequireClientSASLAuth",
                           "enforce.auth.enabled",
                           "enforce.auth.schemes",
                           "sslQuorum",
                           "ssl.keyStore.location",
                           "ssl.keyStore.password",
                           "ssl.quorum.keyStore.location",
                           "ssl.quorum.keyStore.password",
                           "ssl.keyStore.passwordPath",
                           "ssl.quorum.keyStore.passwordPath",
                           "ssl.keyStore.type",
                           "ssl.quorum.keyStore.type",
                           "ssl.trustStore.location",
                           "ssl.trustStore.password",
                           "ssl.quorum.trustStore.location",
                           "ssl.quorum.trustStore.password",
                           "ssl.trustStore.passwordPath",
                           "ssl.quorum.trustStore.passwordPath",
                           "ssl.trustStore.type",
                           "ssl.quorum.trustStore.type",
                           "ssl.protocol",
                           "ssl.quorum.protocol",
                           "ssl.enabledProtocols",
                           "ssl.quorum.enabledProtocols",
                           "ssl.ciphersuites",
                           "ssl.quorum.ciphersuites",
                           "ssl.context.supplier.class",
                           "ssl.quorum.context.supplier.class",
                           "ssl.hostnameVerification",
                           "ssl.quorum.hostnameVerification",
                           "ssl.crl",
                           "ssl.quorum.crl",
                           "ssl.ocsp",
                           "ssl.quorum.ocsp",
                           "ssl.clientAuth",
                           "ssl.quorum.clientAuth",
                           "ssl.handshakeDetectionTimeoutMillis",
                           "ssl.quorum.handshakeDetectionTimeoutMillis",
                           "client.portUnification",
                           "authProvider.1",
                           "kerberos.removeHostFromPrincipal",
                           "kerberos.removeRealmFromPrincipal",
                           "kerberos.canonicalizeHostNames",
                           "multiAddress.enabled",
                           "multiAddress.reachabilityCheckTimeoutMs",
                           "multiAddress.reachabilityCheckEnabled",
                           "readonlymode.enabled",
                           "follower.skipLearnerRequestToNextProcessor",
                           "forceSync",
                           "jute.maxbuffer",
                           "jute.maxbuffer.extrasize",
                           "skipACL",
                           "quorumListenOnAllIPs",
                           "nio.numSelectorThreads",
                           "nio.numWorkerThreads",
                           "commitProcessor.numWorkerThreads",
                           "commitProcessor.maxReadBatchSize",
                           "commitProcessor.maxCommitBatchSize",
                           "znode.container.checkIntervalMs",
                           "znode.container.maxPerMinute",
                           "znode.container.maxNeverUsedIntervalMs",
                           "messageTracker.BufferSize",
                           "messageTracker.Enabled",
                           "admin.forceHttps",
                           "admin.portUnification",
                           "admin.enableServer",
                           "admin.serverAddress",
                           "admin.serverPort",
                           "admin.idleTimeout",
                           "admin.commandURL",
                           "peerType",
                           "dynamicConfigFile",
                           "portUnification",
                           "sslQuorumReloadCertFiles",
                           "oraclePath"}) {
    EXPECT_NE(find_key(name), nullptr) << name;
  }
}

TEST(Keys, EachHasOneRowAndAReasonOrAnEffect) {
  std::set<std::string> names;
  for (const Key& key : config_keys()) {
    EXPECT_TRUE(names.insert(key.name).second) << key.name;
    EXPECT_TRUE(key.has_effect() || !key.help.empty()) << key.name;
  }
}

}  // namespace
}  // namespace zabfs::fsd
