#include "tree/outstanding.h"

#include <algorithm>

#include "tree/path.h"

namespace zabfs::tree {
namespace {

int64_t add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}

// Milliseconds, and below them a number that differs with every change.
Time time_with(int64_t ms, int64_t distinct) {
  return Time{ms / 1000, static_cast<int32_t>(ms % 1000 * 1'000'000 + distinct % 1'000'000)};
}

}  // namespace

Zxid last_change(const NodeStat& stat) { return std::max(stat.mzxid, stat.pzxid); }

Kind shown_kind(const std::optional<PosixEntry>& posix, bool has_children, size_t data_bytes,
                bool is_ephemeral) {
  if (has_children) return Kind::kDirectory;
  // No kernel follows what is too long for a symlink: it can be read and removed as a file.
  bool is_too_long = posix && posix->kind == Kind::kSymlink && data_bytes > kMaxTargetBytes;
  if (posix) return is_too_long ? Kind::kFile : posix->kind;
  return data_bytes > 0 || is_ephemeral ? Kind::kFile : Kind::kDirectory;
}

Kind shown_kind(const Record& record) {
  return shown_kind(find_posix(*record.acl), record.children > 0, record.data.size(),
                    is_ephemeral(record));
}

Time shown_mtime(Kind kind, const NodeStat& stat, const ChangeTimes& times) {
  if (kind != Kind::kDirectory) return time_with(stat.mtime_ms, stat.mzxid.value);
  return time_with(std::max(stat.mtime_ms, times.children_ms), last_change(stat).value);
}

Time shown_ctime(const NodeStat& stat, const ChangeTimes& times) {
  return time_with(std::max({stat.mtime_ms, times.children_ms, times.acl_ms}),
                   last_change(stat).value + stat.aversion);
}

int32_t mtime_version(Kind kind, const NodeStat& stat) {
  if (kind != Kind::kDirectory) return stat.version;
  uint64_t mixed = static_cast<uint64_t>(last_change(stat).value) * 0x9e3779b97f4a7c15;
  return static_cast<int32_t>(mixed >> 32);
}

bool is_ephemeral(const Record& record) {
  return owner_kind(record.stat.owner) == OwnerKind::kEphemeral;
}

std::optional<Record> Outstanding::find(std::string_view path) const {
  auto found = records_.find(path);
  if (found != records_.end()) {
    if (!found->second.exists) return std::nullopt;
    return found->second;
  }
  const ZNode* node = tree_.find(path);
  if (node == nullptr) return std::nullopt;
  Record record;
  record.stat = node->stat;
  record.times = node->times;
  record.children = static_cast<int32_t>(node->children.size());
  record.data = node->data;
  record.acl = tree_.shared_acl_of(*node);
  return record;
}

int64_t Outstanding::digest_of(std::string_view path) const {
  auto found = records_.find(path);
  if (found != records_.end()) return found->second.digest;
  const ZNode* node = tree_.find(path);
  return node == nullptr ? 0 : tree_.digest_of(path, *node);
}

void Outstanding::put(std::string_view path, Record record) {
  std::string key(path);
  digest_ = add(digest_, -digest_of(path));
  record.digest = record.exists ? node_digest(path, record.data, record.stat) : 0;
  digest_ = add(digest_, record.digest);
  Undo undo{key, std::nullopt};
  auto found = records_.find(key);
  if (found != records_.end()) undo.before = found->second;
  undo_.push_back(std::move(undo));
  order_.emplace_back(record.zxid, key);
  records_.insert_or_assign(std::move(key), std::move(record));
}

void Outstanding::roll_back() {
  for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo) {
    digest_ = add(digest_, -digest_of(undo->path));
    if (undo->before) {
      records_.insert_or_assign(undo->path, std::move(*undo->before));
    } else {
      records_.erase(undo->path);
    }
    digest_ = add(digest_, digest_of(undo->path));
    order_.pop_back();
  }
  undo_.clear();
}

void Outstanding::applied(Zxid zxid) {
  while (!order_.empty() && order_.front().first <= zxid) {
    auto found = records_.find(order_.front().second);
    if (found != records_.end() && found->second.zxid <= zxid) records_.erase(found);
    order_.pop_front();
  }
}

void Outstanding::reset() {
  records_.clear();
  order_.clear();
  undo_.clear();
  digest_ = tree_.digest();
}

std::vector<std::string> Outstanding::children(std::string_view path) const {
  std::vector<std::string> names;
  if (const ZNode* node = tree_.find(path)) {
    tree_.for_each_child(*node, [&](const ZNode& child) {
      std::string child_path = join_path(path, child.name.view());
      if (!records_.contains(child_path)) names.emplace_back(child.name.view());
    });
  }
  for (const auto& [key, record] : records_) {
    if (record.exists && key != "/" && parent_path(key) == path) {
      names.emplace_back(base_name(key));
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> Outstanding::ephemerals(SessionId session) const {
  std::vector<std::string> paths;
  for (std::string& path : tree_.ephemerals_of(session)) {
    if (!records_.contains(path)) paths.push_back(std::move(path));
  }
  for (const auto& [key, record] : records_) {
    if (record.exists && record.stat.owner == session.value) paths.push_back(key);
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace zabfs::tree
