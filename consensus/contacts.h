// When this node last heard of each other member, why it has no connection to one, and when the log
// is told of that.
//
// A member has two ports. The election port's connection stays open between any two members; the
// quorum port's is one from a learner to its leader. A failure counts until that port is reached.
//
// The log is told of what was there at two looks in a row (Troubles::kLookMs apart), and of the
// same again after kTellAgainMs: so a reason that comes and goes makes no flood of lines.
//
// Pure: time is an argument, and what the log is to be told is the return value. Bounds: the
// members alone are remembered, and of each kMaxReasons that the log was told.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "consensus/environment.h"

namespace zabfs::consensus {

class Contacts {
 public:
  static constexpr int64_t kTellAgainMs = 60'000;
  static constexpr size_t kMaxReasons = 8;

  // The others are forgotten.
  void keep(const std::set<ServerId>& members);
  // What follows is nothing for who is no member.
  void heard(ServerId id, int64_t now_ms);
  void reached(ServerId id, Door door);
  void failed(ServerId id, Door door, std::string why);
  // This node has a leader, or is one: whose quorum ports it could not reach before says nothing.
  void forget_quorum_ports();

  std::optional<int64_t> heard_ms(ServerId id) const;  // never: none
  // There is no connection to its election port, after one was tried or lost.
  bool is_cut_off(ServerId id) const;
  // Why there is no connection, in a clause; empty: there is one, or nobody has tried.
  std::string trouble(ServerId id) const;
  // "server 3 can't be reached: ...": those that the log is to be told now.
  std::vector<std::string> look(int64_t now_ms);

 private:
  struct Contact {
    std::optional<int64_t> heard_ms;
    std::string election, quorum;         // why that port is not reached; empty: it is
    std::string seen;                     // at the last look
    std::map<std::string, int64_t> told;  // when
  };

  std::map<ServerId, Contact> contacts_;
};

}  // namespace zabfs::consensus
