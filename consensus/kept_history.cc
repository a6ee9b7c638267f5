#include "consensus/kept_history.h"

#include <algorithm>
#include <utility>

#include "consensus/log_reader.h"
#include "consensus/snapshot_store.h"
#include "tree/txn.h"

namespace zabfs::consensus {

using log_format::RecordType;
using tree::Zxid;

namespace {

constexpr int kRecordsToLookAt = 16;
constexpr size_t kTxnHeaderBytes = 64;  // and more

std::string kept_name(const std::string& name) { return std::string(kHistoryPrefix) + name; }

std::string kept_prefix(std::string_view prefix) {
  return std::string(kHistoryPrefix) + std::string(prefix);
}

uint64_t size_of(Disk& disk, const std::string& name) {
  std::unique_ptr<File> file;
  return disk.open(name, false, file).ok() ? file->size() : 0;
}

// Where a segment begins; zero for one that can't be read.
Zxid base_of(Disk& disk, const std::string& name) {
  std::unique_ptr<File> file;
  std::string bytes;
  log_format::SegmentHeader header;
  bool is_read = disk.open(name, false, file).ok() &&
                 file->read_at(0, log_format::kSegmentHeaderBytes, bytes).ok() &&
                 log_format::decode_segment_header(bytes, header);
  return is_read ? header.last_zxid : Zxid{};
}

// When the first txn of a segment was made. It is not checked: only an age depends on it.
std::optional<int64_t> begin_of(Disk& disk, const std::string& name) {
  std::unique_ptr<File> file;
  if (!disk.open(name, false, file).ok()) return std::nullopt;
  uint64_t offset = log_format::kSegmentHeaderBytes;
  for (int n = 0; n < kRecordsToLookAt; ++n) {
    std::string bytes;
    constexpr size_t kWanted = log_format::kRecordHeaderBytes + kTxnHeaderBytes;
    if (!file->read_at(offset, kWanted, bytes).ok()) break;
    if (bytes.size() < log_format::kRecordHeaderBytes) break;
    if (log_format::get<uint32_t>(&bytes[36]) != log_format::kRecordMagic) break;
    auto length = log_format::get<uint32_t>(&bytes[12]);
    if (log_format::get<uint32_t>(&bytes[16]) == static_cast<uint32_t>(RecordType::kTxn)) {
      std::string_view body = std::string_view(bytes).substr(log_format::kRecordHeaderBytes);
      std::optional<tree::TxnHeader> txn = tree::decode_txn_header(body.substr(0, length));
      return txn ? std::optional(txn->time_ms) : std::nullopt;
    }
    offset += log_format::kRecordHeaderBytes + log_format::padded(length);
  }
  return std::nullopt;
}

}  // namespace

// The node's disk, on which what is retired is kept, and room is made for what is written.
class KeptHistory::KeepingDisk : public Disk {
 public:
  KeepingDisk(KeptHistory& history, Disk& disk) : history_(history), disk_(disk) {}

  DiskStatus open(const std::string& name, bool create, std::unique_ptr<File>& file) override {
    std::unique_ptr<File> opened;
    DiskStatus status = disk_.open(name, create, opened);
    while (wants_room(status)) status = disk_.open(name, create, opened);
    if (status.ok()) file = std::make_unique<YieldingFile>(*this, std::move(opened));
    return status;
  }
  std::vector<std::string> list() override { return disk_.list(); }
  DiskStatus rename(const std::string& from, const std::string& to) override {
    return disk_.rename(from, to);
  }
  DiskStatus remove(const std::string& name) override { return disk_.remove(name); }
  DiskStatus retire(const std::string& name) override { return history_.keep(disk_, name); }
  DiskStatus sync_directory() override { return disk_.sync_directory(); }
  std::string path_of(const std::string& name) const override { return disk_.path_of(name); }

 private:
  class YieldingFile : public File {
   public:
    YieldingFile(KeepingDisk& disk, std::unique_ptr<File> file)
        : disk_(disk), file_(std::move(file)) {}

    DiskStatus read_at(uint64_t offset, size_t size, std::string& out) override {
      return file_->read_at(offset, size, out);
    }
    DiskStatus write_at(uint64_t offset, std::string_view bytes) override {
      DiskStatus status = file_->write_at(offset, bytes);
      while (disk_.wants_room(status)) status = file_->write_at(offset, bytes);
      return status;
    }
    DiskStatus sync() override { return file_->sync(); }
    uint64_t size() const override { return file_->size(); }

   private:
    KeepingDisk& disk_;
    std::unique_ptr<File> file_;
  };

