// What is open in the mount, and who waits for what was closed.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fsd/fuse/handle_table.h"
#include "fsd/fuse/landing_threads.h"
#include "fsd/fuse/release_gate.h"

namespace zabfs::fsd {
namespace {

TEST(HandleTable, FindsWhatIsOpenUntilItIsTaken) {
  HandleTable<std::string> table;
  EXPECT_EQ(table.find(1), nullptr);
  table.add(1, std::make_shared<std::string>("one"));
  table.add(2, std::make_shared<std::string>("two"));
  EXPECT_EQ(*table.find(1), "one");
  EXPECT_EQ(*table.take(1), "one");
  EXPECT_EQ(table.take(1), nullptr);
  EXPECT_EQ(table.find(1), nullptr);
  EXPECT_EQ(*table.find(2), "two");
}

class GateTest : public testing::Test {
 protected:
  bool ask(const std::string& path) {
    return gate_.holds(path, [this, path] { again_.push_back(path); });
  }
  ReleaseGate gate_;
  std::vector<std::string> again_;
};

TEST_F(GateTest, HoldsNobodyWhileNothingIsReleased) {
  EXPECT_FALSE(ask("/f"));
  EXPECT_FALSE(gate_.holds_any([] {}));
  gate_.open("/f");
  EXPECT_TRUE(again_.empty());
}

TEST_F(GateTest, HoldsRequestsOfThePathUntilItIsCommitted) {
  gate_.close("/f");
  EXPECT_TRUE(ask("/f"));
  EXPECT_TRUE(ask("/f"));
  EXPECT_FALSE(ask("/g"));
  EXPECT_TRUE(again_.empty());
  gate_.open("/f");
  EXPECT_EQ(again_, (std::vector<std::string>{"/f", "/f"}));
  EXPECT_FALSE(ask("/f"));
}

TEST_F(GateTest, OpensWithTheLastOfItsHandles) {
  gate_.close("/f");
  gate_.close("/f");
  EXPECT_TRUE(ask("/f"));
  gate_.open("/f");
  EXPECT_TRUE(again_.empty());
  gate_.open("/f");
  EXPECT_EQ(again_.size(), 1u);
}

TEST_F(GateTest, ABarrierWaitsForAnyOfThem) {
  gate_.close("/f");
  bool passed = false;
  EXPECT_TRUE(gate_.holds_any([&] { passed = true; }));
  gate_.open("/f");
  EXPECT_TRUE(passed);
}

TEST_F(GateTest, WhoWasHeldMayBeHeldAgain) {
  gate_.close("/f");
  EXPECT_TRUE(gate_.holds("/f", [this] {
    gate_.close("/f");
    EXPECT_TRUE(ask("/f"));
  }));
  gate_.open("/f");
  EXPECT_TRUE(again_.empty());
  gate_.open("/f");
  EXPECT_EQ(again_.size(), 1u);
}

TEST(LandingThreads, AreThoseThatHaveAskedForNothingSince) {
  LandingThreads threads;
  EXPECT_TRUE(threads.is_empty());
  threads.add(1);
  threads.add(2);
  threads.add(3);
  threads.landed(2);
  threads.landed(9);
  EXPECT_FALSE(threads.is_empty());
  EXPECT_TRUE(threads.are_any([](pid_t thread) { return thread != 1; }));
  EXPECT_FALSE(threads.are_any([](pid_t thread) { return thread == 1; }));  // it was dropped
  EXPECT_TRUE(threads.is_empty());
}

TEST(LandingThreads, AreForgottenWithAllNames) {
  LandingThreads threads;
  threads.add(1);
  threads.clear();
  EXPECT_FALSE(threads.are_any([](pid_t) { return true; }));
}

TEST(LandingThreads, AreNoneOnceTheLastHasLanded) {
  LandingThreads threads;
  threads.add(1);
  threads.landed(1);
  EXPECT_TRUE(threads.is_empty());
}

}  // namespace
}  // namespace zabfs::fsd
