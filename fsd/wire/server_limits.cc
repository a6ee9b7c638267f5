// The wire server's part that keeps clients within bounds: how many, for how long, with how much
// memory (budget.h).
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <functional>
#include <utility>

#include "fsd/wire/server.h"

namespace zabfs::fsd::wire {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr auto kHelloTime = std::chrono::seconds(10);
constexpr auto kSweepInterval = std::chrono::seconds(1);
constexpr int kMaxSweepsOver = 10;
constexpr int kMaxSweepsShort = 5;
constexpr size_t kSmallBytes = 64u << 10;
constexpr size_t kKeptBytes = 64u << 10;
// Descriptors that clients don't get: log, snapshots, members, and most_strangers() at each of the
// ports between members (twice at the one of elections) and at the admin port.
constexpr size_t kReservedFiles = 384;

}  // namespace

// How many connections there may be.
size_t WireServer::most_connections(size_t configured) {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return configured == 0 ? SIZE_MAX : configured;
  auto files = static_cast<size_t>(limit.rlim_cur);
  size_t most = files - std::min(kReservedFiles, files / 2);
  return configured == 0 ? most : std::min(most, configured);
}

std::vector<ConnectionPtr> WireServer::all_connections() const {
  std::vector<ConnectionPtr> all;
  std::lock_guard lock(connections_mutex_);
  for (const auto& [number, connection] : connections_) all.push_back(connection);
  return all;
}

void WireServer::sweep() {
  sweep_timer_.expires_after(kSweepInterval);
  sweep_timer_.async_wait([this](error_code error) {
    if (error) return;
    auto now = Clock::now();
    sweeps_short_ = budget_.is_short() ? sweeps_short_ + 1 : 0;
    for (const ConnectionPtr& connection : all_connections()) {
      std::lock_guard lock(connection->mutex);
      look_at(*connection, now, sweeps_short_ > kMaxSweepsShort);
    }
    sweep();
  });
}

void WireServer::look_at(Connection& c, Clock::time_point now, bool short_for_long) {
  if (c.dead) return;
  c.sweeps_stuck = std::exchange(c.moved, false) ? 0 : c.sweeps_stuck + 1;
  if (c.phase == Phase::kHello && now - c.since_steady > kHelloTime) return shut(c);
  if (c.phase == Phase::kOver && ++c.sweeps_over > kMaxSweepsOver) {
    return cut(c, "it does not read its last answers");
  }
  bool is_in_the_way = c.sweeps_stuck > kMaxSweepsShort && c.counted_bytes > least_to_cut();
  if (short_for_long && is_in_the_way) {
    cut(c, fmt::format("it has held {} bytes for {} s, and clients have too much of this node's "
                       "memory (zabfs.clientMemory)",
                       c.counted_bytes.load(), c.sweeps_stuck));
  }
}

// Whoever is idle keeps less than that. When clients have too much, somebody has more than that.
size_t WireServer::least_to_cut() const {
  size_t share = budget_.share();
  return std::clamp(kSmallBytes, share, 2 * share);
}

// By a connection in a buffer that is empty.
size_t WireServer::kept_bytes() const { return std::min(kKeptBytes, budget_.share() / 4); }

// Cuts off who holds the most and has moved least, until the rest is within the limit.
void WireServer::relieve() {
  relieving_ = false;
  std::vector<std::pair<size_t, ConnectionPtr>> by_weight;
  for (const ConnectionPtr& connection : all_connections()) {
    std::lock_guard lock(connection->mutex);
    size_t own = connection->counted_bytes;
    if (connection->dead || own <= least_to_cut()) continue;
    int stuck = std::min(connection->sweeps_stuck, kMaxSweepsOver);
    by_weight.emplace_back(own * static_cast<size_t>(1 + stuck), connection);
  }
  std::sort(by_weight.begin(), by_weight.end(), std::greater<>());
  for (const auto& [weight, connection] : by_weight) {
    if (!budget_.is_short()) break;
    std::lock_guard lock(connection->mutex);
    cut(*connection,
        fmt::format("it holds {} bytes, and clients have too much of this node's memory "
                    "(zabfs.clientMemory)",
                    connection->counted_bytes.load()));
  }
}

void WireServer::warn(const std::string& line) {
  std::lock_guard lock(log_mutex_);
  log_.warn(line);
}

// Others take their turns at the board between.
void WireServer::forget_watches(uint64_t number) {
  constexpr size_t kAtOnce = 256;
  auto some = [&](tree::WatchTables& tables) { return tables.remove_some(number, kAtOnce); };
  while (watches_.with(some)) {
  }
}

void WireServer::no_longer_fresh(uint64_t number) {
  std::lock_guard lock(connections_mutex_);
  fresh_.erase(number);
}

void WireServer::cut(Connection& c, const std::string& why) {
  if (c.dead) return;
  warn(fmt::format("client port: closed {}:{}: {}", c.address, c.port, why));
  shut(c);
}

// Tells the budget what it holds.
void WireServer::count(Connection& c) {
  if (c.dead) return;
  size_t now = c.held();
  size_t before = c.counted_bytes.load(std::memory_order_relaxed);
  if (now == before) return;
  c.counted_bytes.store(now, std::memory_order_relaxed);
  budget_.hold(before, now);
  if (now > before && budget_.is_exceeded() && !relieving_.exchange(true)) {
    asio::post(io_, [this] { relieve(); });
  }
}

// What a request that waits holds from now on.
void WireServer::weigh(Connection& c, WaitingRequest& request, size_t bytes) {
  c.waiting_bytes += bytes - request.held_bytes;
  budget_.end_requests(0, request.held_bytes - bytes);
  request.held_bytes = bytes;
}

}  // namespace zabfs::fsd::wire
