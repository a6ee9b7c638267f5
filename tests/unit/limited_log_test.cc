#include "consensus/limited_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace zabfs::consensus {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

class LimitedLogTest : public testing::Test {
 protected:
  void info(const std::string& line) { log_.log(LogLevel::kInfo, line); }
  size_t count(const std::string& beginning) const {
    return static_cast<size_t>(std::count_if(
        told_.begin(), told_.end(),
        [&beginning](const std::string& line) { return line.starts_with(beginning); }));
  }
  void run_until_told(const std::string& line) {
    auto end = Clock::now() + std::chrono::seconds(60);
    while (count(line) == 0 && Clock::now() < end) io_.run_one_for(milliseconds(100));
    io_.restart();
    EXPECT_EQ(count(line), 1u) << line;
  }

  boost::asio::io_context io_;
  std::vector<std::string> told_;
  bool tells_all_ = false;
  LimitedLog log_{io_, [this](LogLevel, const std::string& line) { told_.push_back(line); },
                  [this] { return tells_all_; }};
};

TEST_F(LimitedLogTest, TellsWithoutAFurtherLineWhatWasCounted) {
  for (int i = 0; i < 3; ++i) info("a 1");
  EXPECT_EQ(told_, std::vector<std::string>{"a 1"});
  run_until_told("a 1, and 1 more like it in the last ");  // on a busy machine not 1 s
}

// The timer waits for the kind with the longer time when the other one comes.
TEST_F(LimitedLogTest, AKindIsToldInItsTimeWhateverIsWaitedFor) {
  info("a 1");
  info("a 2");
  run_until_told("a 2");
  auto begin = Clock::now();  // of 2 s for "a"
  info("a 3");
  info("b 1");
  info("b 2");
  run_until_told("b 2");
  bool is_late = Clock::now() - begin >= milliseconds(2'000);  // as on a machine that stands still
  EXPECT_TRUE(is_late || count("a 3") == 0);
}

TEST_F(LimitedLogTest, TellsEachLineToWhoWantsToSeeAll) {
  tells_all_ = true;
  for (int i = 0; i < 3; ++i) info("a 1");
  EXPECT_EQ(told_.size(), 3u);
}

TEST_F(LimitedLogTest, TellsWhatIsLeftWhenItIsClosed) {
  info("a 1");
  info("a 2");
  log_.close();
  EXPECT_EQ(told_, (std::vector<std::string>{"a 1", "a 2"}));
}

}  // namespace
}  // namespace zabfs::consensus
