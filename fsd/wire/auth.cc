#include "fsd/wire/auth.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "fsd/wire/messages.h"
#include "tree/access.h"
#include "tree/identities.h"
#include "tree/jute.h"

namespace zabfs::fsd::wire {

std::string digest_id(std::string_view credentials) {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(credentials.data(), credentials.size(), hash, &size, EVP_sha1(), nullptr);
  unsigned char text[2 * EVP_MAX_MD_SIZE];
  int length = EVP_EncodeBlock(text, hash, static_cast<int>(size));
  std::string id(credentials.substr(0, credentials.find(':')));
  id += ':';
  id.append(reinterpret_cast<const char*>(text), static_cast<size_t>(length));
  return id;
}

std::optional<tree::Identities> authenticate(std::string_view scheme, std::string_view credentials,
                                             std::string_view address,
                                             std::string_view super_digest) {
  tree::Identities proven;
  if (scheme == "ip") {
    proven.push_back({"ip", std::string(address)});
  } else if (scheme == "digest") {
    std::string id = digest_id(credentials);
    if (!super_digest.empty() && id == super_digest) proven.push_back({"super", ""});
    proven.push_back({"digest", std::move(id)});
  } else {
    return std::nullopt;
  }
  return proven;
}

tree::Identities identities_of_certificate(const std::string& subject, const std::string& super) {
  tree::Identities proven;
  if (subject == super) proven.push_back({"super", subject});
  proven.push_back({"x509", subject});
  return proven;
}

std::string too_many_identities() {
  return fmt::format("more than {} identities, or {} bytes of them, on one connection",
                     tree::kMaxIdentities, tree::kMaxIdentityBytes);
}

std::string secret_password(tree::SessionId session, std::string_view secret) {
  std::string text("zabfs session ");
  tree::jute::Writer(text).i64(session.value);
  unsigned char mac[EVP_MAX_MD_SIZE];
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac, nullptr);
  return std::string(reinterpret_cast<const char*>(mac), kPasswordBytes);
}

// java.util.Random, seeded with the session (FORMATS.md 1.3).
std::string public_password(tree::SessionId session) {
  constexpr int64_t kSalt = 0xB3415C00;
  constexpr uint64_t kMultiplier = 0x5DEECE66D, kMask = (uint64_t{1} << 48) - 1;
  uint64_t state = (static_cast<uint64_t>(session.value ^ kSalt) ^ kMultiplier) & kMask;
  std::string password;
  while (password.size() < kPasswordBytes) {
    state = (state * kMultiplier + 0xB) & kMask;
    auto word = static_cast<uint32_t>(state >> 16);
    for (int i = 0; i < 4; ++i, word >>= 8) password.push_back(static_cast<char>(word & 0xff));
  }
  return password;
}

bool is_same_password(std::string_view shown, std::string_view right) {
  return shown.size() == right.size() &&
         CRYPTO_memcmp(shown.data(), right.data(), right.size()) == 0;
}

namespace {

// All groups of the process that connected, as it had them then. Nullopt: the kernel won't say.
std::optional<std::vector<uint32_t>> peer_groups(int fd) {
  std::vector<uint32_t> groups(64);
  while (true) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    int result = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
    size_t count = size / sizeof(gid_t);
    bool is_longer = result != 0 && errno == ERANGE && count > groups.size();
    if (result != 0 && !is_longer) return std::nullopt;
    groups.resize(count);
    if (!is_longer) return groups;
  }
}

}  // namespace

StatusOr<tree::Identities> identities_of_peer(int fd) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return Status::failed(
        fmt::format("the kernel does not say whose it is: {}", std::strerror(errno)));
  }
  if (peer.uid == 0) return tree::Identities{{std::string(tree::kUidScheme), "0"}, {"super", ""}};
  std::optional<std::vector<uint32_t>> groups = peer_groups(fd);
  if (!groups) {
    return Status::failed(fmt::format("the kernel does not say the groups of uid {}", peer.uid));
  }
  tree::User user{peer.uid, {peer.gid}};
  user.groups.insert(user.groups.end(), groups->begin(), groups->end());
  tree::Identities identities;
  if (tree::add_identities(identities, tree::identities_of(user))) return identities;
  return Status::failed(
      fmt::format("uid {} is in {} groups, which are more than a request can carry", peer.uid,
                  user.groups.size()));
}

}  // namespace zabfs::fsd::wire
