#include "fsd/fuse/mount.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <future>
#include <utility>

#include "tree/path.h"

namespace zabfs::fsd {

using tree::Change;
using tree::ChangeType;
using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr int kWorkers = 3;
constexpr int64_t kTickMs = 100;
constexpr auto kCloseWait = std::chrono::milliseconds(1'500);

// A rename, as its txn shows it: a multi that makes a copy and removes the original, or one that
// gives a file another's data and removes that. Handles follow it.
struct RenameSeen {
  std::string from, to;
};

std::optional<RenameSeen> find_rename(const tree::MultiTxn& multi, const tree::Tree& tree) {
  if (multi.ops.size() < 2 || multi.failed()) return std::nullopt;
  const auto* last = std::get_if<tree::DeleteTxn>(&multi.ops.back().body);
  if (last == nullptr) return std::nullopt;
  const tree::ZNode* source = tree.find(last->path);
  if (source == nullptr) return std::nullopt;
  const auto* over = std::get_if<tree::SetDataTxn>(&multi.ops.front().body);
  if (over != nullptr && multi.ops.size() == 2) {
    if (over->data.value_or("") != source->data.view()) return std::nullopt;
    return RenameSeen{std::string(last->path), std::string(over->path)};
  }
  size_t creates = 0, deletes_after = 0;
  const tree::CreateTxn* top = nullptr;
  for (const tree::Op& op : multi.ops) {
    if (const auto* create = std::get_if<tree::CreateTxn>(&op.body)) {
      if (top == nullptr) top = create;
      if (deletes_after > 0 || !tree::is_within(create->path, top->path)) return std::nullopt;
      ++creates;
    } else if (const auto* remove = std::get_if<tree::DeleteTxn>(&op.body)) {
      if (top == nullptr) continue;  // of the target that is replaced
      if (!tree::is_within(remove->path, last->path)) return std::nullopt;
      ++deletes_after;
    } else {
      return std::nullopt;
    }
  }
  if (top == nullptr || creates != deletes_after) return std::nullopt;
  if (top->data.value_or("") != source->data.view()) return std::nullopt;
  return RenameSeen{std::string(last->path), std::string(top->path)};
}

template <class Visit>
void for_each_op(const tree::Txn& txn, const Visit& visit) {
  if (const auto* multi = std::get_if<tree::MultiTxn>(&txn.body)) {
    if (multi->failed()) return;
    for (const tree::Op& op : multi->ops) std::visit(visit, op.body);
  } else {
    std::visit(visit, txn.body);
  }
}

}  // namespace

Mount::Mount(consensus::Host& host, MountConfig config, std::string data_dir)
    : host_(host),
      config_(std::move(config)),
      data_dir_(std::move(data_dir)),
      view_options_{config_.uid, config_.gid},
      session_(host, config_.session_timeout_ms),
      locks_(host, session_) {
  session_.set_on_lost([this](tree::SessionId session) { session_lost(session); });
}

Mount::~Mount() = default;

std::string Mount::mount() {
  std::string options = "fsname=zabfs,subtype=zabfs,default_permissions,nosuid,nodev,noatime";
  if (config_.allow_other) options += ",allow_other";
  leaderless_since_ms_ = host_.now_ms();
  return kernel_.mount(config_.point, options, mount_operations(), this);
}

void Mount::start(std::function<void()> on_end) {
  on_strand([this] {
    host_.replica().add_listener(this);
    session_.start();
    tick();
  });
  kernel_.serve(
      kWorkers, [this](const void* request, size_t size) { note_release(request, size); },
      std::move(on_end));
}

void Mount::stop() {
  // The session is closed first, so that what it held is free at once and not at its timeout.
  auto closed = std::make_shared<std::promise<void>>();
  std::future<void> done = closed->get_future();
  on_strand([this, closed] {
    stopping_ = true;
    session_.close([closed] { closed->set_value(); });
  });
  done.wait_for(kCloseWait);
  kernel_.unmount();
  kernel_.join();
}

// ---- commits

void Mount::forget_caches(const NodeTable::Forget& forget) {
  for (KernelNode id : forget.attributes) kernel_.forget_attributes(id);
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
  for (const tree::Txn& txn : txns) {
    if (txn.header.session == session_.id()) {
      auto ours = local_names_.find(txn.header.cxid);
      if (ours != local_names_.end()) local.insert(ours->second.begin(), ours->second.end());
    }
    for_each_op(txn, [&](const auto& op) {
      using T = std::decay_t<decltype(op)>;
      if constexpr (std::is_same_v<T, tree::CreateTxn> || std::is_same_v<T, tree::DeleteTxn>) {
        named(op.path);
      } else if constexpr (std::is_same_v<T, tree::SetDataTxn> ||
                           std::is_same_v<T, tree::SetAclTxn>) {
        attributes.emplace_back(op.path);
      } else if constexpr (std::is_same_v<T, tree::CloseSessionTxn>) {
        for (std::string_view path : op.paths) named(path);
        for (const std::string& path : tree.ephemerals_of(txn.header.session)) named(path);
      }
    });
    if (const auto* multi = std::get_if<tree::MultiTxn>(&txn.body)) {
      if (std::optional<RenameSeen> rename = find_rename(*multi, tree)) {
        renames_.emplace_back(rename->from, rename->to);
        const tree::ZNode* source = tree.find(rename->from);
        std::lock_guard lock(handles_mutex_);
        for (auto& [number, file] : files_) {
          // A handle that was up to date stays so across the rename.
          std::optional<Node> node = nodes_.find(file->node);
          if (node && node->path == rename->from && source != nullptr &&
              file->base_version == source->stat.version) {
            file->base_version = tree::kAnyVersion;
          }
        }
      }
    }
  }
  forget_caches(nodes_.begin_change(names, attributes, local));
}

std::vector<Mount::ControlPtr> Mount::open_watches() {
  std::vector<ControlPtr> watching;
  std::lock_guard lock(handles_mutex_);
  for (auto& [number, file] : controls_) {
    if (file->watch) watching.push_back(file);
  }
  return watching;
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
    const tree::ZNode* target = tree.find(to);
    std::lock_guard lock(handles_mutex_);
    for (auto& [number, file] : files_) {
      std::optional<Node> node = nodes_.find(file->node);
      if (node && node->path == to && target != nullptr &&
          file->base_version == tree::kAnyVersion) {
        file->base_version = target->stat.version;
      }
    }
  }
  for (const Change& change : changes) {
    if (change.type == ChangeType::kDeleted && tree.find(change.path) == nullptr &&
        !moved.contains(change.path)) {
      nodes_.drop(change.path);
    }
  }
  nodes_.end_change();
  locks_.published(changes);
  for (const ControlPtr& file : open_watches()) {
    if (file->watch->published(tree, changes)) feed_watch(file);
  }
}

