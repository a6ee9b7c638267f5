#include "fsd/view/view.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "tree/path.h"
#include "tree/quota.h"

namespace zabfs::fsd {

using tree::Kind;
using tree::PosixEntry;
using tree::Time;

namespace {

uint32_t world_view_mode(const tree::AclList& acl, Kind kind) {
  uint32_t others = tree::world_mode(acl);
  uint32_t bits = others;
  if (kind == Kind::kDirectory && (others & tree::kOthersRead) != 0) bits |= 01;
  return bits << 6 | bits << 3 | bits;
}

bool has_world_entry(const tree::AclList& acl) {
  return std::any_of(acl.begin(), acl.end(),
                     [](const tree::Acl& entry) { return entry.who.scheme == "world"; });
}

}  // namespace

View view_of(const tree::Tree& tree, const tree::ZNode& node, std::string_view path,
             const ViewOptions& options) {
  const tree::AclList& acl = tree.acl_of(node);
  std::optional<PosixEntry> posix = tree::find_posix(acl);
  View view;
  view.kind = tree::shown_kind(posix, node.children.size() > 0, node.data.size(),
                               tree::owner_kind(node.stat.owner) == tree::OwnerKind::kEphemeral);
  if (posix) {
    view.mode = posix->mode;
    view.uid = posix->uid;
    view.gid = posix->gid;
    // Made as a file, and a directory now: what may be read may be entered.
    if (view.kind == Kind::kDirectory && posix->kind != Kind::kDirectory) {
      view.mode |= (posix->mode & 0444) >> 2;
    }
  } else if (has_world_entry(acl)) {
    view.mode = world_view_mode(acl, view.kind);
    view.uid = options.uid;
    view.gid = options.gid;
  } else {
    view.mode = view.kind == Kind::kDirectory ? 0700 : 0600;
  }
  if (view.kind == Kind::kSymlink) view.mode = 0777;
  bool was_renamed = posix && posix->inode != 0;
  view.ino = was_renamed ? posix->inode : tree::inode_number(node.stat.czxid, path);
  bool has_size = view.kind == Kind::kFile || view.kind == Kind::kSymlink;
  view.size = has_size ? node.data.size() : 0;
  view.mtime = tree::shown_mtime(view.kind, node.stat, node.times);
  view.ctime = tree::shown_ctime(node.stat, node.times);
  if (posix && posix->mtime && posix->mtime_version == tree::mtime_version(view.kind, node.stat)) {
    view.mtime = *posix->mtime;
    view.has_set_mtime = true;
  }
  return view;
}

bool may(const View& view, const Caller& caller, uint32_t wanted) {
  return caller.uid == 0 || (tree::mode_bits(posix_of(view), caller) & wanted) == wanted;
}

uint32_t wanted_by(int flags) {
  int mode = flags & O_ACCMODE;
  uint32_t wanted = mode != O_WRONLY ? kMayRead : 0;
  if (mode != O_RDONLY || (flags & O_TRUNC) != 0) wanted |= kMayWrite;
  return wanted;
}

FileError may_remove(const View& directory, const View& entry, const Caller& caller) {
  if (!may(directory, caller, kMayWrite | kMaySearch)) return FileError::kNoAccess;
  bool is_sticky = (directory.mode & S_ISVTX) != 0;
  bool owns = caller.uid == 0 || caller.uid == entry.uid || caller.uid == directory.uid;
  return is_sticky && !owns ? FileError::kNotPermitted : FileError::kOk;
}

std::optional<uint32_t> handed_down_group(const View& directory) {
  return (directory.mode & S_ISGID) != 0 ? std::optional(directory.gid) : std::nullopt;
}

struct stat stat_of(const View& view) {
  struct stat st = {};
  switch (view.kind) {
    case Kind::kFile:
      st.st_mode = S_IFREG;
      break;
    case Kind::kDirectory:
      st.st_mode = S_IFDIR;
      break;
    case Kind::kSymlink:
      st.st_mode = S_IFLNK;
      break;
    case Kind::kFifo:
      st.st_mode = S_IFIFO;
      break;
    case Kind::kSocket:
      st.st_mode = S_IFSOCK;
      break;
  }
  st.st_mode |= view.mode;
  st.st_nlink = 1;
  st.st_uid = view.uid;
  st.st_gid = view.gid;
  st.st_ino = view.ino;
  st.st_size = static_cast<off_t>(view.size);
  st.st_blocks = static_cast<blkcnt_t>((view.size + 511) / 512);
  st.st_blksize = 4096;
  st.st_mtim = {view.mtime.seconds, view.mtime.nanoseconds};
  st.st_atim = st.st_mtim;
  st.st_ctim = {view.ctime.seconds, view.ctime.nanoseconds};
  return st;
}

PosixEntry posix_of(const View& view) {
  PosixEntry posix;
  posix.kind = view.kind;
  posix.mode = view.mode;
  posix.uid = view.uid;
  posix.gid = view.gid;
  return posix;
}

tree::AclList acl_for_new(Kind kind, uint32_t mode, uint32_t uid, uint32_t gid) {
  PosixEntry posix;
  posix.kind = kind;
  posix.mode = mode;
  posix.uid = uid;
  posix.gid = gid;
  return tree::with_posix({}, posix);
}

tree::AclList acl_like(const tree::Tree& tree, const std::string& directory) {
  const tree::ZNode* node = tree.find(directory);
  if (node == nullptr) return acl_for_new(Kind::kDirectory, 0755, 0, 0);
  tree::AclList acl = tree.acl_of(*node);
  std::optional<PosixEntry> posix = tree::find_posix(acl);
  if (!posix) return acl;
  posix->kind = Kind::kDirectory;
  posix->mtime.reset();
  return tree::with_posix(acl, *posix);
}

bool changes_without_txn(std::string_view path) {
  return tree::base_name(path) == tree::kQuotaStats && tree::is_within(path, tree::kQuotaRoot);
}

bool is_hidden(std::string_view path) {
  static const std::string at_end = "/" + std::string(kHidden), within = at_end + "/";
  return path.find(within) != std::string_view::npos || path.ends_with(at_end);
}

std::string hidden_path(const std::string& directory, std::string_view child) {
  return tree::join_path(tree::join_path(directory, kHidden), child);
}

FileError file_error_of(tree::Error error) {
  using tree::Error;
  switch (error) {
    case Error::kOk:
      return FileError::kOk;
    case Error::kNoNode:
      return FileError::kNoEntry;
    case Error::kNodeExists:
      return FileError::kExists;
    case Error::kNotEmpty:
      return FileError::kNotEmpty;
    case Error::kNoAuth:
      return FileError::kNoAccess;
    case Error::kInvalidAcl:
    case Error::kBadArguments:
    case Error::kMarshallingError:
      return FileError::kInvalid;
    case Error::kNoChildrenForEphemerals:
      return FileError::kNotDirectory;
    case Error::kBadVersion:
    case Error::kStale:
      return FileError::kStale;
    case Error::kTooLarge:
      return FileError::kTooLarge;
    case Error::kBusy:
      return FileError::kBusy;
    case Error::kBadLimit:
      return FileError::kTryAgain;
    case Error::kUnimplemented:
      return FileError::kUnsupported;
    case Error::kNotReadOnly:
      return FileError::kReadOnly;
    case Error::kQuotaExceeded:
      return FileError::kQuotaExceeded;
    case Error::kSystemError:
    case Error::kRuntimeInconsistency:
    case Error::kDataInconsistency:
    case Error::kNewConfigNoQuorum:
    case Error::kReconfigInProgress:
    case Error::kAuthFailed:
    case Error::kEphemeralOnLocalSession:
    case Error::kNoWatcher:
    case Error::kReconfigDisabled:
    case Error::kSessionClosedRequireSaslAuth:
    case Error::kThrottledOp:
    case Error::kConnectionLoss:
    case Error::kOperationTimeout:
    case Error::kSessionExpired:
    case Error::kSessionMoved:
      return FileError::kFailed;
  }
  return FileError::kFailed;
}

FileError open_file_error_of(tree::Error error) {
  return error == tree::Error::kNoNode ? FileError::kStale : file_error_of(error);
}

std::vector<std::pair<std::string, std::string>> stat_lines(const tree::Stat& stat) {
  auto zxid = [](tree::Zxid value) { return fmt::format("0x{:x}", value.value); };
  return {{"czxid", zxid(stat.czxid)},
          {"mzxid", zxid(stat.mzxid)},
          {"pzxid", zxid(stat.pzxid)},
          {"ctime", std::to_string(stat.ctime_ms)},
          {"mtime", std::to_string(stat.mtime_ms)},
          {"version", std::to_string(stat.version)},
          {"cversion", std::to_string(stat.cversion)},
          {"aversion", std::to_string(stat.aversion)},
          {"ephemeralOwner", std::to_string(stat.ephemeral_owner)},
          {"dataLength", std::to_string(stat.data_length)},
          {"numChildren", std::to_string(stat.num_children)}};
}

std::string stat_text(const tree::Stat& stat) {
  std::string text;
  for (const auto& [key, value] : stat_lines(stat)) text += key + " " + value + "\n";
  return text;
}

}  // namespace zabfs::fsd
