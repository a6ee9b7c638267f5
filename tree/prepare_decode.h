// What clients' requests hold, as Java 3.8.0 reads them where it is not as everybody would.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "tree/acl.h"
#include "tree/jute.h"
#include "tree/request.h"

namespace zabfs::tree {

inline bool has_ttl_flag(int32_t flags) {
  return flags == kCreateTtlFlag || flags == kCreateTtlSequentialFlag;
}

// An ACL as a client wants it. Java's server fails where an id is null, unless the entry's scheme
// has no use for one: `is_whole` is false then, and `entries` are those before.
struct WantedAcl {
  AclList entries;
  bool is_whole = true;
};
WantedAcl read_wanted_acl(jute::Reader& in, const std::set<std::string>& schemes);
// As fix_acl, of what there is of it.
Result<AclList> fix_wanted_acl(const WantedAcl& wanted, const Identities& identities,
                               const std::set<std::string>& schemes);

// Reads past one operation of a multi. Nullopt: all of the multi is malformed, which it is for Java
// with a null path, too. Java 3.8.0 then goes by the flags and not by the type (Op.Create): create2
// is create there, a container is one by its flag, createTTL without a flag with TTL is create.
// Those of another type that have such a flag fail when it comes to them: kError.
std::optional<OpCode> take_multi_op(OpCode type, jute::Reader& in);

}  // namespace zabfs::tree
