#include "consensus/log_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <optional>

namespace zabfs::consensus {

using namespace log_format;

namespace {

constexpr size_t kSalvageBytes = 512;
constexpr char kUnreadable = '\x5a';

// The first intact record behind `offset`; none if no record proves that `offset` had been synced.
std::optional<size_t> next_record(std::string_view bytes, size_t offset) {
  std::optional<size_t> first;
  for (size_t at = padded(offset + 1); at + kRecordHeaderBytes <= bytes.size(); at += 8) {
    RecordHeader header;
    std::string_view body;
    if (get<uint32_t>(bytes.data() + at + 36) != kRecordMagic ||
        !decode_record(bytes.substr(at), header, body)) {
      continue;
    }
    if (!first) first = at;
    if (header.synced > offset) return first;
  }
  return std::nullopt;
}

// One walk over all segments.
class Walk {
 public:
  Walk(Disk& disk, const LogHandlers& handlers) : disk_(disk), handlers_(handlers) {}

  LogReport run(std::string_view prefix, uint64_t first) {
    for (const LogSegment& segment : list_log_segments(disk_, prefix)) {
      if (enough_) break;
      if (segment.number < first) continue;
      if (segment.number <= covered_) {
        report_.leftovers.push_back(segment.name);
      } else {
        read(segment);
      }
    }
    report_.next_number = covered_ + 1;
    return std::move(report_);
  }

 private:
  void read(const LogSegment& segment) {
    bool is_first = report_.segments.empty();
    DiskStatus status = read_segment(disk_, segment.name, bytes_, unreadable_end_);
    if (!status.ok()) bytes_.clear();
    SegmentHeader header;
    if (!status.ok()) {
      note_damage(segment, 0, status.message());
    } else if (!decode_segment_header(bytes_, header) || header.number != segment.number) {
      note_damage(segment, 0, "its header is corrupt");
    } else if (is_first) {
      chain_ = header.chain;
      if (handlers_.first_segment) handlers_.first_segment(header);
    } else if (segment.number != covered_ + 1) {
      note_damage(segment, 0, fmt::format("{} is missing", log_segment_name(covered_ + 1)));
      chain_ = header.chain;
    } else if (chain_ && header.chain != *chain_) {
      note_damage(segment, 0, "the end of the segment before it is corrupt or missing");
      chain_ = header.chain;
    }
    report_.segments.push_back(segment);
    covered_ = std::max(segment.number, header.covers);
    read_records(segment);
  }

  void read_records(const LogSegment& segment) {
    size_t offset = kSegmentHeaderBytes;
    while (offset < bytes_.size()) {
      FoundRecord found;
      found.segment = segment.number;
      found.offset = offset;
      bool intact =
          decode_record(std::string_view(bytes_).substr(offset), found.header, found.body);
      if (intact && (!chain_ || found.header.chain == *chain_)) {
        if (!take(segment, found) || enough_) return;
        offset += kRecordHeaderBytes + padded(found.header.length);
        continue;
      }
      std::optional<size_t> next = next_record(bytes_, offset);
      if (!next) {
        // What a crash tears can be read; where that fails there may have been anything.
        if (unreadable_end_ > offset)
          note_damage(segment, offset, "the disk can't read what follows");
        break;
      }
      note_damage(segment, offset, "a record that had been synced is corrupt");
      chain_.reset();
      offset = *next;
    }
    if (damaged() || enough_) return;
    report_.last = segment;
    report_.end = offset;
    report_.size = bytes_.size();
    report_.torn = bytes_.find_first_not_of('\0', offset) != std::string::npos;
  }

  bool take(const LogSegment& segment, const FoundRecord& found) {
    Taken taken = handlers_.record ? handlers_.record(found, report_.damage.size()) : Taken::kYes;
    enough_ = taken == Taken::kEnough;
    if (taken == Taken::kOutOfOrder) {
      note_damage(segment, found.offset,
                  fmt::format("zxid 0x{:x} is out of order", found.header.zxid.value));
      return false;
    }
    chain_ = found.header.sum;
    ++report_.records;
    report_.end_is_known = true;
    return true;
  }

  void note_damage(const LogSegment& segment, uint64_t offset, const std::string& what) {
    if (!damaged()) {
      report_.last = segment;
      report_.end = std::max<uint64_t>(offset, kSegmentHeaderBytes);
      report_.size = bytes_.size();
    }
    report_.end_is_known = false;
    report_.damage.push_back(fmt::format("{} offset {}: {}", segment.name, offset, what));
  }

  bool damaged() const { return !report_.damage.empty(); }

  Disk& disk_;
  const LogHandlers& handlers_;
  LogReport report_;
  std::string bytes_;
  uint64_t unreadable_end_ = 0;
  std::optional<uint32_t> chain_;  // of the record before; unknown behind damage
  uint64_t covered_ = 0;
  bool enough_ = false;
};

}  // namespace

DiskStatus read_segment(Disk& disk, const std::string& name, std::string& bytes,
                        uint64_t& unreadable_end) {
  unreadable_end = 0;
  std::unique_ptr<File> file;
  DiskStatus status = disk.open(name, false, file);
  if (!status.ok() || file->read_at(0, file->size(), bytes).ok()) return status;
  uint64_t size = file->size();
  bytes.assign(size, kUnreadable);
  std::string block;
  for (uint64_t at = 0; at < size; at += kSalvageBytes) {
    if (file->read_at(at, kSalvageBytes, block).ok()) {
      bytes.replace(at, block.size(), block);
    } else {
      unreadable_end = at + kSalvageBytes;
    }
  }
  return {};
}

std::string log_segment_name(uint64_t number) { return fmt::format("log.{:016x}", number); }

std::vector<LogSegment> list_log_segments(Disk& disk, std::string_view prefix) {
  std::vector<LogSegment> segments;
  for (const std::string& name : disk.list()) {
    if (!name.starts_with(prefix) || name.size() != prefix.size() + 16) continue;
    segments.push_back({name, std::strtoull(name.c_str() + prefix.size(), nullptr, 16)});
  }
  return segments;
}

LogReport read_log(Disk& disk, const LogHandlers& handlers, std::string_view prefix,
                   uint64_t first) {
  return Walk(disk, handlers).run(prefix, first);
}

uint64_t find_segment(Disk& disk, tree::Zxid zxid) {
  uint64_t found = 0, covered = 0;
  for (const LogSegment& segment : list_log_segments(disk)) {
    std::unique_ptr<File> file;
    std::string bytes;
    SegmentHeader header;
    if (segment.number <= covered) continue;  // a mend's leftover
    if (!disk.open(segment.name, false, file).ok() ||
        !file->read_at(0, kSegmentHeaderBytes, bytes).ok() ||
        !decode_segment_header(bytes, header)) {
      continue;
    }
    covered = header.covers;
    if (header.last_zxid <= zxid) found = segment.number;
  }
  return found;
}

}  // namespace zabfs::consensus
