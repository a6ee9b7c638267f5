#include "fsd/fuse/mount.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
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
constexpr auto kAnswerWait = std::chrono::milliseconds(2);  // of the strand, for a thread to run
constexpr auto kAnswerPause = std::chrono::microseconds(20);
constexpr int64_t kLateAgainMs = 1;
constexpr auto kSettleWait = std::chrono::milliseconds(3'000);
constexpr uint32_t kFuseRead = 15;  // FUSE_READ

struct RequestHead {  // fuse_in_header
  uint32_t length, opcode;
  uint64_t unique, node;
  uint32_t uid, gid, pid, padding;
};

// Nothing was ever made in it, and its root is as ZooKeeper makes it.
bool is_untouched(const tree::Tree& tree) {
  const tree::NodeStat& root = tree.root().stat;
  return root.cversion == 0 && root.aversion == 0 && root.version == 0;
}

}  // namespace

Mount::Mount(consensus::Service& service, MountConfig config, std::string data_dir)
    : service_(service),
      config_(std::move(config)),
      data_dir_(std::move(data_dir)),
      view_options_{config_.uid, config_.gid},
      replies_(make_replies([](fuse_req_t interrupted, void* data) {
        auto* mount = static_cast<Mount*>(fuse_req_userdata(interrupted));
        mount->on_strand([mount, number = reinterpret_cast<uint64_t>(data)] {
          mount->interrupts_.interrupt(number);
        });
      })),
      pages_(std::make_shared<PageCache>(
          (config_.cache_after_ms > 0 ? config_.cache_after_ms : kCalmMs) * 1'000)),
      session_(service, config_.session_timeout_ms),
      writer_(service, session_, config_.quorum_grace_ms, config_.commit_timeout_ms),
      room_(service, session_, writer_, view_options_) {
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
    service_.replica().add_listener(this);
    note_published();
    session_.start();
    writer_.start();
    const consensus::Replica& replica = service_.replica();
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
      kWorkers,
      [this](const void* request, size_t size) {
        note_thread(request, size);
        note_release(request, size);
      },
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
  replies_->close();
}

// ---- commits

void Mount::forget_caches(const NodeTable::Forget& forget) {
  std::vector<KernelNode> coming;
  for (KernelNode id : forget.attributes) {
    if (pages_->must_forget(id) && !kernel_.forget_attributes(id)) coming.push_back(id);
  }
  std::erase_if(coming, [this](KernelNode id) { return late_.contains(id); });
  await_answers(coming);
  for (KernelNode id : coming) nodes_.set_aside(id);
  if (forget.names || !coming.empty()) forget_names();
  if (late_.empty() && !coming.empty())
    service_.post_after(kLateAgainMs, [this] { forget_late(); });
  late_.insert(coming.begin(), coming.end());
}

// The table has these nodes and the kernel has not: the answers to their first look-ups are on
// their way, with attributes that are about to be outdated, or the kernel is about to say that it
// has forgotten them. Example: `stat a` is answered, and its thread has yet to run; a is changed,
// and then b; who sees the new b must not see the old a after it. The thread runs at once, most
// times.
void Mount::await_answers(std::vector<KernelNode>& coming) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point end = Clock::now() + kAnswerWait;
  while (!coming.empty() && Clock::now() < end) {
    std::this_thread::sleep_for(kAnswerPause);
    std::erase_if(coming, [this](KernelNode id) { return is_up_to_date(id); });
  }
}

bool Mount::is_up_to_date(KernelNode id) {
  return !nodes_.find(id) || kernel_.forget_attributes(id);
}

// A thread that gets no CPU took its answer late. By its name that node is not found any more; who
// has it without one (O_PATH) is told here.
void Mount::forget_late() {
  std::erase_if(late_, [this](KernelNode id) { return is_up_to_date(id); });
  if (!late_.empty()) service_.post_after(kLateAgainMs, [this] { forget_late(); });
}

void Mount::forget_names() {
  if (names_cacheable_ != 0) kernel_.forget_names();
}

void Mount::before_publish(const std::vector<tree::Txn>& txns) {
  std::vector<std::string> names, attributes;
  const tree::Tree& tree = service_.replica().tree();
  // Of what the kernel has looked up, or may have in a listing.
  auto changing = [&](std::string_view path) {
    std::string name(path), directory(tree::parent_path(path));
    const tree::ZNode* node = tree.find(path);
    if (node == nullptr || path == "/") return;
    if (nodes_.held(name) == 0 && nodes_.held(directory) == 0) return;
    kinds_.try_emplace(name, view(tree, *node, name).kind);
  };
  auto named = [&](std::string_view path) {
    names.emplace_back(path);
    attributes.emplace_back(path);
    attributes.emplace_back(tree::parent_path(path));
    changing(tree::parent_path(path));
  };
  auto going = [&](const std::string& path) {
    const tree::ZNode* node = tree.find(path);
    if (node == nullptr || nodes_.held(path) == 0) return;
    nodes_.note_last(path, stat_of(view(tree, *node, path)));
  };
  TxnBatch batch(txns, tree);
  for (size_t n = 0; n < txns.size(); ++n) {
    const tree::Txn& txn = txns[n];
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
        changing(op.path);
      } else if constexpr (std::is_same_v<T, tree::CloseSessionTxn>) {
        for (std::string_view path : op.paths) named(path);
        for (const std::string& path : tree.ephemerals_of(txn.header.session)) {
          named(path);
          going(path);
        }
      }
    });
    std::optional<RenameSeen> rename = batch.rename_in(n);
    bool moves = rename && !rename->is_exchange();
    note_replays(txn, moves ? rename : std::nullopt);
    if (!rename) continue;
    renames_.emplace(txn.header.zxid, *rename);
  }
  // Who sees what is to be visible now sees what was before it.
  if (kernel_lags()) forget_names();
  // The last one that this kernel asked for itself has nothing behind it yet.
  const LocalChange* last = txns.empty() ? nullptr : local_change(txns.back());
  if (last == nullptr || last->thread == 0) {
    return forget_caches(nodes_.begin_change(names, attributes, {}));
  }
  forget_caches(nodes_.begin_change(names, attributes, {last->names.begin(), last->names.end()}));
  landing_.add(last->thread);
}

