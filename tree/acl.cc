#include "tree/acl.h"

#include <algorithm>
#include <charconv>

#include "tree/access.h"
#include "tree/posix.h"

namespace zabfs::tree {

const AclList& open_acl() {
  static const AclList kOpen{{kPermAll, {"world", "anyone"}}};
  return kOpen;
}

const Identities& superuser() {
  static const Identities kSuper{{"super", ""}};
  return kSuper;
}

void write_acl(jute::Writer& out, const AclList& acl) {
  out.count(acl.size());
  for (const Acl& entry : acl) {
    out.i32(entry.perms);
    out.string(entry.who.scheme);
    out.string(entry.who.id);
  }
}

std::string encode_acl(const AclList& acl) {
  std::string bytes;
  jute::Writer out(bytes);
  write_acl(out, acl);
  return bytes;
}

AclList read_acl(jute::Reader& in) {
  AclList acl(in.count(12));
  for (Acl& entry : acl) {
    entry.perms = in.i32();
    entry.who.scheme = in.string();
    entry.who.id = in.string();
  }
  return acl;
}

void write_identities(jute::Writer& out, const Identities& ids) {
  out.count(ids.size());
  for (const Id& id : ids) {
    out.string(id.scheme);
    out.string(id.id);
  }
}

Identities read_identities(jute::Reader& in) {
  Identities ids(in.count(8));
  for (Id& id : ids) {
    id.scheme = in.string();
    id.id = in.string();
  }
  return ids;
}

namespace {

std::optional<uint32_t> parse_ipv4(std::string_view text) {
  uint32_t address = 0;
  for (int part = 0; part < 4; ++part) {
    unsigned value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || value > 255) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (part < 3) {
      if (text.empty() || text[0] != '.') return std::nullopt;
      text.remove_prefix(1);
    }
    address = (address << 8) | value;
  }
  if (!text.empty()) return std::nullopt;
  return address;
}

struct Network {
  uint32_t address;
  uint32_t mask;
};

std::optional<Network> parse_network(std::string_view text) {
  size_t slash = text.find('/');
  unsigned bits = 32;
  if (slash != std::string_view::npos) {
    std::string_view tail = text.substr(slash + 1);
    auto [end, error] = std::from_chars(tail.data(), tail.data() + tail.size(), bits);
    if (error != std::errc() || end != tail.data() + tail.size() || bits > 32) return std::nullopt;
  }
  std::optional<uint32_t> address = parse_ipv4(text.substr(0, slash));
  if (!address) return std::nullopt;
  uint32_t mask = bits == 0 ? 0 : ~uint32_t{0} << (32 - bits);
  return Network{*address, mask};
}

bool id_matches(const Id& entry, const Id& identity) {
  if (entry.scheme != identity.scheme) return false;
  if (entry.scheme != "ip") return entry.id == identity.id;
  std::optional<Network> network = parse_network(entry.id);
  std::optional<uint32_t> address = parse_ipv4(identity.id);
  return network && address && (network->address & network->mask) == (*address & network->mask);
}

bool is_valid_entry(const Id& who) {
  if (who.scheme == "world") return who.id == "anyone";
  if (who.scheme == "ip") return parse_network(who.id).has_value();
  if (who.scheme == "digest") return std::count(who.id.begin(), who.id.end(), ':') == 1;
  return false;
}

// Each is compared with all others, here and in checks; a list that is stored already may be
// longer.
constexpr size_t kMaxAclEntries = 1'000;
constexpr std::string_view kPermLetters = "rwcda";  // by bit, READ first

}  // namespace

bool acl_allows(const AclList& acl, int32_t wanted, const Identities& identities) {
  if (acl.empty() || is_superuser(identities)) return true;
  int32_t of_world = wanted;
  std::optional<User> user = user_of(identities);
  std::optional<PosixEntry> posix = user ? find_posix(acl) : std::nullopt;
  if (posix) {
    // As on a mount: the first class that fits decides, and only the owner changes a mode.
    std::optional<int32_t> perms = posix_perms(*posix, *user);
    if (perms && (*perms & wanted) != 0) return true;
    of_world = perms ? 0 : wanted & ~kPermAdmin;
  }
  for (const Acl& entry : acl) {
    if ((entry.perms & wanted) == 0) continue;
    if (entry.who.scheme == "world" && entry.who.id == "anyone") {
      if ((entry.perms & of_world) != 0) return true;
      continue;
    }
    for (const Id& identity : identities) {
      if (id_matches(entry.who, identity)) return true;
    }
  }
  return false;
}

