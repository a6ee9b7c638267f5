#include "fsd/fuse/kernel_cache.h"

#include <linux/fuse.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "fsd/view/view.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Change;
using tree::ChangeType;

namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kLateAgainMs = 1;

}  // namespace

// The kernel takes notifications from the answer to INIT on, so that the first request asks.
bool KernelCache::can_forget_names() {
  if (names_cacheable_ < 0) names_cacheable_ = notifications_.forget_names() ? 1 : 0;
  return names_cacheable_ > 0;
}

bool KernelCache::may_keep_names_in(std::string_view directory) {
  return can_forget_names() && !shared_.is_shared(directory, Clock::now());
}

void KernelCache::forget(const NodeTable::Forget& forget) {
  std::vector<KernelNode> coming;
  for (KernelNode id : forget.attributes) {
    if (!turns_.must_forget(id) || notifications_.forget_attributes(id)) continue;
    if (nodes_.were_attributes_kept(id)) coming.push_back(id);
  }
  std::erase_if(coming, [this](KernelNode id) { return late_.contains(id); });
  await_answers(coming);
  for (KernelNode id : coming) nodes_.set_aside(id);
  bool forgets_all = forget.all_names || !coming.empty();
  if (forgets_all || !forget_each(forget.names)) forget_names();
  if (late_.empty() && !coming.empty())
    service_.post_after(kLateAgainMs, [this] { forget_late(); });
  late_.insert(coming.begin(), coming.end());
}

// False if that can't be done now.
bool KernelCache::forget_each(const std::vector<NodeTable::HeldName>& names) {
  bool are_locked = std::any_of(names.begin(), names.end(), [this](const auto& name) {
    std::optional<Node> directory = nodes_.find(name.parent);
    return directory && writes_.are_names_changing_in(directory->path);
  });
  return names.empty() || (!are_locked && await_lookups(names) && forgetter_.forget(names));
}

// The kernel asks for a name again that it has, without the lock of its directory. So an answer to
// that, which came before the change, may be taken after the name was forgotten. False if such a
// thread does not get to it soon.
bool KernelCache::await_lookups(const std::vector<NodeTable::HeldName>& names) {
  std::vector<LookingThreads::Looking> left = looking_.among(names);
  return callers_.wait_until([this, &left] {
    std::erase_if(left, [this](const LookingThreads::Looking& looking) {
      return !looking_.contains(looking) || !callers_.may_look_up(looking.first);
    });
    return left.empty();
  });
}

// The table has these nodes and the kernel has not: the answers to their first look-ups are on
// their way, with attributes to keep that are about to be outdated, or the kernel is about to say
// that it has forgotten them. Example: `stat a` is answered, and its thread has yet to run; a is
// changed, and then b; who sees the new b must not see the old a after it. The thread runs at once,
// most times.
void KernelCache::await_answers(std::vector<KernelNode>& coming) {
  callers_.wait_until([this, &coming] {
    std::erase_if(coming, [this](KernelNode id) { return is_up_to_date(id); });
    return coming.empty();
  });
}

bool KernelCache::is_up_to_date(KernelNode id) {
  return !nodes_.find(id) || notifications_.forget_attributes(id);
}

// A thread that gets no CPU took its answer late. By its name that node is not found any more; who
// has it without one (O_PATH) is told here.
void KernelCache::forget_late() {
  std::erase_if(late_, [this](KernelNode id) { return is_up_to_date(id); });
  if (!late_.empty()) service_.post_after(kLateAgainMs, [this] { forget_late(); });
}

void KernelCache::forget_names() {
  if (names_cacheable_ == 0) return;
  nodes_.forgetting_all_names();
  notifications_.forget_names();
}

void KernelCache::begin_change(const std::vector<tree::Txn>& txns,
                               const std::vector<std::optional<RenameSeen>>& renames,
                               const LocalChange* last) {
  std::vector<std::string> names, attributes;
  const tree::Tree& tree = service_.replica().tree();
  // Of what the kernel has looked up, or may have in a listing.
  auto changing = [&](std::string_view path) {
    std::string name(path), directory(tree::parent_path(path));
    const tree::ZNode* node = tree.find(path);
    if (node == nullptr || path == "/") return;
    if (nodes_.held(name) == 0 && nodes_.held(directory) == 0) return;
    kinds_.try_emplace(name, reader_.view(tree, *node, name).kind);
  };
  auto named = [&](std::string_view path) {
    names.emplace_back(path);
    attributes.emplace_back(path);
    attributes.emplace_back(tree::parent_path(path));
    changing(tree::parent_path(path));
  };
  auto going = [&](const std::string& path) {
    going_.insert(path);
    note_last(path);
  };
  Clock::time_point now = Clock::now();
  size_t known = 0;  // names of the txns before
  for (size_t n = 0; n < txns.size(); ++n) {
    const tree::Txn& txn = txns[n];
    known = names.size();
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
    if (renames[n]) {
      renames_.emplace(txn.header.zxid, *renames[n]);
      if (!renames[n]->is_exchange()) {
        named(renames[n]->to);  // another file has that name from then on
        going(renames[n]->to);
      }
    }
    bool is_own = writes_.local_change(txn) != nullptr;
    for (size_t name = known; name < names.size(); ++name) {
      shared_.note_change(
          tree::parent_path(names[name]),
          is_own ? SharedDirectories::By::kThisKernel : SharedDirectories::By::kOthers, now);
    }
  }
  auto end_of_others = names.begin() + static_cast<std::ptrdiff_t>(known);
  std::unordered_set<std::string> of_others(names.begin(), end_of_others);
  catch_up();  // a program that sees the new txns sees those before them, too
  // The last one that this kernel asked for itself has nothing behind it yet.
  if (last == nullptr || last->thread == 0) {
    return forget(nodes_.begin_change(names, attributes, {}));
  }
  // It does not know what became of the name before that. Example: another node renames b over a,
  // and a program here renames a; the kernel moves the file that it knows as a.
  std::unordered_set<std::string> local(last->names.begin(), last->names.end());
  std::erase_if(local, [&](const std::string& name) { return of_others.contains(name); });
  NodeTable::Forget forgotten = nodes_.begin_change(names, attributes, local);
  forget(forgotten);
  if (forgotten.local) landing_.add(last->thread);
}

