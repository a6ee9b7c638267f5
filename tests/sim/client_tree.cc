// What clients do beside reading and writing znodes: multis, renames, ACLs and posix entries, TTL
// nodes, containers, quotas, as the mount and ZooKeeper's clients use them, and what must hold of
// every state of the tree that anybody sees.
#include <fmt/format.h>

#include <algorithm>

#include "sim/clients.h"
#include "tree/quota.h"
#include "tree/request.h"

namespace zabfs::sim {

using tree::Error;
using tree::MultiOp;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr uint64_t kCoins = 4;
constexpr uint64_t kQuotaZnodes = 12;
constexpr int kManyIdentities = 24;
constexpr const char* kNever = "never";  // the data of writes that must fail

std::string made(std::string_view path, std::string_view data = "") {
  return tree::create_body(path, data, tree::open_acl(), tree::kCreatePersistent);
}

}  // namespace

// All or nothing: if one of these is there, all are.
void Client::make_shapes() {
  std::vector<MultiOp> ops;
  auto create = [&](std::string_view path, std::string_view data) {
    ops.push_back({OpCode::kCreate, made(path, data)});
  };
  for (const char* path : {"/m", "/p0", "/p1", "/o", "/ttl", "/c", "/q"}) create(path, "");
  for (uint64_t i = 0; i < kCoins; ++i) {
    create(fmt::format("/m/{}", i), fmt::format("coin{}", i));
  }
  create("/o/target", "0");
  tree::QuotaTrack limits;
  limits.hard_count = int64_t{kQuotaZnodes};
  create("/zookeeper/quota/q", "");
  create(tree::quota_znode("/q", tree::kQuotaLimits), limits.text());
  create(tree::quota_znode("/q", tree::kQuotaStats), "");
  submit(OpCode::kMulti, multi_body(ops), [](const Outcome&) {});
}

