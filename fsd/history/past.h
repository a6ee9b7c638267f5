// What a mount shows of the past, on a thread of its own: reading it takes from milliseconds to
// seconds, and must be in nobody's way. The thread has the lowest priority for the disks and the
// CPU. The strand and the lanes of the log never wait for it.
//
// Limits: trees as they were are kept for who asks again, as long as they are within
// kMaxTreeBytes together. One that is larger than half of that is dropped before another is made.
// So the past takes kMaxTreeBytes and what one tree takes, at most, beside what answers under way
// hold. Versions of the children of kMaxDirectories directories are kept. All is dropped when
// nobody has asked for kIdleMs. At most kMaxWaiting questions wait.
//
// Threading: any thread. Answers come on the calling thread if what is asked for is at hand, else
// on the thread of this class.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "consensus/lane.h"
#include "consensus/mutex.h"
#include "consensus/posix_disk.h"
#include "consensus/service.h"
#include "fsd/history/past_reader.h"

namespace zabfs::fsd {

class Past {
 public:
  static constexpr size_t kMaxTreeBytes = 256u << 20;
  static constexpr size_t kMaxDirectories = 4;
  static constexpr size_t kMaxWaiting = 64;
  static constexpr int64_t kIdleMs = 60'000;
  // Why there is no answer if so many wait already.
  static constexpr const char* kTooMany = "too many ask for the past at once";

  using TreePtr = std::shared_ptr<const tree::Tree>;
  using DirectoryPtr = std::shared_ptr<const DirectoryPast>;
  template <class T>
  using Answer = std::function<void(const StatusOr<T>&)>;

  // The directories are those of the log and of the snapshots.
  Past(consensus::Service& service, const std::string& log_directory,
       const std::string& snapshot_directory, ViewOptions options);
  ~Past() { stop(); }
  Past(const Past&) = delete;
  Past& operator=(const Past&) = delete;
  // Answers nothing any more.
  void stop();

  void tree_at(tree::Zxid zxid, Answer<TreePtr> answer);
  // The zxid that a name in `@/at` stands for.
  void resolve(const std::string& name, Answer<tree::Zxid> answer);
  // The versions of a directory's children. `is_fresh` says whether what is at hand will do; if
  // not, the log is read once more, up to what this node has applied by then.
  void children(const std::string& directory, std::function<bool(const DirectoryPast&)> is_fresh,
                Answer<DirectoryPtr> answer);
  void data_of(const std::string& path, tree::Zxid version, Answer<tree::Bytes> answer);
  void below(const std::string& directory, const Caller& caller, Answer<SubtreePast> answer);

 private:
  // False: too much waits already.
  bool post(std::function<void()> job);
  tree::Zxid committed() const;
  TreePtr find_tree(tree::Zxid zxid) EXCLUDES(mutex_);
  void drop_large_trees() EXCLUDES(mutex_);
  void keep_tree(tree::Zxid zxid, TreePtr tree) EXCLUDES(mutex_);
  DirectoryPtr find_directory(const std::string& directory) EXCLUDES(mutex_);
  void read_directory(const std::string& directory,
                      const std::function<bool(const DirectoryPast&)>& is_fresh,
                      const Answer<DirectoryPtr>& answer) EXCLUDES(mutex_);
  void touch() EXCLUDES(mutex_);
  void drop_if_idle() EXCLUDES(mutex_);

  consensus::Service& service_;
  consensus::PosixDisk log_disk_, snapshot_disk_;
  PastReader reader_;           // on the thread
  PastReader::TreePtr newest_;  // the same: where the last look at a directory ended
  std::atomic<bool> is_stopping_{false};
  std::atomic<size_t> waiting_{0};
  Mutex mutex_;                                                         // no job runs under it
  std::list<std::pair<tree::Zxid, TreePtr>> trees_ GUARDED_BY(mutex_);  // the last asked for first
  std::list<std::pair<std::string, DirectoryPtr>> directories_ GUARDED_BY(mutex_);  // the same
  int64_t asked_ms_ GUARDED_BY(mutex_) = 0;
  bool drops_later_ GUARDED_BY(mutex_) = false;
  consensus::Lane lane_;
};

}  // namespace zabfs::fsd
