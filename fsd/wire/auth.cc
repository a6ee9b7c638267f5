#include "fsd/wire/auth.h"

#include <openssl/evp.h>

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

}  // namespace zabfs::fsd::wire
