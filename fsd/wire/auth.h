// Who a client is: the credentials that ZooKeeper's `auth` packets carry
// (zookeeper-formats.md 1.15).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tree/acl.h"

namespace zabfs::fsd::wire {

// "user:password" as its ACL id: user:base64(SHA-1 of the whole).
std::string digest_id(std::string_view credentials);

// The identities that credentials of `scheme` prove; nullopt if they prove nothing. `address` is
// the peer's, for scheme `ip`.
std::optional<tree::Identities> authenticate(std::string_view scheme, std::string_view credentials,
                                             std::string_view address,
                                             std::string_view super_digest);

}  // namespace zabfs::fsd::wire
