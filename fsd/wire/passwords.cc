#include "fsd/wire/passwords.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "fsd/wire/messages.h"
#include "tree/jute.h"

namespace zabfs::fsd::wire {

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
