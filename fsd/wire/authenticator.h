// Serves the requests by which clients prove who they are: `addAuth` and SASL. Also refuses those
// who have to prove something first (enforce.auth.schemes). FORMATS.md 1.4, 1.15; Java:
// AuthenticationHelper.
//
// Like Java, this server answers these requests at once, before the requests that wait on the
// connection. Each method appends its answer to the connection's output.
//
// A failure ends the connection. Client libraries take AUTHFAILED for its end, and report no other
// error of an addAuth to the program.
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
