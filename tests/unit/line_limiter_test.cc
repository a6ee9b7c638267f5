#include "consensus/line_limiter.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace zabfs::consensus {
namespace {

std::vector<std::string> texts(const std::vector<LineLimiter::Line>& lines) {
  std::vector<std::string> texts;
  for (const LineLimiter::Line& line : lines) texts.push_back(line.text);
  return texts;
}

using Texts = std::vector<std::string>;

TEST(LineLimiter, AStormIsTheFirstLineAndANumber) {
  LineLimiter limiter;
  size_t told = 0;
  for (int i = 0; i < 200; ++i) {
    told += limiter.note(LogLevel::kInfo, fmt::format("closed 10.0.0.1:{}", i), 1'000 + i).size();
  }
  EXPECT_EQ(told, 1u);
  EXPECT_EQ(limiter.next_due_ms(), 2'000);
  EXPECT_TRUE(limiter.due(1'999).empty());
  EXPECT_EQ(texts(limiter.due(2'000)),
            Texts{"closed 10.0.0.1:199, and 198 more like it in the last 1 s"});
}

TEST(LineLimiter, TwoLinesAreBothToldInFull) {
  LineLimiter limiter;
  EXPECT_EQ(texts(limiter.note(LogLevel::kInfo, "session 1 closed", 0)), Texts{"session 1 closed"});
  EXPECT_TRUE(limiter.note(LogLevel::kWarning, "session 2 closed", 10).empty());
  std::vector<LineLimiter::Line> due = limiter.due(1'000);
  EXPECT_EQ(texts(due), Texts{"session 2 closed"});
  EXPECT_EQ(due[0].level, LogLevel::kWarning);
}

TEST(LineLimiter, WhatWasSilentForItsTimeBeginsAnew) {
  LineLimiter limiter;
  limiter.note(LogLevel::kInfo, "session 1 closed", 0);
  EXPECT_TRUE(limiter.due(1'000).empty());
  EXPECT_EQ(limiter.next_due_ms(), INT64_MAX);
  EXPECT_EQ(texts(limiter.note(LogLevel::kInfo, "session 2 closed", 1'001)),
            Texts{"session 2 closed"});
}

TEST(LineLimiter, WhatGoesOnIsToldOfEachMinuteAtLast) {
  LineLimiter limiter;
  std::vector<int64_t> times;
  for (int64_t now_ms = 0; now_ms <= 600'000; now_ms += 10) {
    std::vector<LineLimiter::Line> lines = limiter.due(now_ms);
    std::vector<LineLimiter::Line> more = limiter.note(LogLevel::kInfo, "again 1", now_ms);
    for (size_t i = 0; i < lines.size() + more.size(); ++i) times.push_back(now_ms);
  }
  Texts expected;
  EXPECT_EQ(
      (std::vector<int64_t>(times.begin(), times.begin() + 9)),
      (std::vector<int64_t>{0, 1'000, 3'000, 7'000, 15'000, 31'000, 63'000, 123'000, 183'000}));
  EXPECT_LT(times.size(), 20u);
}

TEST(LineLimiter, KindsDoNotHideEachOther) {
  LineLimiter limiter;
  for (int i = 0; i < 50; ++i) limiter.note(LogLevel::kInfo, fmt::format("session {}", i), 0);
  EXPECT_EQ(texts(limiter.note(LogLevel::kInfo, "a member reads too slowly", 5)),
            Texts{"a member reads too slowly"});
}

TEST(LineLimiter, NumbersAddressesAndQuotedTextMakeNoKind) {
  auto kind = [](const char* text) { return LineLimiter::kind_of(text); };
  EXPECT_EQ(kind("closed 10.0.0.1:4: why"), kind("closed fe80::1%2:77: why"));
  EXPECT_EQ(kind("session 0x1f closed"), kind("session 0x2 closed"));
  EXPECT_EQ(kind("scheme \"a b\" proved nothing"), kind("scheme \"c \"d\" proved nothing"));
  EXPECT_EQ(kind("no \"end"), kind("no \"other"));
  EXPECT_NE(kind("closed 1: why"), kind("closed 1: because"));
  EXPECT_NE(kind("scheme \"a\" proved nothing"), kind("scheme \"a\" is unknown"));
  EXPECT_EQ(kind(""), kind(""));
}

TEST(LineLimiter, RemembersABoundedNumberOfKinds) {
  LineLimiter limiter;
  size_t told = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::string word;
    for (int n = i; n > 0; n /= 20) word += static_cast<char>('a' + n % 20);
    told += limiter.note(LogLevel::kInfo, "kind " + word, 0).size();
  }
  EXPECT_EQ(told, LineLimiter::kMaxKinds + 1);
  std::vector<LineLimiter::Line> rest = limiter.due(1'000);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_TRUE(rest[0].text.ends_with(
      fmt::format(", and {} more like it in the last 1 s", 10'000 - told - 1)))
      << rest[0].text;
}

TEST(LineLimiter, ALongLineKeepsItsNumber) {
  LineLimiter limiter;
  for (int i = 0; i < 3; ++i) limiter.note(LogLevel::kInfo, std::string(1u << 20, 'x'), 0);
  EXPECT_EQ(texts(limiter.due(1'000)), Texts{std::string(LineLimiter::kMaxTextBytes, 'x') +
                                             "..., and 1 more like it in the last 1 s"});
}

TEST(LineLimiter, TellsWhatIsLeftAtTheEnd) {
  LineLimiter limiter;
  for (int i = 0; i < 3; ++i) limiter.note(LogLevel::kInfo, "session 1 closed", 0);
  EXPECT_EQ(texts(limiter.rest(200)),
            Texts{"session 1 closed, and 1 more like it in the last 1 s"});
  EXPECT_TRUE(limiter.rest(200).empty());
}

}  // namespace
}  // namespace zabfs::consensus
