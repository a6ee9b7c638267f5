// Who a client is: the credentials that ZooKeeper's `auth` packets carry
// (FORMATS.md 1.15).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tree/acl.h"
#include "tree/status.h"

namespace zabfs::fsd::wire {

// "user:password" as its ACL id: user:base64(SHA-1 of the whole).
std::string digest_id(std::string_view credentials);

// The identities that credentials of `scheme` prove; nullopt if they prove nothing. `address` is
// the peer's, for scheme `ip`.
std::optional<tree::Identities> authenticate(std::string_view scheme, std::string_view credentials,
                                             std::string_view address,
                                             std::string_view super_digest);

// What a verified certificate of this subject (RFC 2253) proves. `super`: the superuser's subject.
tree::Identities identities_of_certificate(const std::string& subject, const std::string& super);

// Why a connection that proves one identity more is refused.
std::string too_many_identities();

// Who is at the other end of a Unix-domain socket, on the kernel's word: its user first. Root is
// root here as on the mount.
StatusOr<tree::Identities> identities_of_peer(int fd);

// The passwords of clients' sessions. Whoever shows a session's password is its client, at any
// server.
//
// Every id is seen by others (an ephemeral's owner), so a password is a keyed MAC of it. Its key is
// the ensemble's secret (consensus::ZabState), which members alone have. Apache ZooKeeper's servers
// compute passwords from ids; while one of them is a member, so do we, and accept what they gave.

// HMAC-SHA256, cut to the length of ZooKeeper's.
std::string secret_password(tree::SessionId session, std::string_view secret);
// ZooKeeper's, which needs no secret.
std::string public_password(tree::SessionId session);
// Takes the same time whatever they are, if they are as long.
bool is_same_password(std::string_view shown, std::string_view right);

}  // namespace zabfs::fsd::wire
