#include "fsd/recipes/ring.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>

#include "fsd/view/contenders.h"
#include "tree/path.h"

namespace zabfs::fsd {
namespace {

constexpr size_t kMaxWeightBytes = 32;

// 1 for what is no number, 0 for what is not to be chosen.
double weight_of(std::string_view data) {
  if (data.size() > kMaxWeightBytes) return 1;
  size_t begin = data.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return 1;
  std::string_view text = data.substr(begin, data.find_last_not_of(" \t\n") - begin + 1);
  double weight = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(weight)) return 1;
  return std::max(weight, 0.0);
}

// FNV-1a over both names, and a finalizer, for FNV's high bits are weak.
uint64_t draw(std::string_view key, std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  auto take = [&hash](std::string_view text) {
    for (char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    hash = (hash ^ 0xff) * 0x100000001b3;
  };
  take(key);
  take(name);
  hash ^= hash >> 30;
  hash *= 0xbf58476d1ce4e5b9;
  hash ^= hash >> 27;
  hash *= 0x94d049bb133111eb;
  return hash ^ hash >> 31;
}

// Whether all who may read the directory may read the child, whoever is in which group.
bool all_may_read(const View& directory, const View& child) {
  uint32_t readers = directory.mode & 0444;
  if ((readers & 04) != 0) return (child.mode & 0444) == 0444;
  bool same_owner = directory.uid == 0 || child.uid == directory.uid;
  return same_owner && child.gid == directory.gid && (child.mode & readers) == readers;
}

bool is_of_a_recipe(const tree::ZNode& node) {
  std::string_view name = node.name.view();
  if (name == kHidden || is_contender(node) || is_queue_item(name)) return true;
  bool container = tree::owner_kind(node.stat.owner) == tree::OwnerKind::kContainer;
  return container && (name == kSemaphoreLocks || name == kSemaphoreLeases);
}

}  // namespace

std::vector<Candidate> candidates_of(const tree::Tree& tree, const std::string& directory,
                                     const ViewOptions& options) {
  std::vector<Candidate> candidates;
  const tree::ZNode* node = tree.find(directory);
  if (node == nullptr) return candidates;
  tree.for_each_child(*node, [&](const tree::ZNode& child) {
    if (is_of_a_recipe(child)) return;
    double weight = weight_of(child.data.view());
    if (weight != 1) {
      std::string path = tree::join_path(directory, child.name.view());
      bool is_open = all_may_read(view_of(tree, *node, directory, options),
                                  view_of(tree, child, path, options));
      if (!is_open) weight = 1;
    }
    if (weight > 0) candidates.push_back({std::string(child.name.view()), weight});
  });
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& a, const Candidate& b) { return a.name < b.name; });
  return candidates;
}

std::string ring_choice(std::string_view key, const std::vector<Candidate>& candidates) {
  const Candidate* best = nullptr;
  double best_score = 0;
  for (const Candidate& candidate : candidates) {
    // Uniform in (0, 1); the time of the first event of a process of rate `weight`: the least wins.
    double uniform = (static_cast<double>(draw(key, candidate.name) >> 11) + 0.5) * 0x1p-53;
    double score = -std::log(uniform) / candidate.weight;
    if (best == nullptr || score < best_score) {
      best = &candidate;
      best_score = score;
    }
  }
  return best == nullptr ? std::string() : best->name;
}

}  // namespace zabfs::fsd
