#include "fsd/wire/connection_table.h"

#include <sys/resource.h>

#include <algorithm>

namespace zabfs::fsd::wire {

namespace {

// Descriptors that clients don't get: log, snapshots, members, and most_strangers() at each of the
// ports between members (twice at the one of elections) and at the admin port.
constexpr size_t kReservedFiles = 384;
constexpr size_t kMinSilent = 16;  // so many silent connections are never too many

}  // namespace

size_t most_connections(size_t configured) {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return configured == 0 ? SIZE_MAX : configured;
  auto files = static_cast<size_t>(limit.rlim_cur);
  size_t most = files - std::min(kReservedFiles, files / 2);
  return configured == 0 ? most : std::min(most, configured);
}

ConnectionTable::Admission ConnectionTable::admit(const std::string& address, Clock::time_point now,
                                                  const Make& make) {
  Admission admission;
  MutexLock lock(mutex_);
  auto from_there = per_address_.find(address);
  size_t count = from_there == per_address_.end() ? 0 : from_there->second;
  if (limits_.per_address != 0 && count >= limits_.per_address) {
    return {Verdict::kTooManyFromAddress, nullptr, nullptr};
  }
  bool is_full = connections_.size() >= limits_.all;
  bool are_many_silent = silent_.size() >= std::max(kMinSilent, limits_.all / 4);
  if ((is_full || are_many_silent) && !silent_.empty()) {
    auto oldest = silent_.begin();
    bool is_late = now - oldest->second->since_steady() > kSilentTime;
    if (!is_full || is_late) admission.displaced = silent_.extract(oldest).mapped();
  }
  if (is_full && !admission.displaced) return {Verdict::kTooManyInAll, nullptr, nullptr};
  uint64_t number = next_++;
  admission.connection = make(number);
  ++per_address_[address];
  connections_.emplace(number, admission.connection);
  silent_.emplace(number, admission.connection);
  return admission;
}

void ConnectionTable::spoke(uint64_t number) {
  MutexLock lock(mutex_);
  silent_.erase(number);
}

bool ConnectionTable::erase(const Connection& connection) {
  MutexLock lock(mutex_);
  if (connections_.erase(connection.number()) == 0) return false;
  auto from_there = per_address_.find(connection.address());
  if (--from_there->second == 0) per_address_.erase(from_there);
  silent_.erase(connection.number());
  return true;
}

ConnectionPtr ConnectionTable::find(uint64_t number) const {
  MutexLock lock(mutex_);
  auto found = connections_.find(number);
  return found == connections_.end() ? nullptr : found->second;
}

std::vector<ConnectionPtr> ConnectionTable::all() const {
  std::vector<ConnectionPtr> all;
  MutexLock lock(mutex_);
  all.reserve(connections_.size());
  for (const auto& [number, connection] : connections_) all.push_back(connection);
  return all;
}

size_t ConnectionTable::size() const {
  MutexLock lock(mutex_);
  return connections_.size();
}

}  // namespace zabfs::fsd::wire