Result<AclList> fix_acl(const AclList& wanted, const Identities& identities,
                        const std::set<std::string>& schemes) {
  AclList fixed;
  auto add = [&fixed](Acl entry) {
    if (std::find(fixed.begin(), fixed.end(), entry) == fixed.end()) {
      fixed.push_back(std::move(entry));
    }
  };
  std::set<int32_t> expanded;  // perms of `auth` entries, whose ids say nothing
  if (wanted.empty() || wanted.size() > kMaxAclEntries) return Error::kInvalidAcl;
  for (const Acl& entry : wanted) {
    if (fixed.size() > kMaxAclEntries) return Error::kInvalidAcl;
    if (entry.who.scheme == "auth") {
      if (!expanded.insert(entry.perms).second) continue;
      bool any = false;
      for (const Id& identity : identities) {
        bool is_own = identity.scheme != "ip" && identity.scheme != "super";
        if (!is_own || identity.scheme == kGidScheme) continue;
        add({entry.perms, identity});
        any = true;
      }
      if (!any) return Error::kInvalidAcl;
    } else {
      bool extra = schemes.contains(entry.who.scheme) && !entry.who.id.empty();
      if (!extra && !is_valid_entry(entry.who)) return Error::kInvalidAcl;
      add(entry);
    }
  }
  if (fixed.size() > kMaxAclEntries || !is_valid_posix(fixed)) return Error::kInvalidAcl;
  return fixed;
}

std::string acl_text(const AclList& acl) {
  std::string text;
  for (const Acl& entry : acl) {
    text += entry.who.scheme + ":" + entry.who.id + ":";
    for (size_t bit : {2u, 3u, 0u, 1u, 4u}) {  // zkCli prints cdrwa
      if ((entry.perms >> bit) & 1) text += kPermLetters[bit];
    }
    text += '\n';
  }
  return text;
}

std::optional<AclList> parse_acl_text(std::string_view text) {
  AclList acl;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty()) continue;
    size_t first = line.find(':');
    size_t last = line.rfind(':');
    if (first == std::string_view::npos || last == first) return std::nullopt;
    Acl entry;
    entry.who.scheme = line.substr(0, first);
    entry.who.id = line.substr(first + 1, last - first - 1);
    for (char letter : line.substr(last + 1)) {
      size_t bit = kPermLetters.find(letter);
      if (bit == std::string_view::npos) return std::nullopt;
      entry.perms |= 1 << bit;
    }
    if (!is_valid_entry(entry.who)) return std::nullopt;
    acl.push_back(std::move(entry));
  }
  if (acl.empty()) return std::nullopt;
  return acl;
}

AclTable::AclTable() { hold(open_acl()); }

AclTable::Number AclTable::intern(const AclList& acl) {
  auto next = free_.empty() ? static_cast<Number>(entries_.size()) : free_.back();
  auto [entry, added] = numbers_.try_emplace(encode_acl(acl), next);
  if (!added) return entry->second;
  if (free_.empty()) {
    entries_.emplace_back();
  } else {
    free_.pop_back();
  }
  entries_[next].list = std::make_shared<const AclList>(acl);
  unused_.push_back(next);
  return next;
}

AclTable::Number AclTable::hold(Number number) {
  ++entries_[number].uses;
  return number;
}

void AclTable::let_go(Number number) {
  if (--entries_[number].uses == 0) unused_.push_back(number);
}

void AclTable::forget_unused() {
  for (Number number : unused_) {
    Entry& entry = entries_[number];
    if (entry.uses > 0 || !entry.list) continue;
    numbers_.erase(encode_acl(*entry.list));
    entry.list.reset();
    free_.push_back(number);
  }
  unused_.clear();
}

size_t AclTable::size() const {
  size_t count = 0;
  for_each([&count](Number, const AclList&) { ++count; });
  return count;
}

}  // namespace zabfs::tree
