// inotify for what other nodes do: committed changes are done once more, through the mount, by a
// helper process, so that the kernel tells whoever watches (FUSE.md, "inotify").
//
// The strand queues changes of names that the kernel holds. A thread of its own asks /proc which
// nodes of this mount are watched at all, drops the rest, and has the helper do one operation at a
// time; the mount answers the helper from what is committed. Where nobody watches, a change costs a
// look into the queue or the node table; the looks into /proc take 2% of a CPU at most, whatever
// the number of changes.
//
// The helper is this program under another name (replay_process.h), not a thread: a process that
// enters its own mount can hang for good.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "consensus/mutex.h"
#include "consensus/service.h"
#include "fsd/fuse/node_table.h"
#include "tree/status.h"

namespace zabfs::fsd {

// kCommit: this kernel told of the write itself, but before it was committed, and who looked then
// saw nothing new: it is told once more that the file was modified.
enum class Replay { kCreate, kDelete, kModify, kCommit, kAttributes, kRename };

constexpr bool is_data(Replay type) { return type == Replay::kModify || type == Replay::kCommit; }
// Whether one such operation tells of any number of them.
constexpr bool is_repeatable(Replay type) { return is_data(type) || type == Replay::kAttributes; }

struct ReplayOp {
  Replay type = Replay::kModify;
  std::string path;
  std::string to;  // of kRename
  tree::Kind kind = tree::Kind::kFile;
  uint64_t size = 0;  // of kModify and kCommit
  // What a watch may be on; 0 if the kernel doesn't hold it.
  KernelNode parent = 0, self = 0, to_parent = 0;
};

class Replayer {
 public:
  // The log of `service` gets what local users can cause.
  explicit Replayer(consensus::Service& service) : service_(service) {}
  ~Replayer();

  // From now on changes are queued. To be called before the mount answers anybody, who may watch it
  // before `start` has a helper for him.
  void expect() { takes_ = true; }
  // Starts helper and thread. If that fails, nothing is queued any more.
  Status start(const std::string& mount_point);
  void stop();

  // On the strand. Past kMaxQueued changes the newest are dropped, with a warning if any is
  // watched.
  void queue(ReplayOp op);
  // On the strand. A change like the last one that is queued for its path is told of with that one.
  // False if there is none, and there is room to queue it.
  bool absorb(const ReplayOp& op);

  // By any thread. Whether a request is the helper's, and what it is doing with that path. No other
  // process has its number while it runs, and none but root's can take its user and its group. A
  // process in a pid namespace that this daemon doesn't see has the number 0: never the helper.
  bool is_helper(pid_t pid, uid_t uid, gid_t gid) const {
    pid_t helper = helper_;
    return helper != 0 && pid == helper && uid == uid_ && gid == gid_;
  }
  std::optional<ReplayOp> current(const std::string& path) const;
  // A change of that name is still to be told of: the kernel must not cache the name until then.
  bool is_pending(const std::string& path) const;

 private:
  static constexpr size_t kMaxQueued = 10'000;
  Status spawn(const std::string& mount_point, int socket, pid_t& child);
  Status meet(pid_t child);
  void set_wait(std::chrono::seconds seconds) const;
  void run();
  // Nodes of this mount that inotify or fanotify watches, by all processes.
  std::unordered_set<KernelNode> watched() const;
  void settle(const ReplayOp& op);
  void give_up();
  void forget();  // what is queued, for good
  bool execute(const ReplayOp& op);

  consensus::Service& service_;
  std::atomic<bool> takes_{false};
  std::atomic<pid_t> helper_{0};  // 0: there is none
  uid_t uid_ = 0;                 // these two are written before helper_, and not again
  gid_t gid_ = 0;
  int socket_ = -1;
  uint64_t device_ = 0;
  std::thread thread_;

  mutable Mutex mutex_;
  ConditionVariable arrived_;
  std::deque<ReplayOp> queue_ GUARDED_BY(mutex_);
  std::unordered_map<std::string, ReplayOp*> last_ GUARDED_BY(mutex_);  // of queue_, by path
  std::unordered_map<std::string, int> pending_ GUARDED_BY(mutex_);
  std::optional<ReplayOp> current_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool waiting_ GUARDED_BY(mutex_) = false;  // the thread, for the next change
  size_t dropped_ GUARDED_BY(mutex_) = 0;
  std::atomic<size_t> pending_count_{0};
};

}  // namespace zabfs::fsd
