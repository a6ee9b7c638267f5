// Who made a txn, as far as the server knew at which its request came in. The leader writes it
// behind the txn's digest, where Apache ZooKeeper reads no further (FORMATS.md 8.4). So it goes
// wherever the txn goes: to other members, into their logs, and to learners that are brought up to
// date. No tree depends on it.
//
// It comes from peers and disks. What is too long or malformed reads as nothing, and the txn holds
// all the same. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tree/acl.h"
#include "tree/types.h"

namespace zabfs::tree {

struct Request;

// Of a request of a mount: the user of the machine who asked, and the program. nullopt: the mount
// itself.
struct LocalUser {
  std::optional<uint32_t> uid;
  std::string program = {};

  LocalUser() = default;
  LocalUser(uint32_t user, std::string name = {})  // NOLINT: implicit on purpose
      : uid(user), program(std::move(name)) {}
};

// All texts are printable ASCII without spaces and commas.
struct Origin {
  std::optional<uint8_t> node;  // server_byte; none: the one that made the session
  std::optional<uint32_t> uid;
  std::string program;
  std::string address;             // of the client, without its port
  std::vector<std::string> users;  // SCHEME:ID of what it has proven; of a digest, the name alone
};

inline constexpr size_t kMaxOriginBytes = 256;  // encoded
inline constexpr size_t kMaxProgramBytes = 32;
inline constexpr size_t kMaxAddressBytes = 64;
inline constexpr size_t kMaxOriginUserBytes = 128;  // each
inline constexpr size_t kMaxOriginUsers = 4;

// Appends what is known of who asks. Nothing, if that is no more than the session says.
void write_origin(const Request& request, std::string& out);
// Of what stands behind a txn's digest (Txn::origin).
Origin read_origin(std::string_view bytes);

// A request's LocalUser on its way to a leader that is zabfs, beside the identities (FORMATS.md
// 8.1).
Id identity_of(const LocalUser& user);
// Takes all such off the identities, and gives the first.
LocalUser take_local_user(Identities& identities);

}  // namespace zabfs::tree
