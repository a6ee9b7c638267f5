#include "fsd/history/past.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "consensus/replica.h"
#include "fsd/history/when.h"

namespace zabfs::fsd {

using tree::Zxid;

namespace {

constexpr size_t kZnodeBytes = 250;  // in memory, beside its data
constexpr int kLooks = 50;           // at a log that is behind what this node has applied
constexpr auto kBetweenLooks = std::chrono::milliseconds(10);

// Others come first, at the disks and at the CPU.
void step_back() {
  constexpr int kWhoProcess = 1, kClassIdle = 3 << 13, kNice = 19;
  auto thread = static_cast<id_t>(::syscall(SYS_gettid));
  ::syscall(SYS_ioprio_set, kWhoProcess, thread, kClassIdle);
  ::setpriority(PRIO_PROCESS, thread, kNice);
}

size_t bytes_of(const tree::Tree& tree) {
  return tree.data_bytes() + tree.node_count() * kZnodeBytes;
}

bool is_large(const tree::Tree& tree) { return bytes_of(tree) > Past::kMaxTreeBytes / 2; }

Status too_many() { return Status::failed(Past::kTooMany); }

}  // namespace

Past::Past(consensus::Service& service, const std::string& log_directory,
           const std::string& snapshot_directory, ViewOptions options)
    : service_(service),
      log_disk_(log_directory),
      snapshot_disk_(snapshot_directory),
      reader_(log_disk_, snapshot_disk_, options),
      lane_("zabfs-past") {
  reader_.set_is_cancelled([this] { return is_stopping_.load(); });
  lane_.post(step_back);
}

void Past::stop() {
  is_stopping_ = true;
  lane_.stop();
}

bool Past::post(std::function<void()> job) {
  touch();
  if (waiting_ >= kMaxWaiting) return false;
  ++waiting_;
  lane_.post([this, job = std::move(job)] {
    if (!is_stopping_) job();
    --waiting_;
  });
  return true;
}

Zxid Past::committed() const {
  return service_.replica().read([](const tree::Tree& tree) { return tree.last_zxid(); });
}

// ---- trees

Past::TreePtr Past::find_tree(Zxid zxid) {
  MutexLock lock(mutex_);
  for (auto at = trees_.begin(); at != trees_.end(); ++at) {
    if (at->first != zxid) continue;
    trees_.splice(trees_.begin(), trees_, at);
    return trees_.front().second;
  }
  return nullptr;
}

void Past::keep_tree(Zxid zxid, TreePtr tree) {
  MutexLock lock(mutex_);
  trees_.emplace_front(zxid, std::move(tree));
  size_t bytes = 0;
  auto at = trees_.begin();
  for (; at != trees_.end(); ++at) {
    bytes += bytes_of(*at->second);
    if (at != trees_.begin() && bytes > kMaxTreeBytes) break;
  }
  trees_.erase(at, trees_.end());
}

void Past::drop_large_trees() {
  MutexLock lock(mutex_);
  trees_.remove_if([](const auto& entry) { return is_large(*entry.second); });
}

void Past::tree_at(Zxid zxid, Answer<TreePtr> answer) {
  if (TreePtr tree = find_tree(zxid)) {
    touch();
    return answer(tree);
  }
  bool is_posted = post([this, zxid, answer] {
    if (TreePtr tree = find_tree(zxid)) return answer(tree);
    drop_large_trees();
    if (newest_ && is_large(*newest_)) newest_.reset();
    StatusOr<PastReader::TreePtr> made = reader_.tree_at(zxid, committed());
    if (!made.ok()) return answer(made.status());
    TreePtr tree = *made;
    keep_tree(zxid, tree);
    answer(tree);
  });
  if (!is_posted) answer(too_many());
}

void Past::resolve(const std::string& name, Answer<Zxid> answer) {
  std::optional<When> when = parse_when(name, wall_ms());
  if (!when)
    return answer(Status::failed(
        name + " is neither a zxid nor a time, as 0x500000012, 2026-11-30T04:15 or -2h"));
  if (when->zxid) return answer(*when->zxid);
  bool is_posted = post(
      [this, time_ms = when->time_ms, answer] { answer(reader_.zxid_at(time_ms, committed())); });
  if (!is_posted) answer(too_many());
}

// ---- versions

Past::DirectoryPtr Past::find_directory(const std::string& directory) {
  MutexLock lock(mutex_);
  for (auto at = directories_.begin(); at != directories_.end(); ++at) {
    if (at->first != directory) continue;
    directories_.splice(directories_.begin(), directories_, at);
    return directories_.front().second;
  }
  return nullptr;
}

void Past::children(const std::string& directory,
                    std::function<bool(const DirectoryPast&)> is_fresh,
                    Answer<DirectoryPtr> answer) {
  if (DirectoryPtr past = find_directory(directory); past && is_fresh(*past)) {
    touch();
    return answer(past);
  }
  bool is_posted = post([this, directory, is_fresh = std::move(is_fresh), answer] {
    read_directory(directory, is_fresh, answer);
  });
  if (!is_posted) answer(too_many());
}

void Past::read_directory(const std::string& directory,
                          const std::function<bool(const DirectoryPast&)>& is_fresh,
                          const Answer<DirectoryPtr>& answer) {
  DirectoryPtr before = find_directory(directory);
  if (before && is_fresh(*before)) return answer(before);
  auto past = before ? std::make_shared<DirectoryPast>(*before) : std::make_shared<DirectoryPast>();
  before.reset();
  drop_large_trees();
  // What this node has applied may be on its way to its own log still.
  for (int look = 0; look < kLooks && !is_stopping_; ++look) {
    if (look > 0) std::this_thread::sleep_for(kBetweenLooks);
    Status status = reader_.read_children(directory, committed(), *past, newest_);
    if (!status.ok()) return answer(status);
    if (is_fresh(*past)) break;
  }
  {
    MutexLock lock(mutex_);
    directories_.remove_if([&](const auto& entry) { return entry.first == directory; });
    directories_.emplace_front(directory, past);
    if (directories_.size() > kMaxDirectories) directories_.pop_back();
  }
  answer(DirectoryPtr(past));
}

void Past::data_of(const std::string& path, Zxid version, Answer<tree::Bytes> answer) {
  bool is_posted =
      post([this, path, version, answer] { answer(reader_.data_of(path, version, committed())); });
  if (!is_posted) answer(too_many());
}

void Past::below(const std::string& directory, const Caller& caller, Answer<SubtreePast> answer) {
  bool is_posted = post([this, directory, caller, answer] {
    SubtreePast past;
    drop_large_trees();
    Status status = reader_.read_below(directory, caller, committed(), past);
    if (!status.ok()) return answer(status);
    answer(std::move(past));
  });
  if (!is_posted) answer(too_many());
}

// ---- what is kept

void Past::touch() {
  MutexLock lock(mutex_);
  asked_ms_ = service_.now_ms();
  if (std::exchange(drops_later_, true)) return;
  service_.post_after(kIdleMs, [this] { drop_if_idle(); });
}

// On the strand: what is to be freed is freed on the thread.
void Past::drop_if_idle() {
  int64_t idle_ms = 0;
  {
    MutexLock lock(mutex_);
    idle_ms = service_.now_ms() - asked_ms_;
  }
  if (idle_ms < kIdleMs) {
    return service_.post_after(kIdleMs - idle_ms, [this] { drop_if_idle(); });
  }
  lane_.post([this] {
    newest_.reset();
    decltype(trees_) trees;
    decltype(directories_) directories;
    MutexLock lock(mutex_);
    trees.swap(trees_);
    directories.swap(directories_);
    drops_later_ = false;
  });
}

}  // namespace zabfs::fsd
