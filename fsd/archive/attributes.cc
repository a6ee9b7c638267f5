#include "fsd/archive/attributes.h"

#include <fmt/format.h>

#include <charconv>

#include "tree/znode.h"

namespace zabfs::archive {

namespace {

constexpr std::string_view kAcl = "acl", kPlain = "plain", kTtl = "ttl", kContainer = "container";

Status malformed(const Entry& entry, std::string_view name) {
  return Status::failed(fmt::format("{}: the extended attribute {}{} is malformed",
                                    transfer::printable(entry.path), kPrefix, name));
}

}  // namespace

std::vector<std::pair<std::string, std::string>> attributes_of(const Entry& entry) {
  std::vector<std::pair<std::string, std::string>> attributes;
  auto add = [&attributes](std::string_view name, std::string value) {
    attributes.emplace_back(std::string(kPrefix) + std::string(name), std::move(value));
  };
  if (!entry.acl.empty()) add(kAcl, transfer::acl_lines(entry.acl));
  if (entry.is_plain) add(kPlain, "1");
  if (entry.ttl_ms > 0) add(kTtl, std::to_string(entry.ttl_ms));
  if (entry.is_container) add(kContainer, "1");
  return attributes;
}

Status take_attribute(Entry& entry, std::string_view name, std::string_view value) {
  if (!name.starts_with(kPrefix)) return {};
  name.remove_prefix(kPrefix.size());
  if (name == kAcl) {
    std::optional<tree::AclList> acl = transfer::parse_acl_lines(value);
    if (!acl) return malformed(entry, name);
    entry.acl = std::move(*acl);
  } else if (name == kPlain || name == kContainer) {
    if (value != "1") return malformed(entry, name);
    (name == kPlain ? entry.is_plain : entry.is_container) = true;
  } else if (name == kTtl) {
    int64_t ttl_ms = 0;
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), ttl_ms);
    bool is_number = error == std::errc() && end == value.data() + value.size();
    if (!is_number || ttl_ms <= 0 || ttl_ms > tree::kMaxTtlMs) return malformed(entry, name);
    entry.ttl_ms = ttl_ms;
  }
  return {};
}

StatusOr<Named> entry_named(std::string_view name) {
  constexpr std::string_view kRoom = "/@", kOwnData = "/@/data";
  while (name.starts_with("./")) {
    name.remove_prefix(2);
    while (name.starts_with('/')) name.remove_prefix(1);
  }
  while (name.size() > 1 && name.ends_with('/')) name.remove_suffix(1);
  Named named;
  if (name == ".") name = "";
  std::string with_slash = "/" + std::string(name);
  std::string_view rest = with_slash;
  if (rest.ends_with(kOwnData)) {
    named.is_own_data = true;
    rest.remove_suffix(kOwnData.size());
  } else if (rest.ends_with(kRoom)) {
    named.is_room = true;
    rest.remove_suffix(kRoom.size());
  }
  if (!rest.empty()) rest.remove_prefix(1);
  named.path = rest;
  Status status = transfer::check_path(named.path);
  if (!status.ok()) return status;
  return named;
}

}  // namespace zabfs::archive
