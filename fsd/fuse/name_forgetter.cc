#include "fsd/fuse/name_forgetter.h"

#include <boost/asio/post.hpp>
#include <map>
#include <memory>
#include <utility>

#include "consensus/mutex.h"

namespace zabfs::fsd {

namespace {

// One call of `forget`, for the strand to wait for. The threads may come to it later than that.
class Round {
 public:
  explicit Round(size_t directories) : left_(directories) {}

  void end_directory(bool is_done) {
    MutexLock lock(mutex_);
    all_done_ = all_done_ && is_done;
    if (--left_ == 0) ended_.notify_all();
  }
  bool wait_until(std::chrono::steady_clock::time_point end) {
    MutexLock lock(mutex_);
    while (left_ > 0) {
      if (!ended_.wait_until(mutex_, end)) break;
    }
    return left_ == 0 && all_done_;
  }

 private:
  Mutex mutex_;
  ConditionVariable ended_;
  size_t left_ GUARDED_BY(mutex_);
  bool all_done_ GUARDED_BY(mutex_) = true;
};

}  // namespace

bool NameForgetterThreads::forget(const std::vector<NodeTable::HeldName>& names) {
  if (names.size() > kMaxNames) return false;
  std::map<KernelNode, std::vector<std::string>> by_directory;
  for (const NodeTable::HeldName& name : names) by_directory[name.parent].push_back(name.name);
  if (waiting_ >= kThreads) return false;  // for directories that stay locked
  auto end = std::chrono::steady_clock::now() + kLimit;
  auto round = std::make_shared<Round>(by_directory.size());
  for (auto& [parent, in_it] : by_directory) {
    ++waiting_;
    boost::asio::post(threads_, [this, round, parent = parent, in_it = std::move(in_it)] {
      bool is_done = true;
      for (const std::string& name : in_it) {
        is_done = notifications_.forget_name(parent, name) && is_done;
      }
      --waiting_;
      round->end_directory(is_done);
    });
  }
  return round->wait_until(end);
}

void NameForgetterThreads::stop() { threads_.join(); }

}  // namespace zabfs::fsd
