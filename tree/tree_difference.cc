#include "tree/tree_difference.h"

#include <optional>
#include <string_view>
#include <utility>

#include "tree/path.h"

namespace zabfs::tree {

namespace {

constexpr std::string_view kSystem = "/zookeeper", kQuotas = "/zookeeper/quota";
constexpr std::string_view kUsageName = "zookeeper_stats";

bool is_ephemeral(const ZNode& node) {
  return owner_kind(node.stat.owner) == OwnerKind::kEphemeral;
}

std::optional<std::string_view> data_of(const ZNode& node) {
  if (node.data.is_null()) return std::nullopt;
  return node.data.view();
}

// How much a quota says is used.
bool is_usage(const std::string& path) {
  return is_within(path, kQuotas) && base_name(path) == kUsageName;
}

// In /zookeeper, all but the quotas.
bool is_the_ensembles(const std::string& path) {
  return parent_path(path) == kSystem && path != kQuotas;
}

}  // namespace

void TreeDifference::begin() {
  removals_.clear();
  left_.clear();
  left_.push_back({&wanted_.root(), "/", false});
}

bool TreeDifference::next(const Tree& living, size_t looks, std::vector<MultiOp>& requests) {
  for (; looks > 0; --looks) {
    if (!removals_.empty()) {
      remove(living, requests);
    } else if (!left_.empty()) {
      Wanted at = std::move(left_.back());
      left_.pop_back();
      look(living, std::move(at), requests);
    } else {
      return false;
    }
  }
  return true;
}

void TreeDifference::look(const Tree& living, Wanted at, std::vector<MultiOp>& requests) {
  if (is_ephemeral(*at.node) || is_the_ensembles(at.path)) return;
  const ZNode* there = at.is_new ? nullptr : living.find(at.path);
  // Whose it is, and how long it lives, can't be changed.
  if (there != nullptr && there->stat.owner != at.node->stat.owner) {
    removals_.push_back({at.path, false});
    at.is_new = true;
    left_.push_back(std::move(at));  // behind its removal
    return;
  }
  if (there == nullptr) {
    make(at, requests);
  } else {
    if (at.path != kSystem) compare(*there, living.acl_of(*there), at, requests);
    remove_others(living, *there, at);
  }
  wanted_.for_each_child(*at.node, [&](const ZNode& child) {
    left_.push_back({&child, join_path(at.path, child.name.view()), there == nullptr});
  });
}

void TreeDifference::compare(const ZNode& there, const AclList& acl_there, const Wanted& at,
                             std::vector<MultiOp>& requests) const {
  if (data_of(there) != data_of(*at.node) && !is_usage(at.path)) {
    requests.push_back({OpCode::kSetData, set_data_body(at.path, data_of(*at.node), kAnyVersion)});
  }
  const AclList& acl = wanted_.acl_of(*at.node);
  if (acl != acl_there) {
    requests.push_back({OpCode::kSetAcl, set_acl_body(at.path, acl, kAnyVersion)});
  }
}

void TreeDifference::make(const Wanted& at, std::vector<MultiOp>& requests) const {
  const ZNode& node = *at.node;
  const AclList& acl = wanted_.acl_of(node);
  switch (owner_kind(node.stat.owner)) {
    case OwnerKind::kTtl:
      requests.push_back(
          {OpCode::kCreateTtl, create_ttl_body(at.path, data_of(node), acl, kCreateTtlFlag,
                                               owner_ttl_ms(node.stat.owner))});
      break;
    case OwnerKind::kContainer:
      requests.push_back({OpCode::kCreateContainer,
                          create_body(at.path, data_of(node), acl, kCreateContainerFlag)});
      break;
    case OwnerKind::kPersistent:
    case OwnerKind::kEphemeral:
      requests.push_back(
          {OpCode::kCreate, create_body(at.path, data_of(node), acl, kCreatePersistent)});
      break;
  }
}

void TreeDifference::remove(const Tree& living, std::vector<MultiOp>& requests) {
  Removal at = std::move(removals_.back());
  removals_.pop_back();
  const ZNode* node = living.find(at.path);
  if (node == nullptr) return;
  if (at.is_empty || node->children.size() == 0) {
    requests.push_back({OpCode::kDelete, delete_body(at.path, kAnyVersion)});
    return;
  }
  removals_.push_back({at.path, true});
  living.for_each_child(*node, [&](const ZNode& child) {
    removals_.push_back({join_path(at.path, child.name.view()), false});
  });
}

// Of what is in that directory.
void TreeDifference::remove_others(const Tree& living, const ZNode& there, const Wanted& at) {
  living.for_each_child(there, [&](const ZNode& child) {
    const ZNode* wanted = wanted_.child(*at.node, child.name.view());
    bool is_wanted = wanted != nullptr && !is_ephemeral(*wanted);
    if (is_wanted || is_ephemeral(child)) return;
    std::string path = join_path(at.path, child.name.view());
    if (!is_the_ensembles(path)) removals_.push_back({std::move(path), false});
  });
}

}  // namespace zabfs::tree
