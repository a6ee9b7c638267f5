#include "fsd/wire/auth.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "fsd/wire/messages.h"
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

std::string secret_password(tree::SessionId session, std::string_view secret) {
  std::string text("zabfs session ");
  tree::jute::Writer(text).i64(session.value);
  unsigned char mac[EVP_MAX_MD_SIZE];
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac, nullptr);
  return std::string(reinterpret_cast<const char*>(mac), kPasswordBytes);
}

// java.util.Random, seeded with the session (zookeeper-formats.md 1.3).
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

}  // namespace zabfs::fsd::wire
