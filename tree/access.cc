#include "tree/access.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "tree/tree.h"

namespace zabfs::tree {
namespace {

constexpr uint32_t kSetgid = 02000, kSticky = 01000, kSpecialBits = 07000;
constexpr uint32_t kRead = 04, kWrite = 02, kSearch = 01;

std::optional<uint32_t> take_id(std::string_view& text) {
  uint32_t id = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (text.starts_with(',')) text.remove_prefix(1);
  return id;
}

bool has_group(const User& user, uint32_t group) {
  return std::find(user.groups.begin(), user.groups.end(), group) != user.groups.end();
}

bool is_setgid_directory(const std::optional<PosixEntry>& posix) {
  return posix && posix->kind == Kind::kDirectory && (posix->mode & kSetgid) != 0;
}

// Others' r and w are the world entry's to change.
PosixEntry without_others(PosixEntry posix) {
  posix.mode &= ~(kOthersRead | kOthersWrite);
  return posix;
}

}  // namespace

Identities identities_of(const User& user) {
  std::string groups;
  for (uint32_t group : user.groups) {
    if (!groups.empty()) groups += ',';
    groups += std::to_string(group);
  }
  return {{std::string(kUidScheme), std::to_string(user.uid)},
          {std::string(kGidScheme), std::move(groups)}};
}

bool is_superuser(const Identities& identities) {
  return std::any_of(identities.begin(), identities.end(),
                     [](const Id& id) { return id.scheme == "super"; });
}

std::optional<User> user_of(const Identities& identities) {
  std::optional<User> user;
  for (const Id& id : identities) {
    if (id.scheme == "super") return std::nullopt;
    if (id.scheme != kUidScheme) continue;
    std::string_view text = id.id;
    if (std::optional<uint32_t> uid = take_id(text)) user.emplace().uid = *uid;
  }
  if (!user) return user;
  user->knows_groups = false;
  for (const Id& id : identities) {
    if (id.scheme != kGidScheme) continue;
    user->knows_groups = true;
    std::string_view text = id.id;
    while (std::optional<uint32_t> group = take_id(text)) user->groups.push_back(*group);
  }
  return user;
}

uint32_t mode_bits(const PosixEntry& posix, const User& user) {
  if (user.uid == posix.uid) return posix.mode >> 6 & 07;
  uint32_t of_group = posix.mode >> 3 & 07, of_others = posix.mode & 07;
  if (has_group(user, posix.gid)) return of_group;
  return user.knows_groups ? of_others : of_group & of_others;
}

// Users differ in whose they are, and in which of the two groups.
bool takes_rights_away(const PosixEntry& before, const PosixEntry& after) {
  if ((before.mode & ~after.mode & kSpecialBits) != 0) return true;
  if (before.uid != after.uid && before.uid != 0) return true;
  const std::vector<uint32_t> memberships[] = {
      {}, {before.gid}, {after.gid}, {before.gid, after.gid}};
  for (uint32_t uid : {before.uid, after.uid, kNoId}) {
    for (const std::vector<uint32_t>& groups : memberships) {
      User user{uid, groups};
      if (uid != 0 && (mode_bits(before, user) & ~mode_bits(after, user)) != 0) return true;
    }
  }
  return false;
}

std::optional<int32_t> posix_perms(const PosixEntry& posix, const User& user) {
  bool owns = posix.uid == user.uid;
  if (!owns && !has_group(user, posix.gid)) return std::nullopt;
  uint32_t bits = mode_bits(posix, user);
  int32_t perms = owns ? kPermAdmin : 0;
  if ((bits & kRead) != 0) perms |= kPermRead;
  if ((bits & kWrite) != 0) perms |= kPermWrite | kPermCreate | kPermDelete;
  return perms;
}

bool may_search(const AclList& directory, const Identities& identities) {
  std::optional<User> user = user_of(identities);
  if (!user || directory.empty()) return true;
  // Whom an entry of the ACL lets read a directory may enter it.
  for (const Acl& entry : directory) {
    bool may_name = (entry.perms & kPermRead) != 0 && entry.who.scheme != "world";
    if (may_name && acl_allows({entry}, kPermRead, identities)) return true;
  }
  std::optional<PosixEntry> posix = find_posix(directory);
  if (!posix) return (world_mode(directory) & kOthersRead) != 0;
  // Made as a file, and a directory now: what may be read may be entered.
  if (posix->kind != Kind::kDirectory) posix->mode |= (posix->mode & 0444) >> 2;
  return (mode_bits(*posix, *user) & kSearch) != 0;
}

bool may_reach(std::string_view path, const Identities& identities, const FindAcl& find) {
  if (path == "/" || !user_of(identities)) return true;
  for (size_t end = path.find('/'); end != std::string_view::npos; end = path.find('/', end + 1)) {
    const AclList* acl = find(end == 0 ? "/" : path.substr(0, end));
    if (acl == nullptr) return true;  // nothing is below it
    if (!may_search(*acl, identities)) return false;
  }
  return true;
}

bool may_reach(const Tree& tree, std::string_view path, const Identities& identities) {
  return may_reach(path, identities, [&tree](std::string_view above) -> const AclList* {
    const ZNode* node = tree.find(above);
    return node == nullptr ? nullptr : &tree.acl_of(*node);
  });
}

bool may_remove(const AclList& directory, const AclList& acl, const Identities& identities) {
  std::optional<User> user = user_of(identities);
  if (!user) return true;
  std::optional<PosixEntry> parent = find_posix(directory);
  if (!parent || (parent->mode & kSticky) == 0 || parent->uid == user->uid) return true;
  if (std::optional<PosixEntry> posix = find_posix(acl)) return posix->uid == user->uid;
  // Without an owner, it is theirs whom the ACL names as its administrators.
  for (const Acl& entry : acl) {
    if (entry.who.scheme != "world" && acl_allows({entry}, kPermAdmin, identities)) return true;
  }
  return false;
}

bool may_make(const AclList& acl, const AclList& directory, const Identities& identities) {
  std::optional<PosixEntry> posix = find_posix(acl);
  if (!posix || is_superuser(identities)) return true;
  std::optional<User> user = user_of(identities);
  if (!user || posix->uid != user->uid || posix->inode != 0) return false;
  if (has_group(*user, posix->gid)) return true;
  // The group of a setgid directory goes to what is made in it, and the bit to directories.
  std::optional<PosixEntry> parent = find_posix(directory);
  bool is_handed_down = is_setgid_directory(parent) && parent->gid == posix->gid;
  bool is_setgid = (posix->mode & kSetgid) != 0;
  return is_handed_down && (!is_setgid || posix->kind == Kind::kDirectory);
}

bool may_change(const AclList& before, const AclList& after, const Identities& identities) {
  std::optional<PosixEntry> wanted = find_posix(after), old = find_posix(before);
  if (!wanted || is_superuser(identities)) return true;
  if (!old) return false;
  wanted = without_others(*wanted);
  old = without_others(*old);
  if (*wanted == *old) return true;
  std::optional<User> user = user_of(identities);
  if (!user || user->uid != old->uid) return false;
  if (wanted->uid != old->uid || wanted->kind != old->kind || wanted->inode != old->inode) {
    return false;
  }
  if (has_group(*user, wanted->gid)) return true;
  bool keeps_setgid = (wanted->mode & kSetgid) == 0 || wanted->mode == old->mode;
  return wanted->gid == old->gid && keeps_setgid;
}

}  // namespace zabfs::tree
