// The replica's part in storage: what follows from the log (log_pipeline.h) and the snapshots
// (snapshotter.h).
#include <fmt/format.h>

#include <utility>

#include "consensus/replica.h"

namespace zabfs::consensus {

// ---- the log

LogPipeline::Outcomes Replica::log_outcomes() {
  return {[this](const LogPipeline::Written& written) { on_log_written(written); },
          [this](const DiskStatus& status) { on_disk_full(status); },
          [this](LogPipeline::Settled settled) { on_settled(std::move(settled)); },
          [this] { return plan_reading(); },
          [this](bool held) {
            for (LinkId link : links_) transport_.hold(link, held);
          }};
}

void Replica::on_log_written(const LogPipeline::Written& written) {
  if (written.last != Zxid{}) step(event::Synced{written.last});
  for (uint32_t epoch : written.ended_epochs) {
    stage_incoming_tree();
    step(event::EpochSaved{epoch});
  }
}

// ---- snapshots

Snapshotter::Outcomes Replica::snapshot_outcomes() {
  return {[this]() -> std::optional<Snapshotter::Standing> {
            if (!is_serving()) return std::nullopt;
            return Snapshotter::Standing{zab_->state().history, zab_->state().votes};
          },
          [this](LinkId link) { return links_.contains(link); },
          [this] { supply_.snapshot_over(); },
          [this](LinkId link) {
            step(event::SnapshotReceived{link, configuration_of(*snapshotter_.incoming())});
          },
          [this](LinkId link, const std::string& reason) {
            environment_.log_limited(LogLevel::kError, describe() + ": " + reason);
            cut_off(link, reason);
          },
          [this](const DiskStatus& status, size_t bytes) { on_disk_full(status, bytes); },
          [this](Zxid base) {
            if (base > zab_->state().history.base()) step(event::Purged{base});
            trim_history();
          },
          [this](const std::string& what) { recovery_.report_damage(what); },
          [this](LogLevel level, const std::string& text) {
            environment_.log(level, describe() + ": " + text);
          }};
}

// What is kept of the past may have become too much, or too old.
void Replica::trim_history() {
  constexpr int64_t kEveryMs = 10 * 60 * 1'000;
  next_trim_ms_ = environment_.now_ms() + kEveryMs;
  environment_.run_background(
      [this, now_ms = environment_.wall_ms()] { history_.trim(now_ms); },
      [this] {
        uint64_t bytes = history_.take_given_up();
        if (bytes == 0) return;
        environment_.log(LogLevel::kWarning,
                         fmt::format("{}: {} bytes of history are gone: a disk was full, and the "
                                     "node's own writes come first",
                                     describe(), bytes));
      });
}

void Replica::on_snapshot(LinkId link, std::unique_ptr<tree::Tree> tree) {
  if (!links_.contains(link) || !snapshotter_.is_incoming_on(link)) return;
  environment_.log(LogLevel::kInfo,
                   fmt::format("{}: received a snapshot of {} znodes at 0x{:x}", describe(),
                               tree->node_count(), tree->last_zxid().value));
  snapshotter_.receive(std::move(tree));
  if (!snapshotter_.is_fuzzy()) snapshotter_.store_incoming();
}

void Replica::ask_snapshot(Snapshotter::Asker asker) {
  if (!tree_.doubt().empty() && !is_alone()) {
    return asker(Status::failed("this node's data is not the ensemble's (" + tree_.doubt() +
                                "): ask another node"));
  }
  snapshotter_.ask(std::move(asker));
}

void Replica::take_snapshot() {
  if (tree_.doubt().empty() || is_alone()) snapshotter_.take();
}

}  // namespace zabfs::consensus
