#include "tree/posix.h"

#include <algorithm>
#include <charconv>

namespace zabfs::tree {
namespace {

constexpr std::string_view kPrefix = "zabfs-posix,";
constexpr std::string_view kSuffix = ":x";
constexpr uint64_t kRootInode = 1;
constexpr uint64_t kMaxInode = INT64_MAX;
constexpr int32_t kWorldWrite = kPermWrite | kPermCreate | kPermDelete;

bool is_posix(const Acl& entry) {
  return entry.perms == 0 && entry.who.scheme == "digest" && entry.who.id.starts_with(kPrefix) &&
         entry.who.id.ends_with(kSuffix);
}

bool is_world(const Acl& entry) { return entry.who.scheme == "world" && entry.who.id == "anyone"; }

char kind_letter(Kind kind) {
  switch (kind) {
    case Kind::kFile:
      return 'f';
    case Kind::kDirectory:
      return 'd';
    case Kind::kSymlink:
      return 'l';
    case Kind::kFifo:
      return 'p';
    case Kind::kSocket:
      return 's';
  }
  return 'f';
}

// Reads one number up to `separator` or the end, and removes it with the separator.
template <class T>
bool take_number(std::string_view& text, char separator, int base, T& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (text.empty()) return true;
  if (text[0] != separator) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<PosixEntry> parse(std::string_view id) {
  id.remove_prefix(kPrefix.size());
  id.remove_suffix(kSuffix.size());
  PosixEntry posix;
  if (id.size() < 2 || id[1] != ',') return std::nullopt;
  switch (id[0]) {
    case 'f':
      posix.kind = Kind::kFile;
      break;
    case 'd':
      posix.kind = Kind::kDirectory;
      break;
    case 'l':
      posix.kind = Kind::kSymlink;
      break;
    case 'p':
      posix.kind = Kind::kFifo;
      break;
    case 's':
      posix.kind = Kind::kSocket;
      break;
    default:
      return std::nullopt;
  }
  id.remove_prefix(2);
  if (!take_number(id, ',', 8, posix.mode) || !take_number(id, ',', 10, posix.uid) ||
      !take_number(id, ',', 10, posix.gid)) {
    return std::nullopt;
  }
  if (!id.empty() && id[0] != 'i') {
    Time time;
    if (!take_number(id, '.', 10, time.seconds) || !take_number(id, '@', 10, time.nanoseconds) ||
        !take_number(id, ',', 10, posix.mtime_version) || time.nanoseconds < 0 ||
        time.nanoseconds > 999'999'999) {
      return std::nullopt;
    }
    posix.mtime = time;
  }
  if (!id.empty()) {
    bool is_inode = id[0] == 'i';
    id.remove_prefix(1);
    if (!is_inode || !take_number(id, ',', 10, posix.inode) || !id.empty()) return std::nullopt;
    if (posix.inode == 0 || posix.inode > kMaxInode) return std::nullopt;
  }
  if (!is_valid(posix)) return std::nullopt;
  return posix;
}

std::string octal(uint32_t value) {
  char digits[12];
  auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value, 8);
  return std::string(digits, end);
}

Acl entry_of(const PosixEntry& posix) {
  std::string id(kPrefix);
  id += kind_letter(posix.kind);
  id += "," + octal(posix.mode & ~(kOthersRead | kOthersWrite));
  id += "," + std::to_string(posix.uid) + "," + std::to_string(posix.gid);
  if (posix.mtime) {
    std::string nanoseconds = std::to_string(posix.mtime->nanoseconds);
    id += "," + std::to_string(posix.mtime->seconds) + "." +
          std::string(9 - nanoseconds.size(), '0') + nanoseconds + "@" +
          std::to_string(posix.mtime_version);
  }
  if (posix.inode != 0) id += ",i" + std::to_string(posix.inode);
  id += kSuffix;
  return Acl{0, {"digest", id}};
}

}  // namespace

uint64_t inode_number(Zxid czxid, std::string_view path) {
  if (path == "/") return kRootInode;
  uint64_t hash = 0xcbf29ce484222325 ^ static_cast<uint64_t>(czxid.value);
  for (char c : path) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  hash ^= hash >> 32;
  return std::max(hash & kMaxInode, kRootInode + 1);
}

bool is_valid(const PosixEntry& posix) {
  return posix.mode <= kModeBits && posix.uid != kNoId && posix.gid != kNoId;
}

bool is_valid_posix(const AclList& acl) {
  auto entries = std::count_if(acl.begin(), acl.end(), is_posix);
  return entries == 0 || (entries == 1 && find_posix(acl).has_value());
}

uint32_t world_mode(const AclList& acl) {
  int32_t perms = 0;
  for (const Acl& entry : acl) {
    if (is_world(entry)) perms |= entry.perms;
  }
  uint32_t mode = 0;
  if ((perms & kPermRead) != 0) mode |= kOthersRead;
  if ((perms & kWorldWrite) == kWorldWrite) mode |= kOthersWrite;
  return mode;
}

std::optional<PosixEntry> find_posix(const AclList& acl) {
  for (const Acl& entry : acl) {
    if (!is_posix(entry)) continue;
    std::optional<PosixEntry> posix = parse(entry.who.id);
    if (posix) posix->mode = (posix->mode & ~(kOthersRead | kOthersWrite)) | world_mode(acl);
    return posix;
  }
  return std::nullopt;
}

AclList with_posix(const AclList& acl, const PosixEntry& posix) {
  AclList result;
  bool agrees = world_mode(acl) == (posix.mode & (kOthersRead | kOthersWrite));
  for (const Acl& entry : acl) {
    if (is_posix(entry) || (!agrees && is_world(entry))) continue;
    result.push_back(entry);
  }
  int32_t perms = 0;
  if ((posix.mode & kOthersRead) != 0) perms |= kPermRead;
  if ((posix.mode & kOthersWrite) != 0) perms |= kWorldWrite;
  if (!agrees && perms != 0) result.insert(result.begin(), Acl{perms, {"world", "anyone"}});
  result.push_back(entry_of(posix));
  return result;
}

AclList without_posix(AclList acl) {
  std::erase_if(acl, [](const Acl& entry) { return find_posix({entry}).has_value(); });
  if (acl.empty()) acl.push_back({0, {"world", "anyone"}});
  return acl;
}

}  // namespace zabfs::tree
