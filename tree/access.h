// What a user may do by kinds, modes and owners, as the kernel decides it on a mount.
//
// The kernel knows nothing of the clients of the Unix-domain socket, and some of a mount's files
// are the daemon's own: there these rules stand in. A client's user travels with its requests as
// two identities, `uid` and `gid`. The superuser, and clients of other ports, have no user here.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "tree/acl.h"
#include "tree/posix.h"

namespace zabfs::tree {

class Tree;

struct User {
  uint32_t uid = 0;
  std::vector<uint32_t> groups;  // the primary one among them
  bool knows_groups = true;      // false: there may be others
};

// All groups of a user, in decimal, with commas between them.
inline constexpr std::string_view kGidScheme = "gid";
Identities identities_of(const User& user);
std::optional<User> user_of(const Identities& identities);
bool is_superuser(const Identities& identities);

// The three bits of a mode that count for this user. If the groups are not known: the bits that
// both the group and others have.
uint32_t mode_bits(const PosixEntry& posix, const User& user);
// Whether somebody could do with `before` what he can't do with `after`: read, write or execute, or
// change it as its owner. To lose setuid, setgid or the sticky bit counts, too. The superuser loses
// nothing.
bool takes_rights_away(const PosixEntry& before, const PosixEntry& after);
// What the mode gives as owner or as one of the group; none if only others' bits count, which are
// those of the world entry.
std::optional<int32_t> posix_perms(const PosixEntry& posix, const User& user);

// The ACL of the znode at a path; nullptr if there is no such znode.
using FindAcl = std::function<const AclList*(std::string_view path)>;
// Whether a user may search every directory above `path`. True for who is no user: ZooKeeper's
// clients are held to the ACL of the znode alone.
bool may_reach(std::string_view path, const Identities& identities, const FindAcl& find);
bool may_reach(const Tree& tree, std::string_view path, const Identities& identities);
bool may_search(const AclList& directory, const Identities& identities);
// The sticky rule: whether a user who may remove names from `directory` may remove this one.
bool may_remove(const AclList& directory, const AclList& acl, const Identities& identities);

// Whether the posix entry of a new znode's ACL, or of one that replaces `before`, is for this
// client to give: as mknod(2), chown(2) and chmod(2) would let a user. An inode number is nobody's
// to give. Others may keep what is there.
bool may_make(const AclList& acl, const AclList& directory, const Identities& identities);
bool may_change(const AclList& before, const AclList& after, const Identities& identities);

}  // namespace zabfs::tree
