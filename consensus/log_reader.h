// Reads the log's files back and tells apart what it finds: intact records in order, a torn tail,
// damage (rules in log_format.h). Recovery, history for learners and `zabfs check` go through here.
//
// Never writes. What can't be read from the disk counts as damage where it lies.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "consensus/disk.h"
#include "consensus/log_format.h"

namespace zabfs::consensus {

struct LogSegment {
  std::string name;
  uint64_t number = 0;
};
std::string log_segment_name(uint64_t number);
inline constexpr std::string_view kLogPrefix = "log.";
inline constexpr std::string_view kDamagedLogPrefix =
    "damaged.log.";                                                 // set aside (Log::restart_at)
inline constexpr std::string_view kKeptLogPrefix = "history.log.";  // (kept_history.h)
std::vector<LogSegment> list_log_segments(Disk& disk, std::string_view prefix = kLogPrefix);

// One intact record, and where it is.
struct FoundRecord {
  log_format::RecordHeader header;
  std::string_view body;
  uint64_t segment = 0;
  uint64_t offset = 0;
};

struct LogReport {
  std::vector<std::string> damage;     // file, offset, what is wrong; empty: the log is whole
  std::vector<LogSegment> segments;    // those that count
  std::vector<std::string> leftovers;  // of a mend: to be removed
  uint64_t records = 0;
  uint64_t next_number = 1;  // of the segment after the last
  // Of the last segment: where its records end, and its size. With damage: of the segment that has
  // the first of it, where the intact beginning ends.
  LogSegment last;
  uint64_t end = 0;
  uint64_t size = 0;
  bool end_is_known = true;  // an intact record or segment follows the last damage
  bool torn = false;         // a write that a crash stopped follows `end`
};

enum class Taken {
  kYes,
  kOutOfOrder,  // which is damage too
  kEnough,      // nothing else is wanted
};

struct LogHandlers {
  std::function<void(const log_format::SegmentHeader&)> first_segment;
  // In order. `damages`: in how many places before it something is missing.
  std::function<Taken(const FoundRecord&, size_t damages)> record;
};

// All of a segment; blocks that the disk doesn't give come as filler, which no checksum accepts.
// `unreadable_end` is where the last of them ends, or 0.
DiskStatus read_segment(Disk& disk, const std::string& name, std::string& bytes,
                        uint64_t& unreadable_end);

// From the segment of number `first` on.
LogReport read_log(Disk& disk, const LogHandlers& handlers, std::string_view prefix = kLogPrefix,
                   uint64_t first = 0);
// The number of the last segment that begins at or before `zxid`: what comes after it is in there
// or behind.
uint64_t find_segment(Disk& disk, tree::Zxid zxid);

}  // namespace zabfs::consensus