const LocalChange* Mount::local_change(const tree::Txn& txn) const {
  if (txn.header.session != session_.id()) return nullptr;
  auto ours = local_changes_.find(txn.header.cxid);
  return ours == local_changes_.end() ? nullptr : &ours->second;
}

// Whether the kernel may show a name as it was before a change that it asked for, and that is
// visible. If so, all names are to be forgotten, so this asks once.
bool Mount::kernel_lags() {
  std::set<pid_t> threads = landing_.take();
  return std::any_of(threads.begin(), threads.end(), may_change_names);
}

// Who asks for something else has got to what it was answered.
void Mount::note_thread(const void* request, size_t size) {
  RequestHead head;
  if (landing_.is_empty() || size < sizeof(head)) return;
  std::memcpy(&head, request, sizeof(head));
  if (head.opcode == kFuseRead) return;  // the kernel may have asked for it ahead
  landing_.landed(static_cast<pid_t>(head.pid));
}

// The handles on what a rename moves go along. The nodes have their old paths still.
void Mount::follow(std::span<const Change> changes, const RenameSeen& rename) {
  std::map<std::string_view, int32_t> versions_before;
  for (const Change& change : changes) {
    if (change.type == ChangeType::kDeleted) versions_before[change.path] = change.version;
  }
  files_.for_each([&](OpenFile& file) {
    std::optional<Node> node = file.writable ? nodes_.find(file.node) : std::nullopt;
    if (!node || node->gone) return;
    bool goes_along = tree::is_within(node->path, rename.from) ||
                      (rename.is_exchange() && tree::is_within(node->path, rename.to));
    auto before = versions_before.find(node->path);
    if (!goes_along || before == versions_before.end()) return;
    file.written.renamed(before->second, node->path == rename.from ? rename.version : 0);
  });
}

// With the tree's lock: the nodes stand for what is in the tree now.
void Mount::publishing(std::span<const Change> changes) {
  if (changes.empty()) return;
  const tree::Tree& tree = service_.replica().tree();
  auto rename = renames_.find(changes.front().zxid);
  if (rename != renames_.end()) {
    const RenameSeen& seen = rename->second;
    auto czxid_of = [&tree](const std::string& path) {
      const tree::ZNode* node = tree.find(path);
      return node == nullptr ? tree::Zxid{} : node->stat.czxid;
    };
    follow(changes, seen);
    if (seen.is_exchange()) nodes_.rename(seen.to, seen.aside);
    nodes_.rename(seen.from, seen.to);
    nodes_.refresh_identities(seen.to, czxid_of);
    if (seen.is_exchange()) {
      nodes_.rename(seen.aside, seen.from);
      nodes_.refresh_identities(seen.from, czxid_of);
    }
  }
  bool retyped = false;
  for (const Change& change : changes) {
    bool deleted = change.type == ChangeType::kDeleted;
    if (deleted && tree.find(change.path) == nullptr) nodes_.drop(change.path);
    bool of_child = deleted || change.type == ChangeType::kCreated;
    retyped |= note_kind(of_child ? std::string(tree::parent_path(change.path)) : change.path);
  }
  if (retyped) forget_names();
}

