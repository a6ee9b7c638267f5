// The tree's part that counts what quotas count (quota.h; Java: DataTree.updateQuotaStat).
#include <vector>

#include "tree/path.h"
#include "tree/quota.h"
#include "tree/tree.h"

namespace zabfs::tree {

std::string_view Tree::quota_above(std::string_view path) const {
  if (quotas_.empty()) return {};
  for (std::string_view at = path; at != "/"; at = parent_path(at)) {
    if (quotas_.contains(at)) return at;
  }
  return {};
}

// A znode came or went below the quota tree: a limit begins or ends, or usage is to be counted.
void Tree::note_quota_znode(std::string_view path, bool exists) {
  std::string_view parent = parent_path(path);
  if (!is_within(parent, kQuotaRoot)) return;
  std::string_view subject = quota_subject(parent);
  if (base_name(path) == kQuotaLimits) {
    if (exists) {
      quotas_.emplace(subject);
    } else if (auto quota = quotas_.find(subject); quota != quotas_.end()) {
      quotas_.erase(quota);
    }
  } else if (base_name(path) == kQuotaStats && exists) {
    count_usage(subject);
  }
}

void Tree::count_usage(std::string_view path) {
  QuotaTrack usage{0, 0, -1, -1};
  NodeId top = find_id(path);
  std::vector<NodeId> left;
  if (top != kNoNodeId) left.push_back(top);
  while (!left.empty()) {
    const ZNode& next = node(left.back());
    left.pop_back();
    ++usage.count;
    usage.bytes += static_cast<int64_t>(next.data.size());
    next.children.for_each([&left](NodeId child) { left.push_back(child); });
  }
  put_usage(path, usage);
}

void Tree::add_usage(std::string_view path, int64_t count, int64_t bytes) {
  std::string_view quota = quota_above(path);
  if (quota.empty()) return;
  NodeId id = find_id(quota_znode(quota, kQuotaStats));
  if (id == kNoNodeId) return;
  QuotaTrack usage = QuotaTrack::parse(node(id).data.view());
  usage.count += count;
  usage.bytes += bytes;
  put_usage(quota, usage);
}

// The one change of data without a change of the Stat; the digest does not cover this subtree.
void Tree::put_usage(std::string_view path, const QuotaTrack& usage) {
  NodeId id = find_id(quota_znode(path, kQuotaStats));
  if (id == kNoNodeId) return;
  before_change(id);
  ZNode& stats = mutable_node(id);
  data_bytes_ -= stats.data.size();
  stats.data = Bytes(usage.text());
  data_bytes_ += stats.data.size();
}

void Tree::find_quotas() {
  const ZNode* top = find(kQuotaRoot);
  if (top == nullptr) return;
  std::vector<const ZNode*> left{top};
  std::vector<std::string> paths;
  while (!left.empty()) {
    const ZNode* next = left.back();
    left.pop_back();
    bool ours = next->name.view() == kQuotaLimits || next->name.view() == kQuotaStats;
    if (ours) paths.push_back(path_of(*next));
    for_each_child(*next, [&left](const ZNode& child) { left.push_back(&child); });
  }
  for (const std::string& path : paths) note_quota_znode(path, true);
}

}  // namespace zabfs::tree
