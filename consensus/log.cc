#include "consensus/log.h"

#include <fmt/format.h>

#include <algorithm>

namespace zabfs::consensus {

using namespace log_format;

namespace {

constexpr const char* kSpareName = "spare";
constexpr const char* kTemporaryName = "segment.tmp";
constexpr std::string_view kDamagedPrefix = "damaged.";  // and the segment's name
constexpr size_t kZeroChunkBytes = 1u << 20;
constexpr size_t kMinimumRoomBytes = 4u << 10;  // what a synchronisation's group needs at least

LogEntry entry_of(const RecordHeader& header, std::string_view body) {
  Payload txn;
  if (header.type == RecordType::kTxn) txn = std::make_shared<const std::string>(body);
  return {header.type, header.zxid, header.extra, std::move(txn)};
}

RecordHeader append_record(const LogEntry& entry, uint32_t chain, uint64_t synced, Zxid committed,
                           std::string& out) {
  RecordHeader header;
  header.chain = chain;
  header.type = entry.type;
  header.synced = static_cast<uint32_t>(synced);
  header.zxid = entry.zxid;
  header.extra = entry.extra;
  header.committed = committed;
  encode_record(header, entry.txn ? std::string_view(*entry.txn) : std::string_view(), out);
  return header;
}

}  // namespace

bool Log::State::take(const RecordHeader& header, uint64_t number, uint64_t offset) {
  switch (header.type) {
    case RecordType::kTxn:
      if (!history.follows(header.zxid)) return false;
      history.append(header.zxid);
      break;
    case RecordType::kBeginSync:
      group = OpenGroup{number, 0, 0, history};
      if (static_cast<SyncMode>(header.extra) == SyncMode::kTrunc) history.truncate(header.zxid);
      if (static_cast<SyncMode>(header.extra) == SyncMode::kSnap) {
        history.reset(header.zxid);
      }
      break;
    case RecordType::kEndSync:
      group.reset();
      current_epoch = header.extra;
      break;
    case RecordType::kRollBack:
      if (!group) return false;
      history = std::move(group->history);
      group.reset();
      break;
    case RecordType::kSeal:
      break;
    default:
      return false;  // no type of ours
  }
  chain = header.sum;
  if (group && group->number == number) {
    group->end = offset + kRecordHeaderBytes + padded(header.length);
    group->end_chain = chain;
  }
  return true;
}

// ---- recovery

LogRecovery Log::open() {
  LogRecovery recovery;
  behind_.clear();
  missing_.reset();
  committed_ = first_base_ = Zxid{};
  is_new_ = false;
  for (const char* leftover : {kSpareName, kTemporaryName}) {
    static_cast<void>(disk_.remove(leftover));
  }
  State state;
  bool has_base = false;
  LogHandlers handlers;
  handlers.first_segment = [&](const SegmentHeader& header) {
    first_base_ = header.last_zxid;
    state.history.reset(first_base_);
    state.current_epoch = header.current_epoch;
    state.chain = header.chain;
    has_base = true;
  };
  handlers.record = [&](const FoundRecord& found, size_t damages) {
    committed_ = std::max(committed_, found.header.committed);
    if (damages == 0) {
      bool in_order = state.take(found.header, found.segment, found.offset);
      return in_order ? Taken::kYes : Taken::kOutOfOrder;
    }
    behind_.push_back({entry_of(found.header, found.body), damages});
    return Taken::kYes;
  };
  LogReport report = read_log(disk_, handlers);
  if (report.segments.empty()) {
    is_new_ = true;
    state_ = State{};
    next_number_ = 1;  // and behind what is kept of an earlier log, whose names it must not take
    for (const LogSegment& kept : list_log_segments(disk_, kKeptLogPrefix)) {
      next_number_ = kept.number + 1;
    }
    return recovery;
  }
  state_ = std::move(state);
  number_ = report.last.number;
  next_number_ = report.next_number;
  position_ = report.end;
  segment_size_ = report.size;
  if (!report.damage.empty()) {
    recovery.damage = std::move(report.damage);
    if (has_base && report.end_is_known) plan_mending();
    return recovery;
  }
  DiskStatus status = disk_.open(report.last.name, false, file_);
  for (const std::string& leftover : report.leftovers) {
    if (status.ok()) status = disk_.remove(leftover);
  }
  if (status.ok() && report.torn) {
    recovery.note = fmt::format("{} offset {}: dropped a torn write, never acknowledged",
                                report.last.name, report.end);
    status = fill_with_zeros(*file_, position_, segment_size_);
    if (status.ok()) status = file_->sync();
  }
  if (status.ok() && state_.group) {
    recovery.note = "dropped an unfinished synchronisation with a leader";
    status = roll_back_group();
  }
  if (!status.ok()) recovery.error = status.message();
  return recovery;
}

bool Log::holds_nothing() const {
  const History& history = state_.history;
  return history.base() == Zxid{} && history.last() == Zxid{} && state_.current_epoch == 0 &&
         !state_.group;
}

// Whether what was lost can only have been txns of one epoch each, and which. What comes behind a
// gap must say how far the log had gone there.
void Log::plan_mending() {
  std::vector<Range> missing;
  std::vector<BehindDamage> kept;
  History history = state_.history;
  bool mendable = true;
  size_t damages_before = 0;
  // While in a group: what held before it.
  struct Group {
    SyncMode mode;
    bool begins_intact;  // before all damage
    size_t damages, kept, missing;
    History history;
    bool mendable;
  };
  std::optional<Group> group;
  if (state_.group) group = Group{SyncMode::kDiff, true, 0, 0, 0, state_.group->history, true};
  auto bridge = [&](Zxid through) {  // the log went on to `through`, within its epoch
    Zxid last = history.last();
    mendable = mendable && through.epoch() == last.epoch() && last.counter() != 0;
    if (through <= last) return;
    missing.push_back({last, through});
    history.append(through);
  };
  for (const auto& [entry, damages] : behind_) {
    bool behind_gap = damages != damages_before;
    if (entry.type == RecordType::kSeal) {
      kept.push_back({entry, damages});
      continue;  // says nothing of what was before it
    }
    damages_before = damages;
    if (entry.type == RecordType::kTxn) {
      if (behind_gap) bridge(Zxid{entry.zxid.value - 1});
      mendable = mendable && history.follows(entry.zxid);
      history.append(entry.zxid);
    } else if (entry.type == RecordType::kBeginSync) {
      auto mode = static_cast<SyncMode>(entry.extra);
      group = Group{mode, false, damages, kept.size(), missing.size(), history, mendable};
      if (mode == SyncMode::kSnap) {  // a txn lost just before it does not matter
        history.reset(entry.zxid);
      } else {
        if (behind_gap) bridge(entry.zxid);
        mendable = mendable && history.contains(entry.zxid);
        if (mode == SyncMode::kTrunc) history.truncate(entry.zxid);
      }
    } else if (entry.type == RecordType::kRollBack) {
      if (!group) return;
      // Neither the contents of the group matter nor what it lacks.
      kept.resize(group->kept);
      missing.resize(group->missing);
      mendable = group->mendable;
      history = std::move(group->history);
      if (group->begins_intact) kept.push_back({entry, damages});
      group.reset();
      continue;
    } else if (entry.type == RecordType::kEndSync) {
      mendable = mendable && group && !behind_gap;
      group.reset();
    }
    kept.push_back({entry, damages});
  }
  if (behind_.empty() || damages_before != behind_.back().damages) return;
  if (group) {  // a synchronisation that a crash ended: as `open` does, unless damage hides its end
    mendable = mendable && group->mode != SyncMode::kSnap && group->kept > 0 &&
               group->damages == behind_.back().damages;
    kept.resize(group->kept);
    history = std::move(group->history);
  }
  if (!mendable) return;
  behind_ = std::move(kept);
  mended_history_ = std::move(history);
  missing_ = std::move(missing);
}

// Segment `number_` is written again: its intact beginning, what was missing, and all that is
// behind the damage, also of later segments.
DiskStatus Log::mend(const std::map<Zxid, Payload>& missing) {
  std::string bytes;
  std::unique_ptr<File> file;
  DiskStatus status;
  SegmentHeader header{state_.chain, number_, state_.history.last(), state_.current_epoch, 0};
  if (position_ > kSegmentHeaderBytes) {
    uint64_t ignored = 0;  // the intact beginning can be read, but for padding at its end
    status = read_segment(disk_, log_segment_name(number_), bytes, ignored);
    bytes.resize(position_);
    if (status.ok() && !decode_segment_header(bytes, header)) {
      status = DiskStatus{EIO, "read " + log_segment_name(number_)};
    }
    if (!status.ok()) return status;
  }
  header.covers = next_number_ - 1;
  bytes.replace(0, std::min(bytes.size(), kSegmentHeaderBytes), encode_segment_header(header));
  State state = state_;
  bool in_order = true;
  auto next_missing = missing.begin();
  // What is committed by now is noted with the last record: whoever reads the others must not take
  // it for what was committed when they came.
  auto add = [&](const LogEntry& entry, Zxid committed = {}) {
    uint64_t offset = bytes.size();
    RecordHeader record = append_record(entry, state.chain, position_, committed, bytes);
    in_order = in_order && state.take(record, number_, offset);
  };
  auto fill_up_to = [&](Zxid zxid) {
    for (; next_missing != missing.end() && next_missing->first < zxid; ++next_missing) {
      add({RecordType::kTxn, next_missing->first, 0, next_missing->second});
    }
  };
  for (const auto& [entry, damages] : behind_) {
    if (entry.type == RecordType::kTxn) fill_up_to(entry.zxid);
    if (entry.type == RecordType::kBeginSync) fill_up_to(entry.zxid.next());
    add(entry, &entry == &behind_.back().entry ? committed_ : Zxid{});
  }
  if (!in_order) return DiskStatus{EINVAL, "the txns that came for the log do not fit"};
  static_cast<void>(disk_.remove(kTemporaryName));
  uint64_t size = std::max<uint64_t>(options_.segment_bytes, bytes.size());
  status = disk_.open(kTemporaryName, true, file);
  if (status.ok()) status = fill_with_zeros(*file, 0, size);
  if (status.ok()) status = file->write_at(0, bytes);
  if (status.ok()) status = file->sync();
  return disk_.install(status, kTemporaryName, log_segment_name(number_));
}

DiskStatus Log::restart_at(Zxid base, uint32_t epoch) {
  DiskStatus status;
  for (const LogSegment& segment : list_log_segments(disk_)) {
    next_number_ = segment.number + 1;
    if (status.ok())
      status = disk_.rename(segment.name, std::string(kDamagedPrefix) + segment.name);
  }
  if (status.ok()) status = disk_.sync_directory();
  if (!status.ok()) return status;
  behind_.clear();
  missing_.reset();
  State state;
  state.history.reset(base);
  state.current_epoch = epoch;
  state_ = std::move(state);
  committed_ = first_base_ = base;
  return start_segment(0);
}

// Whether what begins at segment `first` is intact to the end, and goes through `zxid`.
bool Log::is_intact_from(uint64_t first, Zxid zxid) {
  State state;
  LogHandlers handlers;
  handlers.first_segment = [&](const SegmentHeader& header) {
    state.history.reset(header.last_zxid);
    state.chain = header.chain;
  };
  handlers.record = [&](const FoundRecord& found, size_t) {
    bool in_order = state.take(found.header, found.segment, found.offset);
    return in_order ? Taken::kYes : Taken::kOutOfOrder;
  };
  LogReport report = read_log(disk_, handlers, kLogPrefix, first);
  return report.damage.empty() && (state.history.contains(zxid) || state.history.base() == zxid);
}

bool Log::set_aside_before(Zxid zxid) {
  uint64_t first = find_segment(disk_, zxid);
  bool mendable = missing_ && mended_history_.contains(zxid);
  if (first == 0 || !(mendable || is_intact_from(first, zxid))) return false;
  bool moved = false;
  // Oldest first: what a crash leaves is still a log without holes of its own.
  for (const LogSegment& segment : list_log_segments(disk_)) {
    if (segment.number >= first) break;
    if (!disk_.rename(segment.name, std::string(kDamagedPrefix) + segment.name).ok()) return false;
    moved = true;
  }
  return moved && disk_.sync_directory().ok();
}

void Log::forget_damaged() {
  for (const std::string& name : disk_.list()) {
    if (name.starts_with(kDamagedPrefix)) static_cast<void>(disk_.remove(name));
  }
}

// ---- writing

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
  if (status.ok()) {
    has_spare_ = true;
  } else {
    static_cast<void>(disk_.remove(kSpareName));  // half a reserve is none
  }
  return status.of_unused_file();
}

