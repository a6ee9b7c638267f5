#include "fsd/history/when.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

namespace zabfs::fsd {
namespace {

constexpr int64_t kNowMs = 1'796'011'200'000;

int64_t time_of(std::string_view text) {
  std::optional<When> when = parse_when(text, kNowMs);
  return when && !when->zxid ? when->time_ms : -1;
}

TEST(When, ZxidsAreHexadecimal) {
  EXPECT_EQ(parse_when("0x500000012", 0)->zxid, tree::Zxid::make(5, 0x12));
  for (const char* wrong :
       {"0x", "0xg", "0x1 ", "0x0", "0x-1", "0xffffffffffffffff", "500000012"}) {
    EXPECT_FALSE(parse_when(wrong, 0)) << wrong;
  }
}

TEST(When, TimesOfRfc3339) {
  EXPECT_EQ(time_of("2026-11-30T04:15:00Z"), 1'796'012'100'000);
  EXPECT_EQ(time_of("2026-11-30t04:15:00z"), 1'796'012'100'000);
  EXPECT_EQ(time_of("2026-11-30T04:15:00.250Z"), 1'796'012'100'250);
  EXPECT_EQ(time_of("2026-11-30T05:15:00+01:00"), 1'796'012'100'000);
  EXPECT_EQ(time_of("2026-11-29T23:45:00-04:30"), 1'796'012'100'000);
  EXPECT_EQ(time_text(1'796'012'100'250), "2026-11-30T04:15:00.250Z");
  EXPECT_EQ(time_of(time_text(kNowMs)), kNowMs);
}

TEST(When, TimesOfThisMachine) {
  ::setenv("TZ", "UTC-2", 1);  // two hours east
  ::tzset();
  EXPECT_EQ(time_of("2026-11-30T06:15"), 1'796'012'100'000);
  EXPECT_EQ(time_of("2026-11-30T06:15:01"), 1'796'012'101'000);
  EXPECT_EQ(time_of("2026-11-30"), 1'795'989'600'000);
  ::unsetenv("TZ");
  ::tzset();
}

TEST(When, SoLongAgo) {
  EXPECT_EQ(time_of("-90s"), kNowMs - 90'000);
  EXPECT_EQ(time_of("-2h"), kNowMs - 7'200'000);
  EXPECT_EQ(time_of("-7d"), kNowMs - 7 * 86'400'000);
  for (const char* wrong : {"-", "-2", "-2y", "--2h", "-0h", "2h"}) {
    EXPECT_FALSE(parse_when(wrong, kNowMs)) << wrong;
  }
}

TEST(When, WhatIsNone) {
  for (const char* wrong : {"", "now", "2026", "2026-13-01", "2026-11-30T", "2026-11-30T25:00",
                            "2026-11-30T04:15:00X", "2026-11-30T04:15:00+1", "2026-11-30Z",
                            "2026-11-3", "-026-11-30", "2026-11-30T04:15:00.Z"}) {
    EXPECT_FALSE(parse_when(wrong, kNowMs)) << wrong;
  }
}

}  // namespace
}  // namespace zabfs::fsd