// A thread that asks for something else has got to what it was answered.
void KernelCache::note_request(const void* request, size_t size) {
  fuse_in_header head;
  bool are_none = landing_.is_empty() && looking_.is_empty();
  if (are_none || size < sizeof(head)) return;
  std::memcpy(&head, request, sizeof(head));
  if (head.opcode == FUSE_READ) return;  // the kernel may have asked for it ahead
  landing_.landed(static_cast<pid_t>(head.pid));
  looking_.landed(static_cast<pid_t>(head.pid));
}

// The kernel may show a name as it was before a change that it asked for, and that is visible. The
// thread that it is for runs at once, most times.
void KernelCache::catch_up() {
  auto have_landed = [this] {
    return !landing_.are_any([this](pid_t thread) { return callers_.may_change_names(thread); });
  };
  if (callers_.wait_until(have_landed)) return;
  landing_.clear();
  forget_names();
}

// With the tree's lock: the nodes stand for what is in the tree now.
void KernelCache::publishing(std::span<const Change> changes) {
  if (changes.empty()) return;
  auto rename = renames_.find(changes.front().zxid);
  if (rename != renames_.end()) {
    events_.renaming(changes, rename->second);
    follow(changes, rename->second);
  }
  NodeTable::Forget retyped;
  for (const Change& change : changes) {
    bool deleted = change.type == ChangeType::kDeleted;
    if (deleted) note_gone(change);
    bool of_child = deleted || change.type == ChangeType::kCreated;
    note_kind(of_child ? std::string(tree::parent_path(change.path)) : change.path, retyped);
    // A later txn removes it. (An ACL alone may be of the file that a rename puts there next.)
    bool is_data = change.type == ChangeType::kDataChanged;
    if (is_data && going_.contains(change.path)) note_last(change.path);
  }
  if (retyped.all_names || !forget_each(retyped.names)) forget_names();
}

// What it looks like at this moment, should it be the last one.
void KernelCache::note_last(const std::string& path) {
  const tree::Tree& tree = service_.replica().tree();
  const tree::ZNode* znode = tree.find(path);
  std::optional<Node> node = nodes_.find(nodes_.held(path));
  if (znode == nullptr || !node || !stands_for(*node, znode->stat.czxid)) return;
  nodes_.note_last(path, stat_of(reader_.view(tree, *znode, path)));
}

// One txn may have removed it and made another one of the name.
void KernelCache::note_gone(const Change& change) {
  std::vector<KernelNode> ids = nodes_.all_held(change.path);
  if (ids.empty()) return;
  const tree::ZNode* now = service_.replica().tree().find(change.path);
  std::optional<Node> node = nodes_.find(ids.front());
  if (node && now != nullptr && stands_for(*node, now->stat.czxid)) return;
  for (KernelNode id : ids) events_.gone(id, change.before);
  nodes_.drop(change.path);
}

void KernelCache::follow(std::span<const Change> changes, const RenameSeen& rename) {
  std::vector<KernelNode> renamed_over = nodes_.all_held(rename.to);
  if (rename.is_exchange()) renamed_over.clear();
  for (const Change& change : changes) {
    bool is_data = change.type == ChangeType::kDataChanged || change.type == ChangeType::kDeleted;
    if (change.path != rename.to || !is_data) continue;
    for (KernelNode id : renamed_over) events_.gone(id, change.before);
  }
  auto czxid_of = [&tree = service_.replica().tree()](const std::string& path) {
    const tree::ZNode* node = tree.find(path);
    return node == nullptr ? tree::Zxid{} : node->stat.czxid;
  };
  if (rename.is_exchange()) nodes_.rename(rename.to, rename.aside);
  nodes_.rename(rename.from, rename.to);
  nodes_.refresh_identities(rename.to, czxid_of);
  if (!rename.is_exchange()) return;
  nodes_.rename(rename.aside, rename.from);
  nodes_.refresh_identities(rename.from, czxid_of);
}

// A znode that is of another kind now is another node: the kernel is to look it up again.
void KernelCache::note_kind(const std::string& path, NodeTable::Forget& retyped) {
  auto before = kinds_.find(path);
  std::optional<tree::Kind> held = nodes_.held_kind(path);
  const tree::Tree& tree = service_.replica().tree();
  const tree::ZNode* znode = tree.find(path);
  if (znode == nullptr || (before == kinds_.end() && !held)) return;
  View shown = reader_.view(tree, *znode, path);
  if (before != kinds_.end() && std::exchange(before->second, shown.kind) != shown.kind) {
    nodes_.note_retyped(std::string(tree::parent_path(path)), tree.last_zxid());
  }
  if (!held || shown.kind == *held) return;
  shown.kind = *held;
  nodes_.note_last(path, stat_of(shown));
  NodeTable::Forget name = nodes_.end_name(path);
  retyped.all_names |= name.all_names;
  retyped.names.insert(retyped.names.end(), name.names.begin(), name.names.end());
}

void KernelCache::end_change() {
  renames_.clear();
  kinds_.clear();
  going_.clear();
  nodes_.end_change();
  turns_.end_change();
}

}  // namespace zabfs::fsd