// Begins the next segment: complete under a temporary name, then renamed, then the directory.
DiskStatus Log::start_segment(uint64_t at_least_bytes) {
  std::unique_ptr<File> file;
  uint64_t size =
      std::max(options_.segment_bytes, at_least_bytes + kSegmentHeaderBytes + kRecordHeaderBytes);
  bool use_spare = has_spare_ && size == options_.segment_bytes;
  const char* temporary = use_spare ? kSpareName : kTemporaryName;
  DiskStatus status = disk_.open(temporary, true, file);
  if (status.ok() && !use_spare) status = fill_with_zeros(*file, 0, size);
  SegmentHeader header{state_.chain, next_number_, state_.history.last(), state_.current_epoch,
                       next_number_};
  if (status.ok()) status = file->write_at(0, encode_segment_header(header));
  if (status.ok()) status = file->sync();
  status = disk_.install(status, temporary, log_segment_name(next_number_));
  if (use_spare) has_spare_ = false;
  if (!status.ok()) return status;
  is_new_ = false;
  file_ = std::move(file);
  number_ = next_number_++;
  position_ = kSegmentHeaderBytes;
  segment_size_ = size;
  return {};
}

DiskStatus Log::write(const std::vector<LogEntry>& batch, Zxid committed) {
  size_t need = 0;
  for (const LogEntry& entry : batch) {
    size_t length = entry.txn ? entry.txn->size() : 0;
    if (length > kMaxBodyBytes) {  // it could not be read back
      return DiskStatus{EMSGSIZE,
                        fmt::format("append zxid 0x{:x} of {} bytes", entry.zxid.value, length)};
    }
    need += kRecordHeaderBytes + padded(length);
  }
  if (position_ + need + kRecordHeaderBytes > segment_size_) {  // a kRollBack always fits
    DiskStatus status = start_segment(need);
    if (!status.ok()) return status;
  }
  buffer_.clear();
  buffer_.reserve(need);
  State state = state_;
  for (const LogEntry& entry : batch) {
    uint64_t offset = position_ + buffer_.size();
    RecordHeader header = append_record(entry, state.chain, position_, committed, buffer_);
    if (!state.take(header, number_, offset)) {
      return DiskStatus{EINVAL, fmt::format("append zxid 0x{:x} out of order", entry.zxid.value)};
    }
  }
  DiskStatus status = file_->write_at(position_, buffer_);
  if (status.ok()) status = file_->sync();
  if (!status.ok()) return status;
  position_ += buffer_.size();
  state_ = std::move(state);
  if (buffer_.capacity() > kZeroChunkBytes) buffer_ = std::string();
  return {};
}

