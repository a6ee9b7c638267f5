// What clients prove on their connections: `addAuth`, SASL, and whether that is enough to ask for
// anything (FORMATS.md 1.4, 1.15; Java: AuthenticationHelper).
//
// Both kinds of request are answered at once, before whatever waits on the connection, as Java does
// it. Each method appends its answer to the connection's answers. After a failure the connection is
// over: clients take AUTHFAILED for its end, and no other code of an addAuth is told to those who
// use them.
//
// Called by the thread that received the request, with the connection's mutex.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "fsd/wire/config.h"
#include "fsd/wire/connection.h"

namespace zabfs::fsd::wire {

class Authenticator {
 public:
  // `random`: thread-safe, and nobody foretells what it returns.
  Authenticator(const WireConfig& config, std::function<uint64_t()> random)
      : config_(config), random_(std::move(random)) {}

  void add_auth(Connection& connection, Connection::Locked& locked, int32_t xid,
                std::string_view body) const;
  // One round: a challenge for the client's empty token, a proof for its answer.
  void step_sasl(Connection& connection, Connection::Locked& locked, int32_t xid,
                 std::string_view body) const;
  // Whether the client has authenticated as enforce.auth.schemes has it. Else the request is
  // answered, and the connection is over.
  bool may_ask(Connection& connection, Connection::Locked& locked, int32_t xid) const;

 private:
  void fail(Connection& connection, Connection::Locked& locked, int32_t xid,
            const std::string& why) const;

  const WireConfig& config_;
  const std::function<uint64_t()> random_;
};

}  // namespace zabfs::fsd::wire
