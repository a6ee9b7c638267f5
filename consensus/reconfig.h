// What a client's reconfig request asks for, as the configuration it leads to.
// Rules and their order: FORMATS.md 2.1; Java: PrepRequestProcessor. Pure.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "consensus/membership.h"
#include "tree/acl.h"

namespace zabfs::consensus {

struct ReconfigLimits {
  bool standalone = false;  // a server that is no ensemble can't become one
  size_t min_voters = 2;    // 1 without standaloneEnabled
};

// The text of the new configuration, with `version`. `synced` are those whose ACKs the leader gets:
// they must be a quorum of it.
tree::Result<std::string> plan_reconfig(const Membership& membership, const ReconfigLimits& limits,
                                        const std::set<ServerId>& synced, std::string_view body,
                                        Zxid version);

// The body of a request for exactly the members of `ensemble`.
std::string reconfig_body(const Ensemble& ensemble);
// For those of a text as `Ensemble::text` gives it, if the version in force is that one, or if it
// is -1.
std::string reconfig_body(std::string_view members, int64_t expected_version);

}  // namespace zabfs::consensus
