#include "fsd/wire/sweeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

namespace zabfs::fsd::wire {

namespace {

constexpr auto kSweepInterval = std::chrono::seconds(1);
constexpr int kMaxSweepsCounted = 10;  // of those without a move, for a connection's weight

}  // namespace

void Sweeper::start() {
  timer_.expires_after(kSweepInterval);
  timer_.async_wait([this](boost::system::error_code error) {
    if (error) return;
    sweep();
    start();
  });
}

void Sweeper::sweep() {
  Clock::time_point now = Clock::now();
  sweeps_short_ = budget_.is_short() ? sweeps_short_ + 1 : 0;
  for (const ConnectionPtr& connection : connections_.all()) look_at(*connection, now);
}

void Sweeper::look_at(Connection& connection, Clock::time_point now) {
  using Finding = ConnectionState::Finding;
  Connection::Locked locked(connection);
  switch (locked->sweep(now - connection.since_steady(), sweeps_short_ > kMaxSweepsShort)) {
    case Finding::kFine:
      return;
    case Finding::kSaysNothing:
      ++connection.server_stats().silent;
      return connection.shut(locked);
    case Finding::kReadsNothing:
      return connection.cut(locked, "it does not read its last answers");
    case Finding::kInTheWay:
      return connection.cut(
          locked, fmt::format("it has held {} bytes for {} s, and clients have too much of this "
                              "node's memory (zabfs.clientMemory)",
                              locked->counted_bytes(), locked->sweeps_stuck()));
  }
}

void Sweeper::relieve() {
  budget_.begin_relief();
  std::vector<std::pair<size_t, ConnectionPtr>> by_weight;
  for (const ConnectionPtr& connection : connections_.all()) {
    Connection::Locked locked(*connection);
    size_t own = locked->counted_bytes();
    if (locked->is_closed() || own <= budget_.least_to_cut()) continue;
    int stuck = std::min(locked->sweeps_stuck(), kMaxSweepsCounted);
    by_weight.emplace_back(own * static_cast<size_t>(1 + stuck), connection);
  }
  std::sort(by_weight.begin(), by_weight.end(), std::greater<>());
  for (const auto& [weight, connection] : by_weight) {
    if (!budget_.is_short()) break;
    Connection::Locked locked(*connection);
    connection->cut(locked,
                    fmt::format("it holds {} bytes, and clients have too much of this node's "
                                "memory (zabfs.clientMemory)",
                                locked->counted_bytes()));
  }
}

}  // namespace zabfs::fsd::wire
