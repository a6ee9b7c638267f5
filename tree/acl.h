// ACLs: ZooKeeper's lists of (perms, scheme, id), their checks, and the table that interns them.
//
// Rules: FORMATS.md 1.15; Java: PrepRequestProcessor.checkACL and fixupACL.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tree/jute.h"
#include "tree/types.h"

namespace zabfs::tree {

enum Perms : int32_t {
  kPermRead = 1,
  kPermWrite = 2,
  kPermCreate = 4,
  kPermDelete = 8,
  kPermAdmin = 16,
  kPermAll = 31,
};

struct Id {
  std::string scheme;
  std::string id;
  bool operator==(const Id&) const = default;
};

struct Acl {
  int32_t perms = 0;
  Id who;
  bool operator==(const Acl&) const = default;
};

using AclList = std::vector<Acl>;
using Identities = std::vector<Id>;

const AclList& open_acl();  // world:anyone, all permissions
// Who came through the Unix-domain listener: its user, in decimal.
inline constexpr std::string_view kUidScheme = "uid";
const Identities& superuser();  // what the mount acts as

std::string encode_acl(const AclList& acl);
void write_acl(jute::Writer& out, const AclList& acl);
AclList read_acl(jute::Reader& in);
void write_identities(jute::Writer& out, const Identities& ids);
Identities read_identities(jute::Reader& in);

// Whether one of `identities` has one of the permissions in `wanted` by this list.
bool acl_allows(const AclList& acl, int32_t wanted, const Identities& identities);

// The list as it is stored: duplicates dropped, `auth` expanded, every entry valid. InvalidACL if
// it is empty or an entry's scheme or id is not acceptable. Whose posix entry it may be is for
// access.h to say.
// `schemes` are acceptable beside world, ip and digest.
Result<AclList> fix_acl(const AclList& wanted, const Identities& identities,
                        const std::set<std::string>& schemes = {});

// One text line an entry, `scheme:id:perms` with perms in the letters cdrwa; and back.
std::string acl_text(const AclList& acl);
std::optional<AclList> parse_acl_text(std::string_view text);

// Interns ACL lists: a million znodes with one ACL hold one copy. A list goes when no znode has it
// any more; its number may mean another one then. Number 0 is world:anyone ALL, for ZooKeeper's
// built-in -1, and stays. Not thread-safe; the tree's owner guards it.
class AclTable {
 public:
  using Number = uint32_t;
  AclTable();
  // The number of a list; it goes at the next `forget_unused` if nobody holds it by then.
  Number intern(const AclList& acl);
  // One znode more, or one fewer, has it.
  Number hold(const AclList& acl) { return hold(intern(acl)); }
  Number hold(Number number);
  void let_go(Number number);
  // Until here a list that was let go of can be read by its number.
  void forget_unused();

  const AclList& list(Number number) const { return *entries_[number].list; }
  // For who still reads it when the tree has forgotten it.
  std::shared_ptr<const AclList> shared(Number number) const { return entries_[number].list; }
  // How many lists znodes have, number 0 among them.
  size_t size() const;
  // Visits these as (number, list), number 0 first.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (Number number = 0; number < entries_.size(); ++number) {
      if (entries_[number].uses > 0) visit(number, *entries_[number].list);
    }
  }

 private:
  struct Entry {
    std::shared_ptr<const AclList> list;
    uint32_t uses = 0;
  };
  std::vector<Entry> entries_;
  std::vector<Number> free_;    // without a list
  std::vector<Number> unused_;  // nobody held it at some time since the last `forget_unused`
  std::unordered_map<std::string, Number> numbers_;  // by encoding; looked up, never iterated
};

}  // namespace zabfs::tree
