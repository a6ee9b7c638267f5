#include "consensus/guests.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <set>
#include <vector>

#include "consensus/tcp_listen.h"

namespace zabfs::consensus {
namespace {

class GuestsTest : public testing::Test {
 protected:
  Guests::Ticket enter(const std::string& address) {
    int number = next_++;
    return guests_.enter(address, [this, number](size_t) { gone_.push_back(number); });
  }
  Guests guests_{4};
  int next_ = 1;
  std::vector<int> gone_;
};

TEST_F(GuestsTest, TheOldestOfTheLargestCrowdGoes) {
  enter("a");
  for (int i = 0; i < 3; ++i) enter("crowd");
  EXPECT_TRUE(gone_.empty());
  enter("b");
  enter("crowd");
  EXPECT_EQ(gone_, (std::vector<int>{2, 3}));
  EXPECT_EQ(guests_.size(), 4u);
}

TEST_F(GuestsTest, WhoComesIsAlwaysLetIn) {
  for (const char* address : {"a", "b", "c", "d", "e", "f"}) enter(address);
  EXPECT_EQ(gone_, (std::vector<int>{1, 2}));
}

TEST_F(GuestsTest, WhoLeavesMakesRoom) {
  Guests::Ticket first = enter("a");
  for (int i = 0; i < 3; ++i) enter("a");
  guests_.leave(first);
  guests_.leave(first);
  enter("a");
  EXPECT_TRUE(gone_.empty());
}

TEST(Strangers, AreFewerWhereFilesAreFew) {
  rlimit before = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit few = before;
  few.rlim_cur = 256;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  EXPECT_EQ(most_strangers(), 16u);
  few.rlim_cur = 1'024;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &few), 0);
  EXPECT_EQ(most_strangers(), 64u);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace zabfs::consensus
