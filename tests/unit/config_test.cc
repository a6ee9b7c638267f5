#include "fsd/config.h"

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
    return load_config(directory_ + "/zoo.cfg", config_);
  }
  std::string directory_;
  Config config_;
};

TEST_F(ConfigTest, ReadsZooKeepersAndOurKeys) {
  std::ofstream(directory_ + "/myid") << "2\n";
  EXPECT_EQ(load("# comment\ntickTime = 500\ninitLimit=7\nclientPort=2181\n"
                 "server.1=a:1:2\nserver.2=b:3:4:participant;2181\nserver.3=c:5:6:observer\n"
                 "zabfs.mount=/zab\nzabfs.uid=12\nzabfs.quorumGrace=100\n"),
            "");
  const consensus::ZabConfig& zab = config_.host.replica.zab;
  EXPECT_EQ(zab.tick_ms, 500);
  EXPECT_EQ(zab.init_limit, 7);
  EXPECT_EQ(zab.me.value, 2);
  EXPECT_EQ(zab.ensemble.voter_count(), 2u);
  EXPECT_EQ(config_.mount.point, "/zab");
  EXPECT_EQ(config_.mount.uid, 12u);
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
}

TEST_F(ConfigTest, OneServerIsStandalone) {
  EXPECT_EQ(load("clientPort=2181\n"), "");
  EXPECT_EQ(config_.host.replica.zab.ensemble.voter_count(), 1u);
}

}  // namespace
}  // namespace zabfs::fsd
