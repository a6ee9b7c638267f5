// Notices that two servers say they are the same one: their connections end each other's, and
// neither gets anywhere.
//
// Pure; a part of the election mesh (election_mesh.h).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "consensus/ensemble.h"

namespace zabfs::consensus {

// The election port that a hello names. Of a server with several addresses (addresses_in), whose
// ports may differ: the known one, if it is among them. Null: none is known.
std::string election_port_in(std::string_view hello_address, const std::string* known);

class Claims {
 public:
  // Where a connection of a server comes from, and its election port. Names of hosts have many
  // spellings: what it calls its own says nothing.
  struct Claim {
    std::string host, port;
    bool operator==(const Claim&) const = default;
  };

  // `id` is what a hello says. `live`: the connection of that server which there is already, if
  // there is one. A sentence if two seem to be the same, but not too often.
  std::optional<std::string> hello(int64_t now_ms, ServerId me, ServerId id, const Claim& claim,
                                   const Claim* live);

 private:
  struct Suspect {
    int64_t since_ms = 0;
    int times = 0;
    int64_t told_ms = INT64_MIN / 2;
  };
  std::map<ServerId, Suspect> suspects_;  // by the mesh, only peers and this node
};

}  // namespace zabfs::consensus
