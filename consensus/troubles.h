// What is amiss at this node, and when its log is told of it.
//
// Some of it holds as long as it can be seen: whom a node without a leader waits for (waiting.h).
// The log is told of what was there at two looks in a row, and again after kTellAgainMs, or when it
// is something else. So a change of leaders leaves no such lines in a log.
//
// Some of it comes as an event: a second server that has this number, a request of somebody whom
// nothing confirms. The log is told at once, and then no more for a while. Two servers with one
// number count as amiss for kDoubleLastsMs after the last sign of them.
//
// Pure: time is an argument, and what the log is to be told is the return value.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tree/types.h"

namespace zabfs::consensus {

using tree::ServerId;

class Troubles {
 public:
  static constexpr int64_t kLookMs = 3'000;  // between two looks
  static constexpr int64_t kTellAgainMs = 60'000;
  static constexpr int64_t kDoubleTellMs = 10'000;
  static constexpr int64_t kDoubleLastsMs = 60'000;

  bool is_look_due(int64_t now_ms) const { return now_ms >= next_look_ms_; }
  // What is amiss now. The sentences that the log is to be told.
  std::vector<std::string> look(std::vector<std::string> now, int64_t now_ms);

  // Two servers seem to have that number; `text` says which. True: the log is to be told.
  bool doubled(ServerId id, std::string text, int64_t now_ms);
  std::vector<std::string> doubles(int64_t now_ms) const;

  // A request names an identity that nothing here confirms. True: the log is to be told.
  bool unproven(int64_t now_ms);

 private:
  struct Double {
    std::string text;
    int64_t seen_ms = 0, told_ms = 0;
  };

  int64_t next_look_ms_ = 0;
  std::vector<std::string> seen_, told_;
  int64_t tell_again_ms_ = 0;
  std::map<ServerId, Double> doubles_;
  int64_t next_unproven_ms_ = 0;
};

}  // namespace zabfs::consensus
