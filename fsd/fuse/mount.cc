#include "fsd/fuse/mount.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fsd/fuse/mount_point.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Change;
using tree::ChangeType;
using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr int kWorkers = 3;
constexpr int64_t kCalmMs = 1'000;  // for listings, where contents are not cached
constexpr auto kCloseWait = std::chrono::milliseconds(1'500);
constexpr int64_t kRootAgainMs = 500;
constexpr auto kSettleWait = std::chrono::milliseconds(3'000);

// Nothing was ever made in it, and its root is as ZooKeeper makes it.
bool is_untouched(const tree::Tree& tree) {
  const tree::NodeStat& root = tree.root().stat;
  return root.cversion == 0 && root.aversion == 0 && root.version == 0;
}

}  // namespace

Mount::Mount(consensus::Host& host, MountConfig config, std::string data_dir)
    : host_(host),
      config_(std::move(config)),
      data_dir_(std::move(data_dir)),
      view_options_{config_.uid, config_.gid},
      pages_(std::make_shared<PageCache>(
          (config_.cache_after_ms > 0 ? config_.cache_after_ms : kCalmMs) * 1'000)),
      session_(host, config_.session_timeout_ms),
      writer_(host, session_, config_.quorum_grace_ms, config_.commit_timeout_ms),
      room_(host, session_, writer_, view_options_) {
  session_.set_on_lost([this](tree::SessionId session) { room_.session_lost(session); });
}

Mount::~Mount() = default;

std::string Mount::mount() {
  std::string options = "fsname=zabfs,subtype=zabfs,default_permissions,nosuid,nodev,noatime";
  if (config_.allow_other) options += ",allow_other";
  MountPoint point(config_.point);
  std::string error = kernel_.mount(config_.point, options, mount_operations(), this);
  if (!error.empty()) return error;
  if (config_.protects_point) {
    point.protect();
  } else if (std::string problem = point.unprotect(); !problem.empty()) {
    spdlog::warn(problem);
  }
  return {};
}

void Mount::attach() {
  on_strand([this] {
    host_.replica().add_listener(this);
    note_published();
    session_.start();
    writer_.start();
    const consensus::Replica& replica = host_.replica();
    if (replica.is_serving()) {
      settle_root();
    } else if (!replica.has_unsettled_txns() && !is_untouched(replica.tree())) {
      note_settled();
    }
  });
}

void Mount::start(std::function<void()> on_end) {
  std::future<void> settled = settled_.get_future();
  // Who reads its own writes does so across a restart, too, if there is a leader to be had.
  settled.wait_for(kSettleWait);
  if (config_.inotify) replayer_.expect();
  kernel_.serve(
      kWorkers, [this](const void* request, size_t size) { note_release(request, size); },
      std::move(on_end));
  if (!config_.inotify) return;
  std::string error = replayer_.start(kernel_.point());
  if (!error.empty()) spdlog::error("no inotify for what other nodes do: {}", error);
}

void Mount::stop() {
  // The session is closed first, so that what it held is free at once and not at its timeout.
  auto closed = std::make_shared<std::promise<void>>();
  std::future<void> done = closed->get_future();
  on_strand([this, closed] {
    writer_.stop();
    session_.close([closed] { closed->set_value(); });
  });
  done.wait_for(kCloseWait);
  replayer_.stop();
  page_lane_.stop();  // while READs are still answered
  kernel_.unmount();
  kernel_.join();
}

// ---- commits

void Mount::forget_caches(const NodeTable::Forget& forget) {
  for (KernelNode id : forget.attributes) {
    if (pages_->must_forget(id)) kernel_.forget_attributes(id);
  }
  if (forget.names && names_cacheable_ > 0) kernel_.forget_names();
}

void Mount::before_publish(const std::vector<tree::Txn>& txns) {
  std::vector<std::string> names, attributes;
  std::unordered_set<std::string> local;
  const tree::Tree& tree = host_.replica().tree();
  auto named = [&](std::string_view path) {
    names.emplace_back(path);
    attributes.emplace_back(path);
    attributes.emplace_back(tree::parent_path(path));
  };
  auto going = [&](const std::string& path) {
    const tree::ZNode* node = tree.find(path);
    if (node == nullptr || nodes_.held(path) == 0) return;
    nodes_.note_last(path, stat_of(view(tree, *node, path)));
  };
  TxnBatch batch(txns, tree);
  for (size_t n = 0; n < txns.size(); ++n) {
    const tree::Txn& txn = txns[n];
    if (txn.header.session == session_.id()) {
      auto ours = local_names_.find(txn.header.cxid);
      if (ours != local_names_.end()) local.insert(ours->second.begin(), ours->second.end());
    }
    for_each_op(txn, [&](const auto& op) {
      using T = std::decay_t<decltype(op)>;
      if constexpr (std::is_same_v<T, tree::CreateTxn>) {
        named(op.path);
      } else if constexpr (std::is_same_v<T, tree::DeleteTxn>) {
        named(op.path);
        going(std::string(op.path));
      } else if constexpr (std::is_same_v<T, tree::SetDataTxn> ||
                           std::is_same_v<T, tree::SetAclTxn>) {
        attributes.emplace_back(op.path);
      } else if constexpr (std::is_same_v<T, tree::CloseSessionTxn>) {
        for (std::string_view path : op.paths) named(path);
        for (const std::string& path : tree.ephemerals_of(txn.header.session)) {
          named(path);
          going(path);
        }
      }
    });
    std::optional<RenameSeen> rename = batch.rename_in(n);
    note_replays(txn, rename);
    if (!rename) continue;
    renames_.emplace_back(rename->from, rename->to);
    std::lock_guard lock(handles_mutex_);
    for (auto& [number, file] : files_) {
      // A handle that was up to date stays so across the rename.
      std::optional<Node> node = nodes_.find(file->node);
      if (node && tree::is_within(node->path, rename->from) &&
          file->base_version == batch.version_before(n, node->path)) {
        file->base_version = node->path == rename->from ? rename->version : 0;
      }
    }
  }
  forget_caches(nodes_.begin_change(names, attributes, local));
}

void Mount::published(const std::vector<Change>& changes) {
  const tree::Tree& tree = host_.replica().tree();
  std::set<std::string> moved;
  for (const auto& [from, to] : std::exchange(renames_, {})) {
    nodes_.rename(from, to);
    nodes_.refresh_identities(to, [&tree](const std::string& path) {
      const tree::ZNode* node = tree.find(path);
      return node == nullptr ? tree::Zxid{} : node->stat.czxid;
    });
    moved.insert(from);
  }
  for (const Change& change : changes) {
    if (change.type == ChangeType::kDeleted && tree.find(change.path) == nullptr &&
        !moved.contains(change.path)) {
      nodes_.drop(change.path);
    }
  }
  queue_replays();
  nodes_.end_change();
  pages_->end_change();
  note_published();
  room_.published(changes);
}

// Nothing that is cached is sure to be in the other tree.
void Mount::before_replace() { forget_caches(nodes_.begin_change_of_all()); }

void Mount::tree_replaced() {
  nodes_.end_change();
  pages_->end_change();
  note_published();
  room_.tree_replaced();
}

void Mount::standing_changed() {
  if (host_.replica().is_serving()) settle_root();
  writer_.standing_changed();
}

// ZooKeeper gives everybody all permissions on the root. A tree that nothing was made in yet gets a
// root as a filesystem has it; what a client or another mount has set by then stays.
void Mount::settle_root() {
  if (!is_untouched(host_.replica().tree())) return note_settled();
  if (std::exchange(is_making_root_, true)) return;
  tree::AclList acl = acl_for_new(tree::Kind::kDirectory, config_.root_mode, 0, 0);
  session_.submit(OpCode::kSetAcl, tree::set_acl_body("/", acl, 0), [this](const Outcome& outcome) {
    is_making_root_ = false;
    if (outcome.error == Error::kOk) {
      spdlog::info(
          "the root of this new tree is root's, mode {:04o} (zabfs.rootMode). Clients that do not "
          "authenticate write where others may: chmod o+rwx a directory for them",
          config_.root_mode);
    }
    bool is_over = outcome.error == Error::kOk || outcome.error == Error::kBadVersion;
    if (is_over) return note_settled();  // somebody else was faster, perhaps
    host_.post_after(kRootAgainMs, [this] {
      if (host_.replica().is_serving()) settle_root();
    });
  });
}

void Mount::note_settled() {
  if (!std::exchange(is_settled_, true)) settled_.set_value();
}

void Mount::when_writable(fuse_req_t req, std::function<void()> body) {
  on_strand([this, req, body = std::move(body)]() mutable {
    writer_.when_writable(std::move(body), [req](int error) { fuse_reply_err(req, error); });
  });
}

void Mount::commit(OpCode type, std::string body, Completion done, Completion late,
                   std::vector<std::string> local_names, tree::SessionId only) {
  auto cxid = std::make_shared<int32_t>(0);
  auto answered = std::make_shared<bool>(false);
  auto and_forget = [this, cxid, answered](Completion then) -> Completion {
    return [this, cxid, answered, then = std::move(then)](const Outcome& outcome) {
      *answered = true;
      if (outcome.error != Error::kOperationTimeout) {
        local_names_.erase(*cxid);
        native_.erase(*cxid);
      }
      then(outcome);
    };
  };
  if (!late) late = [](const Outcome&) {};
  *cxid = writer_.commit(type, std::move(body), and_forget(std::move(done)),
                         and_forget(std::move(late)), only);
  if (*cxid == 0 || *answered) return;
  native_.insert(*cxid);
  if (!local_names.empty()) local_names_[*cxid] = std::move(local_names);
}

void Mount::barrier(fuse_req_t req) {
  // A truncation whose handle was closed before this call counts as begun before it.
  {
    std::lock_guard lock(releasing_mutex_);
    if (!releasing_.empty()) {
      releasing_.begin()->second.push_back([this, req] { barrier(req); });
      return;
    }
  }
  on_strand([this, req] {
    auto answered = std::make_shared<bool>(false);
    uint64_t number = writer_.expect([req, answered] {
      *answered = true;
      fuse_reply_err(req, EIO);
    });
    host_.replica().sync(tree::SessionId{}, [this, req, answered, number](const Outcome&) {
      writer_.settled(number);
      if (!std::exchange(*answered, true)) fuse_reply_err(req, 0);
    });
  });
}

void Mount::statfs(fuse_req_t req) {
  struct statvfs st;
  if (::statvfs(data_dir_.c_str(), &st) != 0) return static_cast<void>(fuse_reply_err(req, errno));
  st.f_namemax = tree::kMaxNameBytes;
  st.f_files = host_.replica().read([](const tree::Tree& tree) { return tree.node_count(); });
  st.f_ffree = st.f_favail = 0;
  fuse_reply_statfs(req, &st);
}

}  // namespace zabfs::fsd
