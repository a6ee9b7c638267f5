// Those at a door of whom nobody knows yet who they are: a bounded set. Everybody is let in.
// When there are too many, one is closed: the oldest of the address that has sent the most. So
// neither a crowd that stays nor one that comes again and again shuts out a member.
//
// One thread's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

namespace zabfs::consensus {

class Guests {
 public:
  using Ticket = uint64_t;  // never 0
  // What becomes of one that must go; it has left then. Gets how many its address had here.
  using Evict = std::function<void(size_t of_its_address)>;

  explicit Guests(size_t limit) : limit_(limit) {}

  Ticket enter(const std::string& address, Evict evict) {
    Ticket ticket = ++last_;
    guests_.emplace(ticket, Guest{address, std::move(evict)});
    if (guests_.size() > limit_) make_room();
    return ticket;
  }
  void leave(Ticket ticket) { guests_.erase(ticket); }
  size_t size() const { return guests_.size(); }

 private:
  struct Guest {
    std::string address;
    Evict evict;
  };

  void make_room() {
    std::map<std::string, size_t> counts;
    for (const auto& [ticket, guest] : guests_) ++counts[guest.address];
    auto victim = guests_.begin();
    for (auto guest = guests_.begin(); guest != guests_.end(); ++guest) {
      if (counts[guest->second.address] > counts[victim->second.address]) victim = guest;
    }
    size_t count = counts[victim->second.address];
    Evict evict = std::move(victim->second.evict);
    guests_.erase(victim);
    evict(count);
  }

  const size_t limit_;
  Ticket last_ = 0;
  std::map<Ticket, Guest> guests_;  // the oldest first
};

}  // namespace zabfs::consensus
