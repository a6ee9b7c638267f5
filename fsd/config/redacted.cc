#include "fsd/config/redacted.h"

#include <cstdint>

#include "fsd/config/keys.h"
#include "fsd/config/properties.h"
#include "fsd/log_line.h"

namespace zabfs::fsd {

bool is_secret(const std::string& key) {
  std::string name = in_lower_case(key);
  for (const char* part : {"password", "passwd", "secret", "superdigest", "sasl.user", "token"}) {
    if (name.find(part) != std::string::npos) return true;
  }
  return false;
}

namespace {

constexpr size_t kMaxKeyBytes = 100;

bool looks_like_a_key(const std::string& key) {
  return !key.empty() && key.size() <= kMaxKeyBytes &&
         key.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
             std::string::npos;
}

std::string shown(const Property& line) {
  if (is_secret(line.key)) return log_line(line.key) + "=(left out: a secret)";
  if (find_key(line.key) != nullptr)
    return log_line(line.key) + "=" + log_line(line.value, SIZE_MAX);
  if (line.value.empty() || !looks_like_a_key(line.key)) return "(left out: no key with a value)";
  return line.key + "=(left out: an unknown key)";
}

}  // namespace

std::string without_secrets(std::istream& in, const std::string& file) {
  std::string text;
  for (const Property& line : parse_properties(in, file)) text += shown(line) + "\n";
  return text;
}

}  // namespace zabfs::fsd
