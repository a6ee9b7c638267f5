// How many identities one client connection may have. Every write carries its identities to the
// leader, and an `auth` entry of an ACL becomes one for each.
#pragma once

#include "tree/acl.h"

namespace zabfs::tree {

// Those of the connection's door included. In bytes, schemes and ids together.
inline constexpr size_t kMaxIdentities = 64;
inline constexpr size_t kMaxIdentityBytes = 8'192;
// What a request may bring from another server, which may be Java's and has no such bounds.
inline constexpr size_t kMaxForwardedIdentities = 1'000;
static_assert(kMaxIdentities <= kMaxForwardedIdentities);

// Adds those of `proven` that are not there yet: all of them, or none and false, if they would pass
// the bounds.
[[nodiscard]] bool add_identities(Identities& all, const Identities& proven);

}  // namespace zabfs::tree