DiskStatus Log::make_room() {
  DiskStatus status = prepare_spare();
  if (!status.ok() || position_ + kMinimumRoomBytes <= segment_size_) return status;
  return start_segment(0);
}

DiskStatus Log::roll_back_group() {
  if (!state_.group) return {};
  // Later segments first, so that a crash in between leaves a shorter but intact log.
  DiskStatus status;
  std::vector<LogSegment> segments = list_log_segments(disk_);
  for (; segments.back().number > state_.group->number && status.ok(); segments.pop_back()) {
    next_number_ = segments.back().number;
    status = disk_.remove(segments.back().name);
    if (status.ok()) status = disk_.sync_directory();
  }
  number_ = state_.group->number;
  if (status.ok()) status = disk_.open(log_segment_name(number_), false, file_);
  if (!status.ok()) return status;
  segment_size_ = file_->size();
  position_ = state_.group->end;
  State state = state_;
  state.chain = state_.group->end_chain;
  std::string bytes;
  RecordHeader header = append_record({RecordType::kRollBack, Zxid{}, 0, nullptr}, state.chain,
                                      position_, Zxid{}, bytes);
  state.take(header, number_, position_);
  status = file_->write_at(position_, bytes);
  if (status.ok()) status = file_->sync();
  if (!status.ok()) return status;
  position_ += bytes.size();
  state_ = std::move(state);
  return {};
}