// A znode that is of another kind now is another node: the kernel is to look it up again.
bool Mount::note_kind(const std::string& path) {
  auto before = kinds_.find(path);
  std::optional<tree::Kind> held = nodes_.held_kind(path);
  const tree::Tree& tree = service_.replica().tree();
  const tree::ZNode* znode = tree.find(path);
  if (znode == nullptr || (before == kinds_.end() && !held)) return false;
  View shown = view(tree, *znode, path);
  if (before != kinds_.end() && std::exchange(before->second, shown.kind) != shown.kind) {
    nodes_.note_retyped(std::string(tree::parent_path(path)), tree.last_zxid());
  }
  if (!held || shown.kind == *held) return false;
  shown.kind = *held;
  nodes_.note_last(path, stat_of(shown));
  nodes_.drop(path);
  return true;
}

void Mount::published(const std::vector<Change>& changes) {
  renames_.clear();
  kinds_.clear();
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
  if (service_.replica().is_serving()) settle_root();
  writer_.standing_changed();
}

// ZooKeeper gives everybody all permissions on the root. A tree that nothing was made in yet gets a
// root as a filesystem has it; what a client or another mount has set by then stays.
void Mount::settle_root() {
  if (!is_untouched(service_.replica().tree())) return note_settled();
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
    service_.post_after(kRootAgainMs, [this] {
      if (service_.replica().is_serving()) settle_root();
    });
  });
}

void Mount::note_settled() {
  if (!std::exchange(is_settled_, true)) settled_.set_value();
}

void Mount::when_writable(const RequestPtr& request, std::function<void()> body) {
  on_strand([this, request, body = std::move(body)]() mutable {
    writer_.when_writable(std::move(body), [request](int error) { request->reply(error); });
  });
}

void Mount::commit(OpCode type, std::string body, Completion done, Completion late,
                   LocalChange local, tree::SessionId only) {
  auto cxid = std::make_shared<int32_t>(0);
  auto answered = std::make_shared<bool>(false);
  auto and_forget = [this, cxid, answered](Completion then) -> Completion {
    return [this, cxid, answered, then = std::move(then)](const Outcome& outcome) {
      *answered = true;
      local_changes_.erase(*cxid);  // committed later, it is news to the kernel
      if (outcome.error != Error::kOperationTimeout) native_.erase(*cxid);
      then(outcome);
    };
  };
  if (!late) late = [](const Outcome&) {};
  *cxid = writer_.commit(type, std::move(body), and_forget(std::move(done)),
                         and_forget(std::move(late)), only);
  if (*cxid == 0 || *answered) return;
  native_.insert(*cxid);
  if (!local.names.empty()) local_changes_[*cxid] = std::move(local);
}

void Mount::barrier(fuse_req_t req) {
  // A truncation whose handle was closed before this call counts as begun before it.
  if (releases_.holds_any([this, req] { barrier(req); })) return;
  on_strand([this, request = hold(req)] {
    uint64_t number = writer_.expect([request] { request->reply(EIO); });
    service_.replica().sync(tree::SessionId{}, [this, request, number](const Outcome&) {
      writer_.settled(number);
      if (kernel_lags()) forget_names();
      if (!request->is_answered()) request->reply(0);
    });
  });
}

void Mount::statfs(fuse_req_t req) {
  struct statvfs st;
  if (::statvfs(data_dir_.c_str(), &st) != 0) return static_cast<void>(fuse_reply_err(req, errno));
  st.f_namemax = tree::kMaxNameBytes;
  st.f_files = service_.replica().read([](const tree::Tree& tree) { return tree.node_count(); });
  st.f_ffree = st.f_favail = 0;
  fuse_reply_statfs(req, &st);
}

}  // namespace zabfs::fsd