  // Whether it is worth trying once more.
  bool wants_room(const DiskStatus& status) {
    return status.is_full() && !status.lacks_descriptor && history_.give_up_oldest();
  }

  KeptHistory& history_;
  Disk& disk_;
};

KeptHistory::KeptHistory(Options options, Disk& log_disk, Disk& snapshot_disk)
    : options_(options),
      raw_log_(log_disk),
      raw_snapshots_(snapshot_disk),
      log_disk_(std::make_unique<KeepingDisk>(*this, log_disk)),
      snapshot_disk_(std::make_unique<KeepingDisk>(*this, snapshot_disk)) {}

KeptHistory::~KeptHistory() = default;

DiskStatus KeptHistory::keep(Disk& disk, const std::string& name) {
  if (!options_.is_on()) return disk.remove(name);
  MutexLock lock(mutex_);
  uint64_t size = size_of(disk, name);
  DiskStatus status = disk.rename(name, kept_name(name));
  if (status.ok()) bytes_ += size;
  return status.is_full() ? disk.remove(name) : status;
}

// Those that are kept, and the first one behind them, in order.
std::vector<KeptHistory::Segment> KeptHistory::segments() {
  std::vector<Segment> found;
  for (const LogSegment& segment : list_log_segments(raw_log_, kept_prefix(kLogPrefix))) {
    found.push_back({segment.name, true, base_of(raw_log_, segment.name)});
  }
  for (const LogSegment& segment : list_log_segments(raw_log_)) {
    found.push_back({segment.name, false, base_of(raw_log_, segment.name)});
    break;
  }
  return found;
}

KeptHistory::Stretch KeptHistory::oldest() {
  std::vector<Segment> log = segments();
  auto kept = list_snapshots(raw_snapshots_, kept_prefix(kSnapshotPrefix));
  auto live = list_snapshots(raw_snapshots_);
  auto end_of = [&](size_t n) {  // of a segment: where the next one begins
    return n + 1 < log.size() ? log[n + 1].base : Zxid{INT64_MAX};
  };
  Stretch stretch;
  // The beginning of the log, before its first snapshot, is a stretch, too.
  bool begins_without =
      log.size() > 1 && log[0].is_kept && !kept.empty() && end_of(0) <= kept.front().zxid;
  if (!kept.empty() && !begins_without) {
    stretch.snapshots.push_back(kept.front().name);
    kept.erase(kept.begin());
  }
  Zxid next = !kept.empty() ? kept.front().zxid : !live.empty() ? live.front().zxid : Zxid{};
  size_t n = 0;
  while (n < log.size() && log[n].is_kept && (next == Zxid{} || end_of(n) <= next)) {
    stretch.segments.push_back(log[n++].name);
  }
  if (stretch.is_empty() && !log.empty() && log[0].is_kept) {
    stretch.segments.push_back(log[n++].name);
  }
  if (n < log.size()) stretch.ended_ms = begin_of(raw_log_, log[n].name);
  return stretch;
}

void KeptHistory::remove(const Stretch& stretch) {
  for (const std::string& name : stretch.snapshots) {
    static_cast<void>(raw_snapshots_.remove(name));
  }
  for (const std::string& name : stretch.segments) static_cast<void>(raw_log_.remove(name));
}

uint64_t KeptHistory::count_bytes() {
  uint64_t bytes = 0;
  for (const StoredSnapshot& stored :
       list_snapshots(raw_snapshots_, kept_prefix(kSnapshotPrefix))) {
    bytes += size_of(raw_snapshots_, stored.name);
  }
  for (const LogSegment& segment : list_log_segments(raw_log_, kept_prefix(kLogPrefix))) {
    bytes += size_of(raw_log_, segment.name);
  }
  return bytes;
}

void KeptHistory::trim(int64_t now_ms) {
  MutexLock lock(mutex_);
  bytes_ = count_bytes();
  while (true) {
    Stretch stretch = oldest();
    if (stretch.is_empty()) return;
    bool is_old = stretch.ended_ms && now_ms - *stretch.ended_ms > options_.max_age_ms;
    if (options_.is_on() && bytes_ <= options_.max_bytes && !is_old) return;
    remove(stretch);
    uint64_t left = count_bytes();
    if (left >= bytes_) return;  // the disk does not let it go
    bytes_ = left;
  }
}

bool KeptHistory::give_up_oldest() {
  MutexLock lock(mutex_);
  Stretch stretch = oldest();
  if (stretch.is_empty()) return false;
  uint64_t before = count_bytes();
  remove(stretch);
  uint64_t left = count_bytes();
  if (left >= before) return false;
  bytes_ = left;
  given_up_ += before - left;
  return true;
}

}  // namespace zabfs::consensus
