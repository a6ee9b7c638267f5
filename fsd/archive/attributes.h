// What files have in a tree and nowhere else, as extended attributes: of files, and of a tar's
// entries, where they are SCHILY.xattr.NAME. And the name that a directory's own data has in both.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fsd/archive/ends.h"

namespace zabfs::archive {

inline constexpr std::string_view kPrefix = "user.zabfs.";

//     user.zabfs.acl        the ACL without its posix entry, a line an entry (acl_lines)
//     user.zabfs.plain      1: there is no posix entry
//     user.zabfs.ttl        the time to live in ms
//     user.zabfs.container  1: it goes when its last child has gone
std::vector<std::pair<std::string, std::string>> attributes_of(const Entry& entry);
// Takes one of these; fails if its value is malformed. Others are passed over.
Status take_attribute(Entry& entry, std::string_view name, std::string_view value);

// What a name in an archive stands for.
struct Named {
  std::string path;          // as of an entry
  bool is_own_data = false;  // DIR/@/data: the data of the directory `path`
  bool is_room = false;      // DIR/@, which holds nothing but that
};
StatusOr<Named> entry_named(std::string_view name);

}  // namespace zabfs::archive
