// The posix ACL entry: how a mount's kinds, modes, owners and times travel in a znode's ACL.
//
//   scheme digest, no permissions, id  zabfs-posix,KIND,MODE,UID,GID[,MTIME@VERSION][,iINODE]:x
//   KIND f, d, l, p or s, as find(1) has them; MODE octal without others' r and w, which the world
//   entry says; MTIME seconds.nanoseconds, valid while the znode's version is VERSION; INODE its
//   inode number. It is there once the file was renamed, since it goes along.
//
// Java stores the entry and grants nothing by it: no password hashes to it. DESIGN.md section 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tree/acl.h"
#include "tree/types.h"

namespace zabfs::tree {

// The numbers are in requests. The kernel joins the programs that have a FIFO or a socket open, on
// one node; the znode only has its name, mode and owner.
enum class Kind { kFile, kDirectory, kSymlink, kFifo, kSocket };

struct Time {
  int64_t seconds = 0;
  int32_t nanoseconds = 0;  // 0 .. 999,999,999
  bool operator==(const Time&) const = default;
};

struct PosixEntry {
  Kind kind = Kind::kFile;
  uint32_t mode = 0;  // permission bits; others' r and w are always those of the world entry
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::optional<Time> mtime;
  int32_t mtime_version = 0;
  uint64_t inode = 0;  // 0: that of its znode (`inode_number`)
  bool operator==(const PosixEntry&) const = default;
};

inline constexpr uint32_t kModeBits = 07777;
inline constexpr uint32_t kNoId = UINT32_MAX;     // chown(2)'s -1, which nobody is
inline constexpr size_t kMaxTargetBytes = 4'095;  // of a symlink
inline constexpr uint32_t kOthersRead = 04;
inline constexpr uint32_t kOthersWrite = 02;

// The number of a znode that was not renamed: of (czxid, path), so that all nodes have the same.
uint64_t inode_number(Zxid czxid, std::string_view path);
// The r and w bits of others that an ACL's world entry stands for.
uint32_t world_mode(const AclList& acl);
// The posix entry with its mode completed by the world entry; nullopt if there is none, or one that
// no mount makes (leaders that don't know it store anything).
std::optional<PosixEntry> find_posix(const AclList& acl);
// Whether a list may be stored: it has no posix entry, or a single one that `find_posix` takes.
bool is_valid_posix(const AclList& acl);
bool is_valid(const PosixEntry& posix);
// `acl` with the posix entry put in or replaced, and the world entry brought into line with its
// mode. The world entry is left as it is when it agrees already, and goes when it grants nothing.
AclList with_posix(const AclList& acl, const PosixEntry& posix);
// What Apache ZooKeeper gets of a list: all but the posix entry. A list of which nothing is left
// grants nothing, as world:anyone without permissions does.
AclList without_posix(AclList acl);

}  // namespace zabfs::tree
