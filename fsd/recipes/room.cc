#include "fsd/recipes/room.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "fsd/recipes/handles.h"
#include "fsd/recipes/ring.h"
#include "fsd/view/contenders.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr size_t kMaxPickedDirectories = 10'000;

}  // namespace

std::string txn_path(const std::string& directory, std::string_view name) {
  return tree::join_path(hidden_path(directory, kTxnChild), name);
}

HandlePtr Room::open(Control control, const std::string& directory, const std::string& name,
                     Opener opener) {
  switch (control) {
    case Control::kHelp:
    case Control::kHolders:
    case Control::kStat:
    case Control::kLock:
    case Control::kReadWriteLock:
    case Control::kCluster:
    case Control::kHealth:
    case Control::kMetrics:
    case Control::kHandles:
      return open_text(*this, control, directory, std::move(opener));
    case Control::kAcl:
      return open_acl(*this, directory, std::move(opener));
    case Control::kLogLevel:
      return open_log_level(*this, directory, std::move(opener));
    case Control::kMembers:
      return open_members(*this, directory, std::move(opener));
    case Control::kExport:
      return open_export(*this, directory, std::move(opener));
    case Control::kImport:
      return open_import(*this, directory, std::move(opener));
    case Control::kSnapshot:
      return open_snapshot(*this, directory, std::move(opener));
    case Control::kWatch:
    case Control::kWatchAll:
      return open_watch(*this, control, directory, std::move(opener));
    case Control::kNext:
      return open_next(*this, directory, std::move(opener));
    case Control::kCounter:
      return open_counter(*this, directory, std::move(opener));
    case Control::kQueue:
      return open_queue(*this, directory, std::move(opener));
    case Control::kWork:
      return open_work(*this, directory, std::move(opener));
    case Control::kOncePeriod: {
      size_t slash = name.find('/');
      return open_once(*this, directory, name.substr(0, slash), period_ms(name.substr(slash + 1)),
                       std::move(opener));
    }
    case Control::kLeader:
      return open_leader(*this, directory, std::move(opener));
    case Control::kSemaphore:
      return open_semaphore(*this, directory, parties(name), std::move(opener));
    case Control::kBarrier:
      return open_barrier(*this, directory, parties(name), std::move(opener));
    case Control::kRingKey:
      return open_ring(*this, directory, name, std::move(opener));
    case Control::kPick:
      return open_pick(*this, directory, std::move(opener));
    case Control::kEphemeralFile: {  // one of this mount's own that is there
      std::string path = tree::join_path(directory, name);
      const tree::ZNode* node = tree().find(path);
      if (node == nullptr || node->stat.owner != session_.id().value) return nullptr;
      return open_child(*this, control, directory, path, node->stat.czxid, tree::SessionId{},
                        std::move(opener));
    }
    case Control::kNone:
    case Control::kRoom:
    case Control::kData:
    case Control::kSemaphores:
    case Control::kSeq:
    case Control::kSeqFile:
    case Control::kEphemeral:
    case Control::kBarriers:
    case Control::kRing:
    case Control::kOnce:
    case Control::kOnceName:
    case Control::kTxn:
    case Control::kHistory:  // the past has files of its own (fsd/fuse/past_files.h)
    case Control::kHistoryName:
    case Control::kVersion:
    case Control::kAt:
    case Control::kPast:
    case Control::kChanges:
      return nullptr;
  }
  return nullptr;
}

void Room::make(Control control, const std::string& directory, const std::string& name,
                Opener opener, Made made) {
  bool ephemeral = control == Control::kEphemeral;
  tree::AclList acl = acl_for_made(directory, opener);
  std::string path = tree::join_path(directory, name);
  int32_t flags = ephemeral ? tree::kCreateEphemeral : tree::kCreateSequential;
  auto done = [this, directory, ephemeral, opener = std::move(opener),
               made](const Outcome& outcome) {
    if (outcome.error != Error::kOk) return made(file_error_of(outcome.error), nullptr);
    Control file = ephemeral ? Control::kEphemeralFile : Control::kSeqFile;
    made(FileError::kOk, open_child(*this, file, directory, outcome.path, outcome.stat.czxid,
                                    tree::SessionId{outcome.stat.ephemeral_owner}, opener));
  };
  // Whoever made it was told that it failed, and no handle's end will remove it.
  auto late = [this, ephemeral](const Outcome& outcome) {
    if (outcome.error != Error::kOk || !ephemeral) return;
    session_.submit_held(tree::SessionId{outcome.stat.ephemeral_owner}, OpCode::kExtRemove,
                         encode(tree::ExtRemove{outcome.path, outcome.stat.czxid, false}),
                         [](const Outcome&) {});
  };
  writer_.commit(OpCode::kCreate2, tree::create_body(path, "", acl, flags), std::move(done),
                 std::move(late));
}

tree::AclList Room::acl_for_made(const std::string& directory, const Opener& by) const {
  const tree::ZNode* node = tree().find(directory);
  std::optional<uint32_t> group = node ? handed_down_group(view(*node, directory)) : std::nullopt;
  return acl_for_new(tree::Kind::kFile, by.mode, by.uid, group.value_or(by.gid));
}

void Room::remove(Handle* handle) {
  std::erase_if(handles_, [handle](const auto& entry) { return entry.second == handle; });
  std::erase(listening_, handle);
}

// They may go while they are told.
std::vector<HandlePtr> Room::listeners() const {
  std::vector<HandlePtr> listeners;
  for (Handle* handle : listening_) listeners.push_back(handle->shared_from_this());
  return listeners;
}

