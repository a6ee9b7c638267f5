#include "consensus/history.h"

#include <algorithm>

namespace zabfs::consensus {

void History::reset(Zxid base) {
  base_ = base;
  last_counter_.clear();
  if (base.counter() != 0) last_counter_[base.epoch()] = base.counter();
}

void History::append(Zxid zxid) { last_counter_[zxid.epoch()] = zxid.counter(); }

void History::truncate(Zxid zxid) {
  last_counter_.erase(last_counter_.lower_bound(zxid.epoch()), last_counter_.end());
  if (zxid.counter() != 0) last_counter_[zxid.epoch()] = zxid.counter();
}

Zxid History::last() const {
  if (last_counter_.empty()) return base_;
  auto [epoch, counter] = *last_counter_.rbegin();
  return Zxid::make(epoch, counter);
}

bool History::contains(Zxid zxid) const {
  if (zxid == Zxid{} || zxid == base_) return true;
  return zxid.counter() != 0 && zxid <= last_of_epoch(zxid.epoch());
}

Zxid History::last_through(Zxid zxid) const {
  if (zxid < base_) return Zxid{};
  auto later = last_counter_.upper_bound(zxid.epoch());
  while (later != last_counter_.begin()) {
    auto [epoch, counter] = *--later;
    if (epoch < zxid.epoch()) return std::max(base_, Zxid::make(epoch, counter));
    if (zxid.counter() != 0) return std::min(zxid, Zxid::make(epoch, counter));
  }
  return base_;
}

Zxid History::next(Zxid zxid) const {
  if (last_of_epoch(zxid.epoch()) > zxid) return zxid.next();
  auto later = last_counter_.upper_bound(zxid.epoch());
  return later == last_counter_.end() ? Zxid{} : Zxid::make(later->first, 1);
}

Zxid History::last_of_epoch(uint32_t epoch) const {
  auto found = last_counter_.find(epoch);
  return found == last_counter_.end() ? Zxid{} : Zxid::make(epoch, found->second);
}

}  // namespace zabfs::consensus