void Client::act_on_tree() {
  const tree::Tree& tree = node_->replica().tree();
  if (tree.find("/m") == nullptr) return make_shapes();
  if (world_.chance(40)) return ask_too_much();
  switch (world_.random(8)) {
    case 0:
      return write_pair(world_.chance(3));
    case 1:
      return move_coin();
    case 2:
      return replace_file();
    case 3:
      return change_access();
    case 4:
      return submit(OpCode::kCreateTtl,
                    tree::create_ttl_body(fmt::format("/ttl/{}-{}", number_, ++next_shape_), "",
                                          tree::open_acl(), tree::kCreateTtlFlag,
                                          1 + static_cast<int64_t>(world_.random(4'000))),
                    [](const Outcome&) {});
    case 5:
      return use_container();
    default:
      return fill_quota();
  }
}

// Two znodes that are only ever written together.
void Client::write_pair(bool fails) {
  const tree::Tree& tree = node_->replica().tree();
  int32_t version = tree.stat_of(*tree.find("/p0")).version;
  std::string data = fails ? kNever : std::to_string(world_.random(1'000'000));
  std::vector<MultiOp> ops{{OpCode::kCheck, tree::check_body("/p0", version)},
                           {OpCode::kSetData, tree::set_data_body("/p0", data, -1)},
                           {OpCode::kSetData, tree::set_data_body("/p1", data, version)}};
  if (fails) ops.push_back({OpCode::kDelete, tree::delete_body("/no-such-znode", -1)});
  submit(OpCode::kMulti, multi_body(ops), [fails, count = ops.size()](const Outcome& outcome) {
    if (fails && outcome.error == Error::kOk) throw Violation("a multi with a failure succeeded");
    if (outcome.error != Error::kOk) return;
    bool whole = outcome.ops.size() == count &&
                 std::all_of(outcome.ops.begin(), outcome.ops.end(),
                             [](const tree::OpOutcome& op) { return op.error == Error::kOk; });
    if (!whole) throw Violation("a multi that succeeded has a failure in it");
  });
}

// A small request that would become a txn larger than any may be: each of its ACLs is to name all
// that the client is known as.
void Client::ask_too_much() {
  tree::Identities identities;
  for (int i = 0; i < kManyIdentities; ++i) {
    identities.push_back({"digest", fmt::format("user{}:{:060}", i, i)});
  }
  tree::AclList acl{tree::Acl{tree::kPermAll, "auth", ""}};
  std::vector<MultiOp> ops;
  for (int i = 0; i < kManyIdentities; ++i) {
    std::string path = fmt::format("/m/large{}", i);
    ops.push_back({OpCode::kCreate, tree::create_body(path, "", acl, tree::kCreatePersistent)});
  }
  submit(
      OpCode::kMulti, multi_body(ops),
      [](const Outcome& outcome) {
        if (outcome.error == Error::kOk) throw Violation("a txn over the limit was taken");
      },
      std::move(identities));
}

// Coins change places, or go where there is none; their number stays.
void Client::move_coin() {
  const tree::Tree& tree = node_->replica().tree();
  std::vector<std::string> names;
  tree.for_each_child(*tree.find("/m"), [&](const tree::ZNode& node) {
    names.push_back("/m/" + std::string(node.name.view()));
  });
  tree::ExtRename ext;
  ext.from = names[world_.random(names.size())];
  ext.to = fmt::format("/m/{}", world_.random(2 * kCoins));
  ext.exchange = tree.find(ext.to) != nullptr;
  if (!ext.exchange) ext.to_czxid = tree::kAbsent;
  if (ext.from != ext.to) submit(OpCode::kExtRename, encode(ext), [](const Outcome&) {});
}

// As editors save: a new file is renamed over the old one.
void Client::replace_file() {
  std::string temporary = fmt::format("/o/{}-{}", number_, ++next_shape_);
  submit(OpCode::kCreate, made(temporary, std::to_string(next_shape_)), [](const Outcome&) {});
  if (world_.chance(4)) {
    tree::ExtRemove ext;
    ext.path = temporary;
    return submit(OpCode::kExtRemove, encode(ext), [](const Outcome&) {});
  }
  tree::ExtRename ext;
  ext.from = temporary;
  ext.to = "/o/target";
  submit(OpCode::kExtRename, encode(ext), [](const Outcome&) {});
}

void Client::change_access() {
  const char* path = world_.chance(2) ? "/o/target" : "/p0";
  if (world_.chance(2)) {
    tree::AclList acl = tree::open_acl();
    acl.push_back(tree::Acl{static_cast<int32_t>(1 + world_.random(31)), "ip", "10.0.0.1"});
    return submit(OpCode::kSetAcl, tree::set_acl_body(path, acl, -1), [](const Outcome& outcome) {
      if (outcome.error == Error::kOk && outcome.stat.aversion <= 0) {
        throw Violation("setACL was acknowledged, and the ACL's version is as before");
      }
    });
  }
  tree::ExtSetPosix ext;
  ext.path = path;
  ext.change.mode = static_cast<uint32_t>(world_.random(0777));
  ext.change.mtime = tree::Time{static_cast<int64_t>(world_.random(1'000'000)), 0};
  submit(OpCode::kExtSetPosix, encode(ext), [](const Outcome&) {});
}

// One with a child for a while: the reaper may take it only afterwards.
void Client::use_container() {
  std::string path = fmt::format("/c/{}-{}", number_, ++next_shape_);
  std::string child = path + "/child";
  submit(OpCode::kCreateContainer,
         tree::create_body(path, "", tree::open_acl(), tree::kCreateContainerFlag),
         [](const Outcome&) {});
  submit(OpCode::kCreate, made(child), [this, child](const Outcome& outcome) {
    if (outcome.error != Error::kOk || world_.chance(4)) return;
    submit(OpCode::kDelete, tree::delete_body(child, -1), [](const Outcome& removed) {
      if (removed.error == Error::kNoNode) throw Violation("a container with a child was reaped");
    });
  });
}

void Client::fill_quota() {
  std::string path = fmt::format("/q/{}", world_.random(2 * kQuotaZnodes));
  if (node_->replica().tree().find(path) != nullptr) {
    return submit(OpCode::kDelete, tree::delete_body(path, -1), [](const Outcome&) {});
  }
  submit(OpCode::kCreate, made(path), [](const Outcome&) {});
}

// Holds of every state.
void Clients::check_shapes(const tree::Tree& tree) const {
  const tree::ZNode* purse = tree.find("/m");
  if (purse == nullptr) return;
  for (const char* path : {"/p0", "/p1", "/o/target", "/q"}) {
    if (tree.find(path) == nullptr) throw Violation(fmt::format("{} is not there", path));
  }
  std::set<std::string> coins;
  size_t count = 0;
  tree.for_each_child(*purse, [&](const tree::ZNode& node) {
    ++count;
    coins.emplace(node.data.view());
  });
  if (count != kCoins || coins.size() != kCoins) {
    throw Violation(fmt::format("{} coins, {} of them different, at 0x{:x}", count, coins.size(),
                                tree.last_zxid().value));
  }
  std::string_view left = tree.find("/p0")->data.view();
  if (left != tree.find("/p1")->data.view() || left == kNever) {
    throw Violation(fmt::format("half of a multi at 0x{:x}", tree.last_zxid().value));
  }
  // What a limit refuses is not exact, as Java's is not; what it is compared with is.
  int64_t held = 1;
  tree.for_each_child(*tree.find("/q"), [&](const tree::ZNode&) { ++held; });
  const tree::ZNode* usage = tree.find(tree::quota_znode("/q", tree::kQuotaStats));
  int64_t counted = usage == nullptr ? 0 : tree::QuotaTrack::parse(usage->data.view()).count;
  if (counted != held) {
    throw Violation(fmt::format("the quota counts {} znodes of {}, at 0x{:x}", counted, held,
                                tree.last_zxid().value));
  }
}

// Long after the last write: the reaper has taken what nobody uses.
void Clients::check_containers(const tree::Tree& tree) const {
  for (tree::NodeId id : tree.containers()) {
    const tree::ZNode& node = tree.node(id);
    if (node.children.size() == 0 && node.stat.cversion > 0) {
      throw Violation("an empty container is never reaped: " + tree.path_of(node));
    }
  }
}

}  // namespace zabfs::sim