// ---- reading

bool Log::read(Disk& disk, const History& history, Zxid after, Zxid through, size_t max_bytes,
               std::deque<LogTxn>& txns) {
  Zxid next = history.next(after);
  size_t bytes = 0;
  LogHandlers handlers;
  handlers.record = [&](const FoundRecord& found, size_t damages) {
    if (damages > 0) return Taken::kEnough;
    // A zxid names one txn for good: what a TRUNC took back has others.
    if (found.header.type != RecordType::kTxn || found.header.zxid != next) return Taken::kYes;
    txns.push_back({next, std::make_shared<const std::string>(found.body)});
    bytes += found.body.size();
    next = history.next(next);
    return next > through || next == Zxid{} || bytes > max_bytes ? Taken::kEnough : Taken::kYes;
  };
  read_log(disk, handlers, kLogPrefix, find_segment(disk, after));
  return next > through || next == Zxid{} || bytes > max_bytes;
}

std::map<Zxid, Payload> Log::find(Disk& disk, std::vector<Range> wanted, size_t max_bytes) {
  auto begins_earlier = [](const Range& a, const Range& b) { return a.after < b.after; };
  std::sort(wanted.begin(), wanted.end(), begins_earlier);
  for (size_t i = 1; i < wanted.size(); ++i) {  // so that the last to begin before a zxid tells
    wanted[i].through = std::max(wanted[i].through, wanted[i - 1].through);
  }
  std::map<Zxid, Payload> found_txns;
  size_t bytes = 0;
  LogHandlers handlers;
  handlers.record = [&](const FoundRecord& found, bool) {
    if (bytes >= max_bytes) return Taken::kEnough;
    if (found.header.type != RecordType::kTxn) return Taken::kYes;
    Zxid zxid = found.header.zxid;
    auto next = std::partition_point(wanted.begin(), wanted.end(),
                                     [zxid](const Range& range) { return range.after < zxid; });
    if (next == wanted.begin() || zxid > std::prev(next)->through) return Taken::kYes;
    Payload& txn = found_txns[zxid];
    if (!txn) bytes += found.body.size();
    txn = std::make_shared<const std::string>(found.body);
    return Taken::kYes;
  };
  read_log(disk, handlers);
  read_log(disk, handlers, kDamagedLogPrefix);
  return found_txns;
}

Zxid Log::purge(Zxid zxid) {
  std::vector<LogSegment> segments = list_log_segments(disk_);
  // A segment may go once the next one begins at or before `zxid`. Oldest first: what is left is
  // always a log without holes.
  for (size_t i = 0; i + 1 < segments.size(); ++i) {
    std::unique_ptr<File> next;
    std::string bytes;
    SegmentHeader header;
    if (!disk_.open(segments[i + 1].name, false, next).ok() ||
        !next->read_at(0, kSegmentHeaderBytes, bytes).ok() ||
        !decode_segment_header(bytes, header) || header.last_zxid > zxid ||
        (state_.group && state_.group->number <= segments[i].number)) {
      break;
    }
    if (!disk_.retire(segments[i].name).ok()) break;
    if (header.last_zxid > state_.history.base()) state_.history.purge(header.last_zxid);
  }
  return state_.history.base();
}

}  // namespace zabfs::consensus
