#include "consensus/log.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace zabfs::consensus {

using namespace log_format;

namespace {

constexpr std::string_view kPrefix = "log.";
constexpr const char* kSpareName = "spare";
constexpr const char* kTemporaryName = "segment.tmp";
constexpr size_t kZeroChunkBytes = 1u << 20;

std::string segment_name(uint64_t number) { return fmt::format("log.{:016x}", number); }

struct Segment {
  std::string name;
  uint64_t number;
};

std::vector<Segment> list_segments(Disk& disk) {
  std::vector<Segment> segments;
  for (const std::string& name : disk.list()) {
    if (!name.starts_with(kPrefix) || name.size() != kPrefix.size() + 16) continue;
    segments.push_back({name, std::strtoull(name.c_str() + kPrefix.size(), nullptr, 16)});
  }
  return segments;
}

DiskStatus read_segment(Disk& disk, const std::string& name, std::string& bytes) {
  std::unique_ptr<File> file;
  DiskStatus status = disk.open(name, false, file);
  if (status.ok()) status = file->read_at(0, file->size(), bytes);
  return status;
}

// Whether a record after `offset` proves that what is at `offset` had been synced.
bool was_synced_past(std::string_view bytes, size_t offset) {
  for (size_t at = padded(offset); at + kRecordHeaderBytes <= bytes.size(); at += 8) {
    RecordHeader header;
    std::string_view body;
    if (get<uint32_t>(bytes.data() + at + 36) == kRecordMagic &&
        decode_record(bytes.substr(at), header, body) && header.synced > offset) {
      return true;
    }
  }
  return false;
}

}  // namespace

// One walk over the records, applying groups as they close.
struct Log::Scan {
  History history;
  uint32_t current_epoch = 0;
  uint32_t chain = 0;
  std::optional<OpenGroup> group;
  // Called for each txn kept, and to forget those after a zxid, or all.
  std::function<void(const RecordHeader&, std::string_view)> on_txn;
  std::function<void(Zxid)> on_truncate;
  std::function<void()> on_clear;

  bool take(const RecordHeader& header, std::string_view body, uint64_t number, uint64_t offset) {
    switch (header.type) {
      case RecordType::kTxn:
        if (!history.follows(header.zxid)) return false;
        history.append(header.zxid);
        if (on_txn) on_txn(header, body);
        return true;
      case RecordType::kBeginSync:
        group = OpenGroup{number, offset, chain, history};
        return begin_sync(static_cast<SyncMode>(header.extra), header.zxid);
      case RecordType::kEndSync:
        group.reset();
        current_epoch = header.extra;
        return true;
    }
    return false;
  }

  bool begin_sync(SyncMode mode, Zxid zxid) {
    if (mode == SyncMode::kTrunc) {
      history.truncate(zxid);
      if (on_truncate) on_truncate(zxid);
    } else if (mode == SyncMode::kSnap) {
      history.reset(zxid);
      if (on_clear) on_clear();
    }
    return true;
  }
};

