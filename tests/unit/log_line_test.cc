#include "fsd/log_line.h"

#include <gtest/gtest.h>
#include <spdlog/logger.h>
#include <spdlog/sinks/ostream_sink.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <regex>
#include <sstream>
#include <string>

#include "fsd/log_level.h"

namespace zabfs::fsd {
namespace {

TEST(LogLine, PlainTextStaysAsItIs) {
  for (std::string_view text : {"", "a b: \"c\" \\ {}", "Größe 数 🙂"})
    EXPECT_EQ(log_line(text), text);
}

TEST(LogLine, WhatBreaksALineOrMovesACursorIsEscaped) {
  EXPECT_EQ(log_line("a\nb\r\tc"), "a\\nb\\r\\tc");
  EXPECT_EQ(log_line("\x1b[31mred\x7f"), "\\x1b[31mred\\x7f");
  EXPECT_EQ(log_line(std::string_view("nul\0", 4)), "nul\\x00");
  EXPECT_EQ(log_line("\xc2\x9b"
                     "1m"),
            "\\xc2\\x9b1m");  // CSI of Latin-1
  EXPECT_EQ(log_line("\xe2\x80\xae"
                     "txt"),
            "\\xe2\\x80\\xaetxt");
  EXPECT_EQ(log_line("\xe2\x80\xa8"), "\\xe2\\x80\\xa8");
}

TEST(LogLine, WhatIsNoUtf8IsEscapedByteByByte) {
  EXPECT_EQ(log_line("\xff"
                     "a"),
            "\\xffa");
  EXPECT_EQ(log_line("\xc0\x8a"), "\\xc0\\x8a");           // an overlong newline
  EXPECT_EQ(log_line("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // half a surrogate pair
  EXPECT_EQ(log_line("\xe2\x82"), "\\xe2\\x82");           // cut off
  EXPECT_EQ(log_line("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
}

TEST(LogLine, ALongMessageIsCut) {
  std::string line = log_line(std::string(1'000'000, 'x'));
  EXPECT_EQ(line, std::string(kMaxLogLineBytes, 'x') + "... (998000 bytes more)");
  EXPECT_EQ(log_line(std::string(kMaxLogLineBytes, 'x')).size(), kMaxLogLineBytes);
  EXPECT_LT(log_line(std::string(900'000, '\n')).size(), 4 * kMaxLogLineBytes + 40);
}

TEST(LogLine, OfAnyBytesIsOneLineOfPrintableText) {
  std::mt19937 random(1);
  for (int round = 0; round < 2'000; ++round) {
    std::string bytes(random() % 50, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    std::string line = log_line(bytes);
    EXPECT_TRUE(std::none_of(line.begin(), line.end(), [](char c) {
      return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
    }));
    EXPECT_EQ(log_line(line), line);  // it is valid UTF-8 by now, without anything to escape
  }
}

// Whoever logs, and however.
TEST(LogLine, TheFormatterPutsEveryMessageThroughIt) {
  std::ostringstream out;
  spdlog::logger logger("test", std::make_shared<spdlog::sinks::ostream_sink_st>(out));
  logger.set_formatter(log_formatter(LogStyle::kTimed));
  logger.warn("from {}", "a\nclient");
  logger.error(std::string("\x1b[2J"));
  std::istringstream lines(out.str());
  std::string first, second, rest;
  std::getline(lines, first);
  std::getline(lines, second);
  EXPECT_TRUE(first.ends_with(" warning from a\\nclient")) << first;
  EXPECT_TRUE(second.ends_with(" error \\x1b[2J")) << second;
  EXPECT_FALSE(std::getline(lines, rest));
}

std::string formatted(LogStyle style, spdlog::level::level_enum level) {
  std::ostringstream out;
  spdlog::logger logger("test", std::make_shared<spdlog::sinks::ostream_sink_st>(out));
  logger.set_formatter(log_formatter(style));
  logger.set_level(spdlog::level::trace);
  logger.log(level, "a line");
  return out.str();
}

TEST(LogLine, TimesAreRfc3339WithTheOffset) {
  std::regex line(
      "\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}[+-]\\d{2}:\\d{2} info a line\n");
  for (const char* zone : {"UTC", "Asia/Kolkata", "America/St_Johns"}) {
    ::setenv("TZ", zone, 1);
    ::tzset();
    std::string text = formatted(LogStyle::kTimed, spdlog::level::info);
    EXPECT_TRUE(std::regex_match(text, line)) << text;
    std::string offset = zone == std::string("UTC") ? "+00:00 " : ":30 ";
    EXPECT_NE(text.find(offset), std::string::npos) << text;
  }
  ::unsetenv("TZ");
  ::tzset();
}

TEST(LogLine, TheJournalGetsTheLevelAsSyslogNumbersIt) {
  EXPECT_EQ(formatted(LogStyle::kJournal, spdlog::level::debug), "<7>a line\n");
  EXPECT_EQ(formatted(LogStyle::kJournal, spdlog::level::info), "<6>a line\n");
  EXPECT_EQ(formatted(LogStyle::kJournal, spdlog::level::warn), "<4>a line\n");
  EXPECT_EQ(formatted(LogStyle::kJournal, spdlog::level::err), "<3>a line\n");
  EXPECT_EQ(formatted(LogStyle::kJournal, spdlog::level::critical), "<2>a line\n");
}

TEST(LogLine, TheJournalIsWhatTheVariableNames) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  struct stat st = {};
  ASSERT_EQ(::fstat(ends[1], &st), 0);
  std::string name = std::to_string(st.st_dev) + ":" + std::to_string(st.st_ino);
  EXPECT_TRUE(is_journal(ends[1], name.c_str()));
  EXPECT_FALSE(is_journal(ends[1], (name + "0").c_str()));
  EXPECT_FALSE(is_journal(ends[1], ""));
  EXPECT_FALSE(is_journal(ends[1], nullptr));
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_FALSE(is_journal(ends[1], name.c_str()));
}

TEST(LogLevel, HasTheNamesThatAreListed) {
  for (const char* name : {"debug", "info", "warning", "error"}) {
    EXPECT_TRUE(log_level_named(name)) << name;
    EXPECT_NE(std::string(kLogLevels).find(name), std::string::npos);
  }
  for (const char* name : {"", "Info", "warn", "all", "info "}) {
    EXPECT_FALSE(log_level_named(name)) << name;
  }
}

}  // namespace
}  // namespace zabfs::fsd
