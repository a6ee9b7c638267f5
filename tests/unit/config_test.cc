#include "fsd/config/config.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

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

TEST_F(ConfigTest, ErrorsNameFileLineAndKey) {
  EXPECT_NE(load("\nzabfs.commitTimeout=never\n").find("zoo.cfg:3: zabfs.commitTimeout: "),
            std::string::npos);
  EXPECT_NE(load("server.1=a:1:2\nserver.1=b:1:2\n").find("listed twice"), std::string::npos);
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
           {"group.1=1:2:3\ngroup.1=1:2:3\n", "zoo.cfg:7: group.1: "},
           {"group.1=1:2:3\nweight.9=1\n", "zoo.cfg:7: weight.9: there is no such server"},
           {"group.1=1:2:3\nweight.1=x\n", "zoo.cfg:7: weight.1: "},
           {"group.a=1:2:3\n", "zoo.cfg:6: group.a: "},
           {"groups=1:2:3\n", "zoo.cfg:6: groups: "},
           {"weight.1=0\nweight.2=0\nweight.3=0\ngroup.1=1:2:3\n", "no voter has weight"}}) {
    std::string error = load(kThree + lines);
    EXPECT_NE(error.find(wanted), std::string::npos) << error;
  }
}

TEST_F(ConfigTest, WhatChangesQuorumsOrElectionsAndIsNotDoneHereIsRefused) {
  for (const char* line : {"electionAlg=0", "oraclePath=/tmp/oracle", "multiAddress.enabled=true",
                           "quorum.auth.enableSasl=true", "quorum.auth.learnerRequireSasl=true",
                           "quorum.auth.serverRequireSasl=true", "peerType=king"}) {
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
    EXPECT_NE(load("reconfigEnabled=true\nserver.1=" + wildcard + ":1:2\n" + others)
                  .find("write the address by which they reach this server"),
              std::string::npos);
    EXPECT_NE(load("server.1=a:1:2\nserver.2=" + wildcard + ":3:4\nserver.3=c:5:6\n")
                  .find("is no address by which that server is found"),
              std::string::npos);
  }
  EXPECT_EQ(load("reconfigEnabled=true\nserver.1=0.0.0.0:1:2\n"), "");  // nobody is told
  EXPECT_NE(load("reconfigEnabled=true\nstandaloneEnabled=false\nserver.1=0.0.0.0:1:2\n"), "");
}

}  // namespace
}  // namespace zabfs::fsd