std::string Log::open(std::string& notes) {
  for (const char* leftover : {kSpareName, kTemporaryName}) {
    static_cast<void>(disk_.remove(leftover));
  }
  std::vector<Segment> segments = list_segments(disk_);
  if (segments.empty()) {
    history_.reset(Zxid{});
    DiskStatus status = start_segment(0);
    return status.ok() ? "" : status.message();
  }
  Scan scan;
  std::string bytes;
  for (size_t i = 0; i < segments.size(); ++i) {
    const Segment& segment = segments[i];
    DiskStatus status = read_segment(disk_, segment.name, bytes);
    if (!status.ok()) return status.message();
    SegmentHeader header;
    if (!decode_segment_header(bytes, header) || header.number != segment.number) {
      return fmt::format("{} has a corrupt header", segment.name);
    }
    if (i == 0) {
      scan.history.reset(header.last_zxid);
      scan.current_epoch = header.current_epoch;
      scan.chain = header.chain;
    } else if (header.chain != scan.chain || segment.number != segments[i - 1].number + 1) {
      return fmt::format("{} does not continue {}: a segment between them is missing or corrupt",
                         segment.name, segments[i - 1].name);
    }
    size_t offset = kSegmentHeaderBytes;
    while (offset < bytes.size()) {
      RecordHeader record;
      std::string_view body;
      if (!decode_record(std::string_view(bytes).substr(offset), record, body)) break;
      if (record.chain != scan.chain) break;
      if (!scan.take(record, body, segment.number, offset)) {
        return fmt::format("{} offset {}: zxid 0x{:x} out of order", segment.name, offset,
                           record.zxid.value);
      }
      scan.chain = record.sum;
      committed_ = std::max(committed_, record.committed);
      offset += kRecordHeaderBytes + padded(record.length);
    }
    bool is_last = i + 1 == segments.size();
    if (was_synced_past(bytes, offset)) {
      return fmt::format("{} offset {}: a record that had been synced is corrupt", segment.name,
                         offset);
    }
    if (!is_last) continue;
    status = disk_.open(segment.name, false, file_);
    if (!status.ok()) return status.message();
    number_ = segment.number;
    segment_size_ = bytes.size();
    position_ = offset;
    bool torn = bytes.find_first_not_of('\0', offset) != std::string::npos;
    if (torn) {
      notes = fmt::format("{} offset {}: dropped a torn write, never acknowledged", segment.name,
                          offset);
      status = fill_with_zeros(*file_, offset, segment_size_);
      if (status.ok()) status = file_->sync();
      if (!status.ok()) return status.message();
    }
  }
  history_ = scan.history;
  current_epoch_ = scan.current_epoch;
  chain_ = scan.chain;
  group_ = scan.group;
  if (group_) {
    notes = "dropped an unfinished synchronisation with a leader";
    DiskStatus status = roll_back_group();
    if (!status.ok()) return status.message();
  }
  return {};
}

DiskStatus Log::fill_with_zeros(File& file, uint64_t from, uint64_t to) {
  std::string zeros(std::min<uint64_t>(kZeroChunkBytes, to - from), '\0');
  while (from < to) {
    size_t n = std::min<uint64_t>(zeros.size(), to - from);
    DiskStatus status = file.write_at(from, std::string_view(zeros).substr(0, n));
    if (!status.ok()) return status;
    from += n;
  }
  return {};
}

DiskStatus Log::prepare_spare() {
  if (has_spare_) return {};
  std::unique_ptr<File> file;
  DiskStatus status = disk_.open(kSpareName, true, file);
  if (status.ok()) status = fill_with_zeros(*file, 0, options_.segment_bytes);
  if (status.ok()) status = file->sync();
  if (status.ok()) has_spare_ = true;
  return status;
}

// Begins segment `number_ + 1`: complete under a temporary name, then renamed, then the directory.
DiskStatus Log::start_segment(uint64_t at_least_bytes) {
  std::unique_ptr<File> file;
  uint64_t size = std::max(options_.segment_bytes, at_least_bytes + kSegmentHeaderBytes);
  bool use_spare = has_spare_ && size == options_.segment_bytes;
  const char* temporary = use_spare ? kSpareName : kTemporaryName;
  DiskStatus status = disk_.open(temporary, true, file);
  if (status.ok() && !use_spare) status = fill_with_zeros(*file, 0, size);
  SegmentHeader header{chain_, number_ + 1, history_.last(), current_epoch_};
  if (status.ok()) status = file->write_at(0, encode_segment_header(header));
  if (status.ok()) status = file->sync();
  if (status.ok()) status = disk_.rename(temporary, segment_name(number_ + 1));
  if (status.ok()) status = disk_.sync_directory();
  if (!status.ok()) return status;
  if (use_spare) has_spare_ = false;
  file_ = std::move(file);
  number_ += 1;
  position_ = kSegmentHeaderBytes;
  segment_size_ = size;
  return {};
}

