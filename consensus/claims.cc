#include "consensus/claims.h"

#include <vector>

#include "consensus/messages.h"

namespace zabfs::consensus {

namespace {

constexpr int64_t kWithinMs = 30'000;
constexpr int64_t kTellAgainMs = 10'000;
constexpr int kTimes = 3;  // a server that moved may leave one connection behind

std::string port_in(const std::string& address) { return address.substr(address.rfind(':') + 1); }

}  // namespace

std::string election_port_in(std::string_view hello_address, const std::string* known) {
  std::vector<std::string> addresses = addresses_in(hello_address);
  for (const std::string& address : addresses) {
    if (known != nullptr && port_in(address) == *known) return *known;
  }
  return addresses.empty() ? "" : port_in(addresses.front());
}

std::optional<std::string> Claims::hello(int64_t now_ms, ServerId me, ServerId id,
                                         const Claim& claim, const Claim* live) {
  std::string number = std::to_string(id.value), server = "server " + number;
  auto place = [](const Claim& one) { return one.host + " with election port " + one.port; };
  if (id != me && (live == nullptr || *live == claim)) return std::nullopt;
  Suspect& suspect = suspects_[id];
  std::string text;
  if (id == me) {
    text = "a server at " + place(claim) + " says that it is " + server +
           ", as this node does: give each server a number of its own in its myid; or server." +
           number + "'s address is another's, too";
  } else {
    if (now_ms - suspect.since_ms > kWithinMs) suspect = Suspect{now_ms, 0, suspect.told_ms};
    if (++suspect.times < kTimes) return std::nullopt;
    text = "two servers say that they are " + server + ", one at " + place(*live) + " and one at " +
           place(claim) + ": give each server a number of its own in its myid";
  }
  if (now_ms - suspect.told_ms < kTellAgainMs) return std::nullopt;
  suspect.told_ms = now_ms;
  return text;
}

}  // namespace zabfs::consensus
