#include "consensus/host.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <time.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <climits>
#include <cstdlib>
#include <filesystem>
#include <random>

namespace zabfs::consensus {

namespace asio = boost::asio;

namespace {

int64_t clock_ms(clockid_t clock) {
  timespec time;
  ::clock_gettime(clock, &time);
  return int64_t{time.tv_sec} * 1000 + time.tv_nsec / 1'000'000;
}

}  // namespace

Host::Host(HostConfig config)
    : config_(std::move(config)),
      work_(asio::make_work_guard(io_)),
      timer_(io_),
      limited_log_(
          io_, [this](LogLevel level, const std::string& line) { log(level, line); },
          [] { return spdlog::should_log(spdlog::level::debug); }) {}

Host::~Host() { stop(); }

HostError Host::open() {
  ServerId me = config_.replica.zab.me;
  bool split = !config_.data_log_dir.empty() && config_.data_log_dir != config_.data_dir;
  // All that can be known to be wrong is found before anything is written.
  Status status = DataDirectory::check_taken_over(config_.data_dir, config_.data_log_dir, me);
  if (!status.ok()) return {status.why(), true};
  status = data_directory_.check(config_.data_dir, me);
  if (!status.ok()) return {status.why(), data_directory_.is_misconfigured()};
  if (split) status = log_directory_.check(config_.data_log_dir, me);
  if (!status.ok()) return {status.why(), log_directory_.is_misconfigured()};
  if (config_.quorum_tls) {
    tls_.emplace(*config_.quorum_tls,
                 [this](const std::string& line) { log(LogLevel::kWarning, line); });
    status = tls_->load();
    if (!status.ok()) return {status.why(), true};
  }
  transport_ = std::make_unique<TcpTransport>(
      io_, strand_, me, config_.replica.zab.ensemble, config_.replica.is_standalone(),
      static_cast<int>(std::min<int64_t>(config_.replica.zab.sync_ms(), INT_MAX)),
      config_.connect_ms, tls_ ? &*tls_ : nullptr,
      [this](LogLevel level, const std::string& line) { log(level, line); },
      [this](LogLevel level, const std::string& line) { log_limited(level, line); });
  status = transport_->listen(config_.listen_on_all);
  if (!status.ok()) return {status.why(), false};
  if (!config_.replica.is_standalone() && !tls_) {
    log(LogLevel::kWarning,
        "whoever reaches the quorum or election port can take part as any member, and read and "
        "change everything: keep them unreachable for others, or set sslQuorum=true");
  }
  status = data_directory_.open(config_.data_dir, me);
  if (!status.ok()) return {status.why(), data_directory_.is_misconfigured()};
  if (split) status = log_directory_.open(config_.data_log_dir, me);
  if (!status.ok()) return {status.why(), log_directory_.is_misconfigured()};
  snapshot_disk_ = std::make_unique<PosixDisk>(data_directory_.path());
  log_disk_ = std::make_unique<PosixDisk>(split ? log_directory_.path() : data_directory_.path());
  config_.replica.initialize = std::filesystem::exists(config_.data_dir + "/initialize");
  replica_ =
      std::make_unique<Replica>(config_.replica, *this, *transport_, *log_disk_, *snapshot_disk_);
  status = replica_->recover();
  // By now the vote that the file stands for is on disk, or there was history and it meant nothing.
  // Left there, it would give a vote to whatever this directory is emptied to.
  if (status.ok() && config_.replica.initialize) {
    PosixDisk directory(config_.data_dir);
    DiskStatus removed = directory.remove("initialize");
    if (removed.ok()) removed = directory.sync_directory();
    if (!removed.ok()) {
      log(LogLevel::kWarning, fmt::format("can't take {}/initialize away ({}): remove it",
                                          config_.data_dir, removed.message()));
    }
  }
  return {status.why(), false};
}

void Host::start() {
  strand_.set_after_batch([this] { replica_->end_of_batch(); });
  log_lane_.emplace("zabfs-log");
  background_lane_.emplace("zabfs-back");
  transport_->start(*replica_);
  io_thread_ = std::thread([this] { io_.run(); });
  pthread_setname_np(io_thread_.native_handle(), "zabfs-io");
  post([this] { replica_->start(); });
}

void Host::stop() {
  strand_.stop();
  if (log_lane_) log_lane_->stop();
  if (background_lane_) background_lane_->stop();
  io_.stop();
  if (io_thread_.joinable()) io_thread_.join();
  // They hold connections, whose servers are destroyed before this host.
  if (replica_) replica_->drop_completions();
  limited_log_.close();
}

int64_t Host::now_ms() { return clock_ms(CLOCK_BOOTTIME); }

int64_t Host::now_us() {
  timespec time;
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return int64_t{time.tv_sec} * 1'000'000 + time.tv_nsec / 1'000;
}

int64_t Host::wall_ms() { return clock_ms(CLOCK_REALTIME); }

uint64_t Host::random() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

void Host::wake_at(int64_t time_ms) {
  // A timer that fires too early costs one look at the clock; moving it costs a system call.
  if (time_ms >= armed_ms_) return;
  armed_ms_ = time_ms;
  asio::post(io_, [this, time_ms] { arm(time_ms); });
}

void Host::arm(int64_t time_ms) {
  timer_.expires_after(std::chrono::milliseconds(std::max<int64_t>(0, time_ms - now_ms())));
  timer_.async_wait([this](boost::system::error_code error) {
    if (error) return;
    strand_.post([this] {
      armed_ms_ = INT64_MAX;
      replica_->on_timer();
    });
  });
}

void Host::post_after(int64_t delay_ms, std::function<void()> event) {
  auto timer = std::make_shared<asio::steady_timer>(io_, std::chrono::milliseconds(delay_ms));
  timer->async_wait([this, timer, event = std::move(event)](boost::system::error_code error) {
    if (!error) strand_.post(event);
  });
}

void Host::run_lane(Lane& lane, std::function<void()> job, std::function<void()> done) {
  lane.post([this, job = std::move(job), done = std::move(done)]() mutable {
    job();
    strand_.post(std::move(done));
  });
}

void Host::run_io(std::function<void()> job, std::function<void()> done) {
  run_lane(*log_lane_, std::move(job), std::move(done));
}

void Host::run_background(std::function<void()> job, std::function<void()> done) {
  run_lane(*background_lane_, std::move(job), std::move(done));
}

void Host::log(LogLevel level, const std::string& line) {
  switch (level) {
    case LogLevel::kDebug:
      spdlog::debug(line);
      return;
    case LogLevel::kInfo:
      spdlog::info(line);
      return;
    case LogLevel::kWarning:
      spdlog::warn(line);
      return;
    case LogLevel::kError:
      spdlog::error(line);
      return;
  }
}

void Host::log_limited(LogLevel level, const std::string& line) { limited_log_.log(level, line); }

void Host::die(const std::string& why) {
  spdlog::critical("{}; this process ends, a restart recovers from the log", why);
  spdlog::shutdown();
  std::abort();
}

}  // namespace zabfs::consensus