DiskStatus Log::write(const std::vector<LogEntry>& batch, Zxid committed) {
  size_t need = 0;
  for (const LogEntry& entry : batch) {
    need += kRecordHeaderBytes + (entry.txn ? padded(entry.txn->size()) : 0);
  }
  if (position_ + need > segment_size_) {
    DiskStatus status = start_segment(need);
    if (!status.ok()) return status;
  }
  buffer_.clear();
  buffer_.reserve(need);
  Scan scan{history_, current_epoch_, chain_, std::move(group_), {}, {}, {}};
  auto synced = static_cast<uint32_t>(position_);
  for (const LogEntry& entry : batch) {
    RecordHeader header;
    header.chain = scan.chain;
    header.type = entry.type;
    header.synced = synced;
    header.zxid = entry.zxid;
    header.extra = entry.extra;
    header.committed = committed;
    uint64_t offset = position_ + buffer_.size();
    encode_record(header, entry.txn ? std::string_view(*entry.txn) : std::string_view(), buffer_);
    if (!scan.take(header, {}, number_, offset)) {
      return DiskStatus{EINVAL, fmt::format("append zxid 0x{:x} out of order", entry.zxid.value)};
    }
    scan.chain = header.sum;
  }
  DiskStatus status = file_->write_at(position_, buffer_);
  if (status.ok()) status = file_->sync();
  if (!status.ok()) return status;
  position_ += buffer_.size();
  history_ = std::move(scan.history);
  current_epoch_ = scan.current_epoch;
  chain_ = scan.chain;
  group_ = std::move(scan.group);
  if (buffer_.capacity() > kZeroChunkBytes) buffer_ = std::string();
  return {};
}

DiskStatus Log::roll_back_group() {
  if (!group_) return {};
  OpenGroup group = std::move(*group_);
  group_.reset();
  // Later segments first, so that a crash in between leaves a shorter but intact log.
  DiskStatus status;
  for (; number_ > group.number && status.ok(); --number_) {
    status = disk_.remove(segment_name(number_));
    if (status.ok()) status = disk_.sync_directory();
  }
  if (status.ok()) status = disk_.open(segment_name(group.number), false, file_);
  if (status.ok()) {
    segment_size_ = file_->size();
    status = fill_with_zeros(*file_, group.position, segment_size_);
  }
  if (status.ok()) status = file_->sync();
  position_ = group.position;
  chain_ = group.chain;
  history_ = std::move(group.history);
  return status;
}

bool Log::read(Disk& disk, Zxid after, Zxid through, std::deque<LogTxn>& txns) {
  std::vector<Segment> segments = list_segments(disk);
  Scan scan;
  scan.on_txn = [&](const RecordHeader& header, std::string_view body) {
    if (header.zxid > after && header.zxid <= through) {
      txns.push_back({header.zxid, std::make_shared<const std::string>(body)});
    }
  };
  scan.on_truncate = [&](Zxid zxid) {
    while (!txns.empty() && txns.back().zxid > zxid) txns.pop_back();
  };
  scan.on_clear = [&] { txns.clear(); };
  std::string bytes;
  bool first = true;
  for (const Segment& segment : segments) {
    SegmentHeader header;
    if (!read_segment(disk, segment.name, bytes).ok() || !decode_segment_header(bytes, header)) {
      return false;
    }
    if (first) {
      scan.history.reset(header.last_zxid);
      scan.chain = header.chain;
      first = false;
    }
    size_t offset = kSegmentHeaderBytes;
    RecordHeader record;
    std::string_view body;
    while (offset < bytes.size() &&
           decode_record(std::string_view(bytes).substr(offset), record, body) &&
           record.chain == scan.chain && scan.take(record, body, segment.number, offset)) {
      scan.chain = record.sum;
      offset += kRecordHeaderBytes + padded(record.length);
    }
  }
  return !segments.empty() && after >= scan.history.base();
}

Zxid Log::purge(Zxid zxid) {
  std::vector<Segment> segments = list_segments(disk_);
  // A segment may go once the next one begins at or before `zxid`. Oldest first: what is left is
  // always a log without holes.
  for (size_t i = 0; i + 1 < segments.size(); ++i) {
    std::unique_ptr<File> next;
    std::string bytes;
    SegmentHeader header;
    if (!disk_.open(segments[i + 1].name, false, next).ok() ||
        !next->read_at(0, kSegmentHeaderBytes, bytes).ok() ||
        !decode_segment_header(bytes, header) || header.last_zxid > zxid ||
        (group_ && group_->number <= segments[i].number)) {
      break;
    }
    if (!disk_.remove(segments[i].name).ok()) break;
    if (header.last_zxid > history_.base()) history_.purge(header.last_zxid);
  }
  return history_.base();
}

}  // namespace zabfs::consensus
