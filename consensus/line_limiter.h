// What a log is told of lines that somebody else can cause at will: clients, strangers, members,
// local users.
//
// The first line of a kind is told at once. Those of the same kind that come within the next second
// are counted, and told of as one when the second is over: the latest of them, and how many there
// were. While such lines go on, the log is told after 2 s, 4 s and so on, at last each minute. A
// kind that is silent for one such time begins anew. Example, with 200 lines in half a second:
//
//   client port: closed 10.0.0.7:4100: not a connect request
//   client port: closed 10.0.0.7:4299: not a connect request, and 198 more like it in the last 1 s
//
// Two lines are of a kind if they differ in numbers, addresses and quoted text alone.
//
// Pure: time is an argument, and what the log is to be told is the return value.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "consensus/environment.h"

namespace zabfs::consensus {

class LineLimiter {
 public:
  static constexpr int64_t kFirstWindowMs = 1'000;
  static constexpr int64_t kLongestWindowMs = 60'000;
  static constexpr size_t kMaxKinds = 100;  // further ones are of one kind together
  // Of a line that waits; the log itself has room for it and the number behind it.
  static constexpr size_t kMaxTextBytes = 1'900;

  struct Line {
    LogLevel level = LogLevel::kInfo;
    std::string text;
  };

  // That line, if it is to be told now, behind what is due.
  std::vector<Line> note(LogLevel level, std::string text, int64_t now_ms);
  // What the times that are over by now come to.
  std::vector<Line> due(int64_t now_ms);
  // When `due` has to be called next; INT64_MAX: there is nothing to wait for.
  int64_t next_due_ms() const;
  // What is left, whether its time is over or not.
  std::vector<Line> rest(int64_t now_ms);

  // The line without what differs between those of a kind.
  static std::string kind_of(std::string_view text);

 private:
  struct Window {
    int64_t began_ms = 0;
    int64_t length_ms = 0;
    Line latest;
    size_t count = 0;  // of lines that were not told yet
    int64_t end_ms() const { return began_ms + length_ms; }
  };
  static Line told(Window& window, int64_t now_ms);

  std::map<std::string, Window, std::less<>> windows_;  // by kind
};

}  // namespace zabfs::consensus