void Mount::tree_replaced() {
  // The leader's snapshot took the tree's place while no reader looked; nothing cached is sure.
  forget_caches(nodes_.begin_change_of_all());
  nodes_.end_change();
  locks_.tree_replaced();
  for (const ControlPtr& file : open_watches()) {
    if (file->watch->tree_replaced(host_.replica().tree())) feed_watch(file);
  }
}

void Mount::standing_changed() {
  if (!host_.replica().is_serving()) {
    if (leaderless_since_ms_ == 0) leaderless_since_ms_ = host_.now_ms();
    return;
  }
  leaderless_since_ms_ = 0;
  for (auto& [req, body] : std::exchange(waiting_for_leader_, {})) body();
}

bool Mount::is_read_only() const {
  int64_t since_ms = leaderless_since_ms_;
  return since_ms != 0 &&
         const_cast<consensus::Host&>(host_).now_ms() - since_ms >= config_.quorum_grace_ms;
}

void Mount::when_writable(fuse_req_t req, std::function<void()> body) {
  on_strand([this, req, body = std::move(body)]() mutable {
    if (host_.replica().is_serving()) return body();
    if (is_read_only()) return static_cast<void>(fuse_reply_err(req, EROFS));
    waiting_for_leader_.emplace_back(req, std::move(body));
  });
}

void Mount::tick() {
  if (stopping_) return;
  if (is_read_only()) {
    for (auto& [req, body] : std::exchange(waiting_for_leader_, {})) fuse_reply_err(req, EROFS);
  }
  int64_t now_ms = host_.now_ms();
  while (!in_flight_.empty() && in_flight_.begin()->second.deadline_ms <= now_ms) {
    std::function<void()> expire = std::move(in_flight_.begin()->second.expire);
    in_flight_.erase(in_flight_.begin());
    expire();
  }
  host_.post_after(kTickMs, [this] { tick(); });
}

void Mount::commit(OpCode type, std::string body, Completion done, Completion late,
                   std::vector<std::string> local_names) {
  uint64_t number = next_in_flight_++;
  auto shared_done = std::make_shared<Completion>(std::move(done));
  auto cxid = std::make_shared<int32_t>(0);
  in_flight_[number] = {host_.now_ms() + config_.commit_timeout_ms, [shared_done, type] {
                          Outcome unknown;
                          unknown.type = type;
                          unknown.error = Error::kOperationTimeout;
                          std::exchange(*shared_done, nullptr)(unknown);
                        }};
  *cxid = session_.submit(
      type, std::move(body),
      [this, number, shared_done, cxid, late = std::move(late)](const Outcome& outcome) {
        in_flight_.erase(number);
        local_names_.erase(*cxid);
        if (*shared_done) {
          std::exchange(*shared_done, nullptr)(outcome);
        } else if (late) {
          late(outcome);
        }
      });
  if (*cxid != 0 && !local_names.empty() && in_flight_.contains(number)) {
    local_names_[*cxid] = std::move(local_names);
  }
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
    uint64_t number = next_in_flight_++;
    in_flight_[number] = {host_.now_ms() + config_.commit_timeout_ms, [req, answered] {
                            *answered = true;
                            fuse_reply_err(req, EIO);
                          }};
    host_.replica().sync(tree::SessionId{}, [this, req, answered, number](const Outcome&) {
      in_flight_.erase(number);
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