void Room::published(const std::vector<tree::Change>& changes) {
  session_.check_deadline();  // before anything is granted in it
  if (!changes.empty()) {
    last_changed_ = changes.back().path;
    last_change_ = changes.back().type;
  }
  locks_.published(changes);
  for (const HandlePtr& handle : listeners()) {
    ClientSession::Acting as(session_, handle->opener().actor());
    handle->published(changes);
  }
}

void Room::tree_replaced() {
  session_.check_deadline();
  locks_.tree_replaced();
  for (const HandlePtr& handle : listeners()) {
    ClientSession::Acting as(session_, handle->opener().actor());
    handle->tree_replaced();
  }
}

void Room::session_lost(tree::SessionId session) {
  locks_.session_lost(session);
  std::vector<HandlePtr> all;
  for (const auto& [number, handle] : handles_) all.push_back(handle->shared_from_this());
  for (const HandlePtr& handle : all) handle->session_lost(session);
}

std::string Room::handles_text(const Caller& reader) const {
  std::string text = locks_.handles(reader.uid);
  for (const auto& [number, handle] : handles_) {
    if (reader.uid == 0 || handle->opener().uid == reader.uid) text += handle->held();
  }
  return text;
}

void Room::tell(Registry& registry) {
  registry_ = &registry;
  registry.add([this](Metrics& into) {
    std::string handles = handles_text(Caller{});
    into.push_back(own_gauge("handles", int64_t{std::count(handles.begin(), handles.end(), '\n')},
                             "Locks, ephemerals, watches and the like held through this mount"));
    into.push_back(own_durations("lock_wait", locks_.wait_times(),
                                 "From asking for a lock, a lease or a lead to having it"));
    into.push_back(own_durations("lock_hold", locks_.hold_times(),
                                 "From having one to giving it up or losing it"));
  });
}

int64_t Room::last_change_ms() const {
  bool is_gone = last_change_ == tree::ChangeType::kDeleted;
  const tree::ZNode* node = tree().find(is_gone ? tree::parent_path(last_changed_) : last_changed_);
  if (last_changed_.empty() || node == nullptr) return 0;
  switch (last_change_) {
    case tree::ChangeType::kCreated:
      return node->stat.ctime_ms;
    case tree::ChangeType::kDataChanged:
      return node->stat.mtime_ms;
    case tree::ChangeType::kAclChanged:
      return node->times.acl_ms;
    case tree::ChangeType::kDeleted:
      return node->times.children_ms;
  }
  return 0;
}

std::string Room::owner_text(const Opener& opener) const {
  return fmt::format("{} {} {}", service_.replica().config().zab.me.value, opener.pid,
                     opener.program);
}

void Room::create_hidden(const std::string& directory, const std::string& child,
                         const std::string& data, Writer::Completion done) {
  tree::AclList directory_acl = acl_for_new(tree::Kind::kDirectory, 0755, 0, 0);
  tree::AclList file_acl = acl_for_new(tree::Kind::kFile, 0644, 0, 0);
  writer_.commit(OpCode::kCreate2,
                 tree::create_body(tree::join_path(directory, kHidden), "", directory_acl,
                                   tree::kCreatePersistent),
                 [](const Outcome&) {});
  writer_.commit(
      OpCode::kCreate2,
      tree::create_body(hidden_path(directory, child), data, file_acl, tree::kCreatePersistent),
      std::move(done));
}

void Room::serve(Control queue, const std::string& directory) {
  while (true) {
    HandlePtr first;
    for (const HandlePtr& handle : listeners()) {
      bool is_of_it = handle->control() == queue && handle->directory() == directory;
      if (!is_of_it || handle->first_waiting() == 0 || !handle->is_readable()) continue;
      if (!first || handle->first_waiting() < first->first_waiting()) first = handle;
    }
    if (!first || !first->answer_first()) break;
  }
  for (const HandlePtr& handle : listeners()) {
    if (handle->control() == queue && handle->directory() == directory) handle->wake();
  }
}

void Room::take_turn(const std::string& path, std::function<void()> turn) {
  std::deque<std::function<void()>>& turns = turns_[path];
  turns.push_back(std::move(turn));
  if (turns.size() == 1) std::function<void()>(turns.front())();
}

void Room::end_turn(const std::string& path) {
  auto found = turns_.find(path);
  found->second.pop_front();
  if (found->second.empty()) {
    turns_.erase(found);
  } else {
    std::function<void()>(found->second.front())();
  }
}

std::string Room::pick(const std::string& directory) {
  std::vector<Candidate> candidates = candidates_of(tree(), directory, view_options_);
  if (candidates.empty()) return {};
  if (!picked_.contains(directory) && picked_.size() >= kMaxPickedDirectories) picked_.clear();
  std::map<std::string, double>& before = picked_[directory];
  // Who is new here begins where the least-picked one is, not at 0: it is not owed the past.
  double least = 0;
  bool known = false;
  for (const Candidate& candidate : candidates) {
    auto found = before.find(candidate.name);
    if (found == before.end()) continue;
    least = known ? std::min(least, found->second) : found->second;
    known = true;
  }
  std::map<std::string, double> now;
  const Candidate* best = nullptr;
  for (const Candidate& candidate : candidates) {
    auto found = before.find(candidate.name);
    double picked = now[candidate.name] = found == before.end() ? least : found->second;
    if (best == nullptr || picked < now[best->name]) best = &candidate;
  }
  now[best->name] += 1 / best->weight;
  before = std::move(now);
  return best->name;
}

}  // namespace zabfs::fsd
