#include "fsd/view/contenders.h"

#include <fmt/format.h>

#include <algorithm>
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

// In the queue of a lock, an election or a semaphore.
bool is_queued(std::string_view name) {
  bool is_one = is_mutex_contender(name) || is_read_write_contender(name) ||
                is_latch_contender(name) || is_lease(name);
  return is_one && sequence_of(name).has_value();
}

// `NODE PID NAME`, as a contender of a mount writes about itself.
bool is_of_a_mount(std::string_view data) {
  auto take_number = [&data] {
    size_t digits = std::min(data.find_first_not_of("0123456789"), data.size());
    bool is_number = digits > 0 && digits < data.size() && data[digits] == ' ';
    if (is_number) data.remove_prefix(digits + 1);
    return is_number;
  };
  return take_number() && take_number() && !data.empty();
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

// Service instances of Curator's are named so, too, but their data is a JSON object.
bool is_barrier_member(const tree::ZNode& node) {
  return is_ephemeral(node) && is_uuid(node.name.view()) && !node.data.view().starts_with("{");
}

bool is_contender(const tree::ZNode& node) {
  return is_ephemeral(node) && (is_queued(node.name.view()) || is_barrier_member(node));
}

bool is_unlisted(const tree::ZNode& node) {
  return is_ephemeral(node) && is_unlisted(node.name.view(), node.data.view());
}

bool is_listed(const tree::ZNode& node) {
  return node.name.view() != kHidden && !is_unlisted(node);
}

bool is_unlisted(std::string_view name, std::string_view data) {
  return is_queued(name) || (is_uuid(name) && is_of_a_mount(data));
}

bool has_only_unlisted(const tree::Tree& tree, const tree::ZNode& directory) {
  if (directory.children.size() > kManyChildren) return false;
  bool has_unlisted = false, has_other = false;
  tree.for_each_child(directory, [&](const tree::ZNode& child) {
    if (child.name.view() == kHidden) return;
    (is_unlisted(child) ? has_unlisted : has_other) = true;
  });
  return has_unlisted && !has_other;
}

}  // namespace zabfs::fsd
