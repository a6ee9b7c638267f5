#include "fsd/wire/sasl.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

namespace zabfs::fsd::wire {
namespace {

constexpr const char* kRealm = "zk-sasl-md5";  // as Java's server names it

std::string md5(std::string_view text) {
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), hash, &size, EVP_md5(), nullptr);
  return {reinterpret_cast<const char*>(hash), size};
}

std::string hex(std::string_view bytes) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (char byte : bytes) {
    text += kDigits[static_cast<uint8_t>(byte) >> 4];
    text += kDigits[static_cast<uint8_t>(byte) & 0xf];
  }
  return text;
}

// `name=value, name="value"`; nullopt if it is nothing of the kind or a name comes twice.
std::optional<std::map<std::string, std::string>> parse(std::string_view text) {
  std::map<std::string, std::string> fields;
  size_t at = 0;
  while (at < text.size()) {
    while (at < text.size() && (text[at] == ',' || text[at] == ' ')) ++at;
    if (at == text.size()) break;
    size_t equals = text.find('=', at);
    if (equals == std::string_view::npos) return std::nullopt;
    std::string name(text.substr(at, equals - at));
    std::string value;
    at = equals + 1;
    if (at < text.size() && text[at] == '"') {
      for (++at; at < text.size() && text[at] != '"'; ++at) {
        if (text[at] == '\\' && at + 1 < text.size()) ++at;
        value += text[at];
      }
      if (at == text.size()) return std::nullopt;
      ++at;
    } else {
      size_t end = std::min(text.find(',', at), text.size());
      value = text.substr(at, end - at);
      at = end;
    }
    if (!fields.emplace(std::move(name), std::move(value)).second) return std::nullopt;
  }
  return fields;
}

}  // namespace

std::string DigestMd5::challenge() const {
  return std::string("realm=\"") + kRealm + "\",nonce=\"" + nonce_ +
         "\",qop=\"auth\",charset=utf-8,algorithm=md5-sess";
}

std::string DigestMd5::digest(const std::map<std::string, std::string>& fields,
                              const std::string& password, std::string_view method) const {
  auto field = [&fields](const char* name) {
    auto found = fields.find(name);
    return found == fields.end() ? std::string() : found->second;
  };
  std::string secret = md5(field("username") + ":" + field("realm") + ":" + password);
  std::string a1 = secret + ":" + nonce_ + ":" + field("cnonce");
  if (!field("authzid").empty()) a1 += ":" + field("authzid");
  std::string a2 = std::string(method) + ":" + field("digest-uri");
  return hex(md5(hex(md5(a1)) + ":" + nonce_ + ":" + field("nc") + ":" + field("cnonce") +
                 ":auth:" + hex(md5(a2))));
}

std::optional<std::string> DigestMd5::respond(std::string_view response) {
  std::optional<std::map<std::string, std::string>> fields = parse(response);
  if (!fields) return std::nullopt;
  auto user = users_.find((*fields)["username"]);
  std::string qop = (*fields)["qop"];
  bool fits = (*fields)["nonce"] == nonce_ && (*fields)["nc"] == "00000001" &&
              (qop.empty() || qop == "auth") && user != users_.end();
  if (!fits) return std::nullopt;
  const std::string& authorised = (*fields)["authzid"];
  if (!authorised.empty() && authorised != user->first) return std::nullopt;
  std::string expected = digest(*fields, user->second, "AUTHENTICATE");
  const std::string& given = (*fields)["response"];
  if (given.size() != expected.size() ||
      CRYPTO_memcmp(given.data(), expected.data(), given.size()) != 0) {
    return std::nullopt;
  }
  user_ = user->first;
  return "rspauth=" + digest(*fields, user->second, "");
}

}  // namespace zabfs::fsd::wire
