#include "fsd/systemd.h"

#include <fmt/format.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <utility>

#include "consensus/mutex.h"
#include "fsd/log_line.h"

namespace zabfs::fsd {

namespace {

constexpr auto kUntilReady = std::chrono::milliseconds(100);
constexpr auto kOnceReady = std::chrono::milliseconds(1'000);

}  // namespace

struct Systemd::Answer {
  struct Look {
    bool serves = false;
    std::string line;
  };
  Mutex mutex;
  bool is_asked GUARDED_BY(mutex) = false;
  std::optional<Look> look GUARDED_BY(mutex);
};

std::string status_line(const consensus::Replica& replica) {
  const consensus::Zab& zab = replica.zab();
  bool serves = replica.is_serving();
  std::string line =
      fmt::format("{}, epoch {}, zxid 0x{:x}, quorum {}",
                  consensus::role_name(serves ? zab.role() : consensus::Role::kLooking),
                  zab.epoch(), replica.tree().last_zxid().value, serves ? "yes" : "no");
  if (replica.is_disk_full()) line += ", disk full";
  std::vector<std::string> troubles = replica.troubles();
  return troubles.empty() ? line : line + "; " + troubles.front();
}

Systemd::Systemd(consensus::Service& service)
    : service_(service),
      is_there_(std::getenv("NOTIFY_SOCKET") != nullptr),
      answer_(std::make_shared<Answer>()) {
  uint64_t limit_us = 0;
  if (::sd_watchdog_enabled(0, &limit_us) > 0) {
    watchdog_ = std::chrono::milliseconds(std::max<uint64_t>(limit_us / 1'000, 1));
  }
}

std::chrono::milliseconds Systemd::look_every() const {
  std::chrono::milliseconds every = is_ready_ ? kOnceReady : kUntilReady;
  if (watchdog_.count() == 0) return every;
  return std::clamp(watchdog_ / 4, std::chrono::milliseconds(1), every);
}

void Systemd::look() {
  std::optional<Answer::Look> look;
  {
    MutexLock lock(answer_->mutex);
    if (answer_->is_asked && !answer_->look) return;  // the strand stands still
    look = std::exchange(answer_->look, std::nullopt);
    answer_->is_asked = true;
  }
  service_.post([answer = answer_, &service = service_] {
    Answer::Look now{service.replica().is_serving(), log_line(status_line(service.replica()))};
    MutexLock lock(answer->mutex);
    answer->look = std::move(now);
  });
  if (!look) return;
  std::string state;
  if (!is_ready_ && look->serves) state += "READY=1\n";
  is_ready_ = is_ready_ || look->serves;
  if (look->line != told_) state += "STATUS=" + look->line + "\n";
  told_ = look->line;
  if (watchdog_.count() > 0) state += "WATCHDOG=1\n";
  if (!state.empty()) ::sd_notify(0, state.c_str());
}

void Systemd::stopping() { ::sd_notify(0, "STOPPING=1"); }

}  // namespace zabfs::fsd
