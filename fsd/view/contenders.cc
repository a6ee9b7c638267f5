#include "fsd/view/contenders.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>

#include "fsd/view/view.h"

namespace zabfs::fsd {
namespace {

constexpr size_t kSequenceDigits = 10;
constexpr uint32_t kManyChildren = 10'000;  // more than contend for anything
constexpr std::string_view kUuidShape = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

bool contains(std::string_view name, std::string_view part) {
  return name.find(part) != std::string_view::npos;
}

bool is_ephemeral(const tree::ZNode& node) {
  return tree::owner_kind(node.stat.owner) == tree::OwnerKind::kEphemeral;
}

// Of a barrier. Service instances of Curator's are named so, too, but their data is a JSON object.
bool is_member(std::string_view name, std::string_view data) {
  return is_uuid(name) && !data.starts_with("{");
}

}  // namespace

std::string uuid_of(uint64_t random_high, uint64_t random_low) {
  constexpr uint64_t kVersion = 4, kVariant = 0x8000;
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", random_high >> 32,
                     random_high >> 16 & 0xffff, kVersion << 12 | (random_high & 0xfff),
                     kVariant | (random_low >> 48 & 0x3fff), random_low & 0xffff'ffff'ffff);
}

std::string uuid_from(const std::function<uint64_t()>& random) {
  uint64_t high = random();
  return uuid_of(high, random());
}

bool is_uuid(std::string_view name) {
  if (name.size() != kUuidShape.size()) return false;
  for (size_t i = 0; i < name.size(); ++i) {
    bool fits = kUuidShape[i] == 'x' ? std::isxdigit(static_cast<unsigned char>(name[i])) != 0
                                     : name[i] == '-';
    if (!fits) return false;
  }
  return true;
}

std::optional<int64_t> sequence_of(std::string_view name) {
  if (name.size() < kSequenceDigits) return std::nullopt;
  std::string_view digits = name.substr(name.size() - kSequenceDigits);
  if (digits.front() == '-') return std::nullopt;
  int64_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

bool is_mutex_contender(std::string_view name) {
  return contains(name, "-lock-") || contains(name, "__lock__");
}

bool is_reader(std::string_view name) { return contains(name, "__READ__"); }

bool is_read_write_contender(std::string_view name) {
  return is_reader(name) || contains(name, "__WRIT__");
}

bool is_latch_contender(std::string_view name) { return contains(name, "latch-"); }
bool is_lease(std::string_view name) { return contains(name, "lease-"); }

bool is_queue_item(std::string_view name) {
  return name.starts_with("qn-") && sequence_of(name).has_value();
}

bool is_barrier_member(const tree::ZNode& node) {
  return is_ephemeral(node) && is_member(node.name.view(), node.data.view());
}

bool is_contender(const tree::ZNode& node) {
  return is_ephemeral(node) && is_contender(node.name.view(), node.data.view());
}

bool is_contender(std::string_view name, std::string_view data) {
  bool queues = is_mutex_contender(name) || is_read_write_contender(name) ||
                is_latch_contender(name) || is_lease(name);
  return (queues && sequence_of(name).has_value()) || is_member(name, data);
}

bool has_only_contenders(const tree::Tree& tree, const tree::ZNode& directory) {
  if (directory.children.size() > kManyChildren) return false;
  bool has_contender = false, has_other = false;
  tree.for_each_child(directory, [&](const tree::ZNode& child) {
    if (child.name.view() == kHidden) return;
    (is_contender(child) ? has_contender : has_other) = true;
  });
  return has_contender && !has_other;
}

}  // namespace zabfs::fsd
