// SASL's DIGEST-MD5 (RFC 2831), the server's side, as ZooKeeper's clients use it: quality of
// protection `auth`, one round.
//
// Pure but for the nonce it is given.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace zabfs::fsd::wire {

class DigestMd5 {
 public:
  // `nonce` is unpredictable and used once. Users to passwords.
  DigestMd5(const std::map<std::string, std::string>& users, std::string nonce)
      : users_(users), nonce_(std::move(nonce)) {}

  std::string challenge() const;
  // The answer that proves the server to the client; nullopt if the client proved nothing.
  std::optional<std::string> respond(std::string_view response);
  const std::string& user() const { return user_; }  // who was proven

 private:
  std::string digest(const std::map<std::string, std::string>& fields, const std::string& password,
                     std::string_view method) const;

  const std::map<std::string, std::string>& users_;
  std::string nonce_;
  std::string user_;
};

}  // namespace zabfs::fsd::wire
