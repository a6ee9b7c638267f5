#include "consensus/log_pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

namespace zabfs::consensus {

using log_format::RecordType;

namespace {

constexpr size_t kMaxBatchBytes = 8u << 20;
constexpr size_t kFewEntries = 4;

}  // namespace

LogPipeline::LogPipeline(Options options, Environment& environment, Disk& log_disk,
                         SnapshotStore& snapshots, Outcomes outcomes)
    : options_(options),
      environment_(environment),
      disk_(log_disk),
      snapshots_(snapshots),
      outcomes_(std::move(outcomes)),
      log_(log_disk, Log::Options{options.segment_bytes}) {}

Log& LogPipeline::at_rest() {
  if (busy_ || !queue_.empty()) environment_.die("the log is recovered while it is written");
  return log_;
}

LogPipeline::Reading LogPipeline::read(const History& history, Zxid after, Zxid through) const {
  Reading reading;
  reading.is_whole =
      through <= after || Log::read(disk_, history, after, through, SIZE_MAX, reading.txns);
  return reading;
}

// ---- writing

void LogPipeline::append(LogEntry entry) {
  if (entry.txn) queue_bytes_ += entry.txn->size();
  queue_.push_back(std::move(entry));
}

void LogPipeline::write_many(Zxid committed) {
  if (queue_.size() > kFewEntries) write(committed);
}

void LogPipeline::end_of_batch(Zxid committed) {
  write(committed);
  tell_hold();
  settle();
}

void LogPipeline::write(Zxid committed) {
  if (busy_ || queue_.empty() || settling_) return;
  busy_ = true;
  auto end = queue_.begin();
  for (size_t bytes = 0; end != queue_.end() && bytes < kMaxBatchBytes; ++end) {
    if (end->txn) bytes += end->txn->size();
    if (end->txn) queue_bytes_ -= end->txn->size();
  }
  std::vector<LogEntry> rest(std::make_move_iterator(end), std::make_move_iterator(queue_.end()));
  queue_.erase(end, queue_.end());
  struct Work {
    std::vector<LogEntry> batch;
    DiskStatus status;
    bool wants_spare = false;
    int64_t since_ms = 0;
  };
  auto work = std::make_shared<Work>();
  work->batch = std::exchange(queue_, std::move(rest));
  work->since_ms = environment_.now_ms();
  environment_.run_io(
      [this, work, committed, forgets_damaged = std::exchange(forgets_damaged_, false)] {
        int64_t begun_us = environment_.now_us();
        work->status = log_.write(work->batch, committed);
        write_times_.note(environment_.now_us() - begun_us);
        work->wants_spare = log_.wants_spare();
        if (forgets_damaged) log_.forget_damaged();
      },
      [this, work] {
        warn_if_slow(environment_.now_ms() - work->since_ms);
        batch_written(work->batch, work->status, work->wants_spare);
      });
}

void LogPipeline::warn_if_slow(int64_t took_ms) const {
  if (took_ms <= options_.warn_after_ms) return;
  environment_.log(
      LogLevel::kWarning,
      fmt::format("the log's disk took {} ms for one sync; every write waits for that", took_ms));
}

void LogPipeline::batch_written(const std::vector<LogEntry>& batch, const DiskStatus& status,
                                bool wants_spare) {
  busy_ = false;
  if (status.is_full()) return outcomes_.full(status);
  if (!status.ok()) return environment_.die(status.message());
  if (settling_) return;
  bool only_seal = batch.size() == 1 && batch[0].type == RecordType::kSeal;
  seal_at_ms_ = INT64_MAX;
  if (!only_seal) seal_soon();
  Written written;
  for (const LogEntry& entry : batch) {
    if (entry.type == RecordType::kTxn) written.last = entry.zxid;
    if (entry.type == RecordType::kEndSync) written.ended_epochs.push_back(entry.extra);
  }
  outcomes_.written(written);
  if (wants_spare) prepare_spare();
}

void LogPipeline::prepare_spare() {
  if (std::exchange(preparing_spare_, true)) return;
  environment_.run_background([this] { static_cast<void>(log_.prepare_spare()); },
                              [this] { preparing_spare_ = false; });
}

// A disk that is slower than the network makes the others wait, by their links, and costs no
// memory. Whom that silences for too long is given up by the rules for silence. So links are held
// no longer than for one write.
void LogPipeline::tell_hold() {
  bool hold = queue_bytes_ > options_.max_queue_bytes;
  if (hold == holds_links_) return;
  holds_links_ = hold;
  outcomes_.hold(hold);
}

void LogPipeline::seal() {
  seal_at_ms_ = INT64_MAX;
  if (busy_ || settling_ || is_full_ || !queue_.empty()) return;
  append({RecordType::kSeal, Zxid{}, 0, nullptr});
}

void LogPipeline::on_timer() {
  int64_t now_ms = environment_.now_ms();
  if (now_ms >= seal_at_ms_) seal();
  if (now_ms >= next_probe_ms_ && can_probe()) probe();
}

int64_t LogPipeline::wake_ms() const {
  return can_probe() ? std::min(seal_at_ms_, next_probe_ms_) : seal_at_ms_;
}

// ---- the end of a role, a full disk

void LogPipeline::leave_role() {
  queue_.clear();
  queue_bytes_ = 0;
  settling_ = true;
}

// What the log holds after `first`, which runs on the lane.
void LogPipeline::take_stock(std::function<DiskStatus()> first,
                             std::function<void(const DiskStatus&, Settled)> done) {
  busy_ = true;
  struct Work {
    DiskStatus status;
    Settled settled;
  };
  auto work = std::make_shared<Work>();
  environment_.run_io(
      [this, work, first = std::move(first), plan = outcomes_.plan_reading(),
       forgets_damaged = std::exchange(forgets_damaged_, false)] {
        work->status = first();
        if (!work->status.ok()) return;
        Settled& settled = work->settled;
        settled.history = log_.history();
        settled.current_epoch = log_.current_epoch();
        settled.read_after = plan(settled.history);
        if (settled.read_after) {
          settled.reading = read(settled.history, *settled.read_after, settled.history.last());
        }
        if (forgets_damaged) log_.forget_damaged();
      },
      [this, work, done = std::move(done)] {
        busy_ = false;
        done(work->status, std::move(work->settled));
      });
}

void LogPipeline::settle() {
  if (!settling_ || busy_) return;
  settling_ = false;
  take_stock([this] { return log_.roll_back_group(); },
             [this](const DiskStatus& status, Settled settled) {
               if (!status.ok()) return environment_.die(status.message());
               if (!is_full_) outcomes_.settled(std::move(settled));
             });
}

bool LogPipeline::note_full(size_t snapshot_bytes) {
  missing_snapshot_bytes_ = std::max(missing_snapshot_bytes_, snapshot_bytes);
  next_probe_ms_ = environment_.now_ms() + kRoomProbeMs;
  return !std::exchange(is_full_, true);
}

void LogPipeline::probe() {
  next_probe_ms_ = INT64_MAX;
  take_stock(
      [this, bytes = missing_snapshot_bytes_] {
        DiskStatus status = log_.make_room();
        return status.ok() && bytes != 0 ? snapshots_.probe(bytes) : status;
      },
      [this](const DiskStatus& status, Settled settled) {
        if (status.ok()) {
          is_full_ = false;
          missing_snapshot_bytes_ = 0;
          settled.found_room = true;
          return outcomes_.settled(std::move(settled));
        }
        if (!status.is_full()) return environment_.die(status.message());
        next_probe_ms_ = environment_.now_ms() + kRoomProbeMs;
      });
}

// ---- other work

void LogPipeline::run(std::function<void(const Log&)> job, std::function<void()> done) {
  environment_.run_io([this, job = std::move(job)] { job(log_); }, std::move(done));
}

void LogPipeline::purge(Zxid oldest, bool forgets_damaged, std::function<void(Zxid base)> done) {
  auto base = std::make_shared<Zxid>();
  environment_.run_io(
      [this, oldest, forgets_damaged, base] {
        for (Zxid any : snapshots_.list()) {
          if (any < oldest) snapshots_.retire(any);
        }
        *base = log_.purge(oldest);
        if (forgets_damaged) log_.forget_damaged();
      },
      [base, done = std::move(done)] { done(*base); });
}

void LogPipeline::read_in_background(const History& history, Zxid after, Zxid through,
                                     size_t max_bytes, std::function<void(Reading)> done) {
  auto reading = std::make_shared<Reading>();
  environment_.run_background(
      [this, history, after, through, max_bytes, reading] {
        reading->is_whole = Log::read(disk_, history, after, through, max_bytes, reading->txns);
      },
      [reading, done = std::move(done)] { done(std::move(*reading)); });
}

void LogPipeline::find_in_background(std::vector<Log::Range> wanted, size_t max_bytes,
                                     std::function<void(std::map<Zxid, Payload>)> done) {
  auto found = std::make_shared<std::map<Zxid, Payload>>();
  environment_.run_background([this, wanted = std::move(wanted), max_bytes,
                               found] { *found = Log::find(disk_, wanted, max_bytes); },
                              [found, done = std::move(done)] { done(std::move(*found)); });
}

}  // namespace zabfs::consensus
