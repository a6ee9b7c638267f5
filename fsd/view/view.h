// How a znode looks as a file: kind, mode, owner, size, times, number (DESIGN.md, "Znodes as
// files"). Pure functions of the tree.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fsd/view/file_error.h"
#include "tree/access.h"
#include "tree/outstanding.h"
#include "tree/posix.h"
#include "tree/request.h"
#include "tree/tree.h"

namespace zabfs::fsd {

struct ViewOptions {
  uint32_t uid = 0, gid = 0;  // of znodes without a posix entry
};

struct View {
  tree::Kind kind = tree::Kind::kFile;
  uint32_t mode = 0;  // permission bits, setgid and sticky with them
  uint32_t uid = 0, gid = 0;
  uint64_t ino = 0;
  uint64_t size = 0;
  tree::Time mtime, ctime;
  bool has_set_mtime = false;  // the mtime is one that utimens set
};

View view_of(const tree::Tree& tree, const tree::ZNode& node, std::string_view path,
             const ViewOptions& options);

// Who asks, as the kernel knows them: for what the kernel can't check itself.
struct Caller : tree::User {
  gid_t gid = 0;  // the group of what it makes, one of its groups
};

inline constexpr uint32_t kMayRead = 04, kMayWrite = 02, kMaySearch = 01;
// Whether the mode lets that caller do all of `wanted`; root may do everything.
bool may(const View& view, const Caller& caller, uint32_t wanted);
uint32_t wanted_by(int flags);  // of open(2)
// Whether something is allowed with that znode.
using NodeTest = std::function<bool(const tree::ZNode& node, const std::string& path)>;
// What unlink(2) and rename(2) would say to that caller about an entry of a directory.
FileError may_remove(const View& directory, const View& entry, const Caller& caller);

struct stat stat_of(const View& view);
// What the posix entry becomes for a znode that has none yet: what it shows.
tree::PosixEntry posix_of(const View& view);
// The group that a setgid directory gives to what is made in it.
std::optional<uint32_t> handed_down_group(const View& directory);
// The ACL of a znode made through a mount.
tree::AclList acl_for_new(tree::Kind kind, uint32_t mode, uint32_t uid, uint32_t gid);
// The ACL of a directory that a recipe makes below another: whoever may use that one may use it.
tree::AclList acl_like(const tree::Tree& tree, const std::string& directory);
FileError file_error_of(tree::Error error);
// The same of a write through an open file: that its znode is no more is not news of a name.
FileError open_file_error_of(tree::Error error);
// The fields of a Stat, as name and value.
std::vector<std::pair<std::string, std::string>> stat_lines(const tree::Stat& stat);
// A Stat as `@/stat` shows it: `name value` lines.
std::string stat_text(const tree::Stat& stat);

inline constexpr std::string_view kHidden = "@";  // the child that mounts don't show
// The usage that a quota counts is data which no txn names.
bool changes_without_txn(std::string_view path);
// A child of a directory's hidden one: DIR/@/CHILD.
std::string hidden_path(const std::string& directory, std::string_view child);
// Whether it is the hidden child of a directory, or below one.
bool is_hidden(std::string_view path);

}  // namespace zabfs::fsd
