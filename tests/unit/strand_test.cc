#include "consensus/strand.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "consensus/lane.h"

namespace zabfs::consensus {
namespace {

TEST(Strand, RunsOneEventAtATimeFromAnyThread) {
  Strand strand;
  int inside = 0, done = 0;  // unguarded: the strand is the guard
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 5'000; ++i) {
        strand.post([&] {
          EXPECT_EQ(++inside, 1);
          ++done;
          --inside;
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(done, 20'000);
}

TEST(Strand, RunsAtOnceWhenItIsFreeAndLaterWhenItIsNot) {
  Strand strand;
  std::string order;
  strand.set_after_batch([&] { order += "|"; });
  strand.post([&] {
    order += "a";
    strand.post([&] { order += "b"; });
    order += "A";
  });
  EXPECT_EQ(order, "aA|b|");
}

TEST(Strand, DropsEventsAfterStop) {
  Strand strand;
  strand.stop();
  bool ran = false;
  strand.post([&] { ran = true; });
  EXPECT_FALSE(ran);
}

TEST(Lane, RunsJobsInOrderAndStopsInBetween) {
  std::string order;
  std::atomic<bool> reached{false};
  Lane lane("test");
  lane.post([&] { order += "a"; });
  lane.post([&] { order += "b"; });
  lane.post([&] { reached = true; });
  while (!reached) std::this_thread::yield();
  lane.stop();
  lane.post([&] { order += "c"; });
  EXPECT_EQ(order, "ab");
}

}  // namespace
}  // namespace zabfs::consensus
