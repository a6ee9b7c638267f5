#include "fsd/recipes/holders.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "fsd/recipes/room.h"
#include "fsd/view/contenders.h"
#include "tree/path.h"

namespace zabfs::fsd {
namespace {

constexpr std::string_view kFileQueue = "lock:";  // of the hidden child's children
constexpr size_t kMaxWordBytes = 64;
constexpr int64_t kLastSecond = 253'402'300'799;  // of the year 9999

enum class Kind {
  kLock,
  kReadWriteLock,
  kLeader,
  kSemaphore,
  kSemaphoreMutex,
  kBarrier,
  kFile,
  kWork
};

struct Contender {
  Kind kind = Kind::kLock;
  bool shared = false, held = false;
  int64_t sequence = 0;
  std::string shown;  // the path that stands for it on a mount
  std::string path;
  const tree::ZNode* node = nullptr;
};

const char* kind_word(const Contender& contender) {
  switch (contender.kind) {
    case Kind::kLock:
      return "lock";
    case Kind::kReadWriteLock:
      return contender.shared ? "rwlock-shared" : "rwlock";
    case Kind::kLeader:
      return "leader";
    case Kind::kSemaphore:
    case Kind::kSemaphoreMutex:
      return "semaphore";
    case Kind::kBarrier:
      return "barrier";
    case Kind::kFile:
      return contender.shared ? "flock-shared" : "flock";
    case Kind::kWork:
      return "work";
  }
  return "";
}

// The lock of DIR/NAME: DIR/@/lock:NAME/{r,w}-0000000042.
bool fill_file_lock(std::string_view queue, std::string_view name, Contender& contender) {
  std::string_view hidden = tree::parent_path(queue), file = tree::base_name(queue);
  if (tree::base_name(hidden) != kHidden || !file.starts_with(kFileQueue)) return false;
  if (!name.starts_with("r-") && !name.starts_with("w-")) return false;
  contender.kind = Kind::kFile;
  contender.shared = name.starts_with("r-");
  std::string directory(tree::parent_path(hidden));
  contender.shown = tree::join_path(directory, file.substr(kFileQueue.size()));
  return true;
}

// Who has an item: DIR/@/work/w-0000000042/@.
bool fill_work(std::string_view item, std::string_view name, Contender& contender) {
  std::string_view queue = tree::parent_path(item), hidden = tree::parent_path(queue);
  if (name != kHidden || tree::base_name(queue) != kWorkChild ||
      tree::base_name(hidden) != kHidden) {
    return false;
  }
  contender.kind = Kind::kWork;
  contender.shown = hidden_path(std::string(tree::parent_path(hidden)), kWorkChild);
  return true;
}

bool fill_recipe(const tree::Tree& tree, const tree::ZNode& node, std::string_view queue,
                 std::string_view name, Contender& contender) {
  std::string directory(queue);
  std::string_view within = tree::base_name(queue);
  std::string_view file;
  if (within == kSemaphoreLeases && is_lease(name)) {
    contender.kind = Kind::kSemaphore;
    directory = tree::parent_path(queue);
    file = "semaphore";
  } else if (is_mutex_contender(name)) {
    contender.kind = Kind::kLock;
    file = "lock";
    std::string above(tree::parent_path(queue));
    if (within == kSemaphoreLocks && tree.find(tree::join_path(above, kSemaphoreLeases))) {
      contender.kind = Kind::kSemaphoreMutex;
      directory = above;
      file = "semaphore";
    }
  } else if (is_read_write_contender(name)) {
    contender.kind = Kind::kReadWriteLock;
    contender.shared = is_reader(name);
    file = "rwlock";
  } else if (is_latch_contender(name)) {
    contender.kind = Kind::kLeader;
    file = "leader";
  } else if (is_barrier_member(node)) {
    contender.kind = Kind::kBarrier;
    file = "barrier";
  } else {
    return false;
  }
  contender.shown = hidden_path(directory, file);
  return true;
}

std::optional<Contender> contender_at(const tree::Tree& tree, const std::string& path) {
  Contender contender;
  contender.path = path;
  contender.node = tree.find(path);
  if (contender.node == nullptr) return std::nullopt;
  std::string queue(tree::parent_path(path));
  std::string_view name = tree::base_name(path);
  bool fits = is_hidden(queue)
                  ? fill_file_lock(queue, name, contender) || fill_work(queue, name, contender)
                  : fill_recipe(tree, *contender.node, queue, name, contender);
  bool is_work = contender.kind == Kind::kWork;
  std::optional<int64_t> sequence = sequence_of(is_work ? tree::base_name(queue) : name);
  if (!fits || (!sequence && contender.kind != Kind::kBarrier)) return std::nullopt;
  contender.sequence =
      contender.kind == Kind::kBarrier ? contender.node->stat.czxid.value : *sequence;
  return contender;
}

// Whoever has the semaphore's mutex, first of its queue, makes its lease and waits until there are
// few enough of them. It is told of as one that waits for the mutex.
bool is_in_the_making(const Contender& lease, const std::vector<Contender>& mutex) {
  const tree::NodeStat& first = mutex.front().node->stat;
  const tree::NodeStat& own = lease.node->stat;
  return first.owner == own.owner && first.czxid < own.czxid;
}

// Of one queue, in its order.
void mark_held(const tree::Tree& tree, std::vector<Contender>& queue) {
  bool only_shared = true;
  for (size_t i = 0; i < queue.size(); ++i) {
    Contender& contender = queue[i];
    only_shared = only_shared && contender.shared;
    switch (contender.kind) {
      case Kind::kLock:
      case Kind::kLeader:
        contender.held = i == 0;
        break;
      case Kind::kReadWriteLock:
      case Kind::kFile:
        contender.held = i == 0 || only_shared;
        break;
      case Kind::kSemaphore:
      case Kind::kWork:
        contender.held = true;
        break;
      case Kind::kSemaphoreMutex:
        break;
      case Kind::kBarrier: {
        std::string directory(tree::parent_path(contender.path));
        contender.held = tree.find(tree::join_path(directory, kBarrierReady)) != nullptr;
        break;
      }
    }
  }
}

// What the reader may list, on the way from a directory down.
class Listing {
 public:
  Listing(const tree::Tree& tree, const std::string& top, const NodeTest& may_list)
      : tree_(tree), top_(top), may_list_(may_list) {}

  bool shows_inside(const std::string& directory) {
    if (!may_list_) return true;
    if (is_hidden(directory)) return shows_inside(std::string(tree::parent_path(directory)));
    auto known = known_.find(directory);
    if (known != known_.end()) return known->second;
    const tree::ZNode* node = tree_.find(directory);
    bool shows = node != nullptr && may_list_(*node, directory) &&
                 (directory == top_ || shows_inside(std::string(tree::parent_path(directory))));
    known_[directory] = shows;
    return shows;
  }

 private:
  const tree::Tree& tree_;
  const std::string& top_;
  const NodeTest& may_list_;
  std::map<std::string, bool> known_;
};

// Others' data may be anything.
std::string as_word(std::string_view text) {
  std::string word(text.substr(0, kMaxWordBytes));
  std::replace_if(
      word.begin(), word.end(), [](unsigned char c) { return c <= ' ' || c >= 0x7f; }, '_');
  return word.empty() ? "-" : word;
}

// NODE PID NAME, as a mount's contender wrote it.
std::string owner_of(const Contender& contender, bool may_read) {
  std::string_view data = may_read ? contender.node->data.view() : std::string_view();
  size_t first = data.find(' '), second = data.find(' ', first + 1);
  bool is_mounts = first != std::string_view::npos && second != std::string_view::npos;
  if (!is_mounts) return as_word(data) + " - " + as_word(tree::base_name(contender.path));
  return fmt::format("{} {} {}", as_word(data.substr(0, first)),
                     as_word(data.substr(first + 1, second - first - 1)),
                     as_word(data.substr(second + 1)));
}

std::string line_of(const Contender& contender, const std::string& directory, bool may_read) {
  std::string path = contender.shown.substr(directory == "/" ? 1 : directory.size() + 1);
  int64_t since_s = std::clamp(contender.node->stat.ctime_ms / 1000, int64_t{0}, kLastSecond);
  return fmt::format("{} {} {} {:%Y-%m-%dT%H:%M:%SZ} 0x{:x} {}\n", kind_word(contender),
                     contender.held ? "held" : "waiting", owner_of(contender, may_read),
                     fmt::gmtime(std::time_t{since_s}), contender.node->stat.czxid.value, path);
}

}  // namespace

std::string holders_text(const tree::Tree& tree, const std::string& directory,
                         const NodeTest& may_list, const NodeTest& may_read) {
  using Key = std::pair<std::string, Kind>;
  std::map<Key, std::vector<Contender>> queues;
  Listing listing(tree, directory, may_list);
  for (const auto& [session, ignored] : tree.sessions()) {
    for (const std::string& path : tree.ephemerals_of(session)) {
      std::string queue(tree::parent_path(path));
      if (!tree::is_within(queue, directory) || !listing.shows_inside(queue)) continue;
      std::optional<Contender> contender = contender_at(tree, path);
      if (!contender || !tree::is_within(contender->shown, directory)) continue;
      queues[{contender->shown, contender->kind}].push_back(std::move(*contender));
    }
  }
  std::string text;
  for (auto& [key, queue] : queues) {
    std::sort(queue.begin(), queue.end(),
              [](const Contender& a, const Contender& b) { return a.sequence < b.sequence; });
  }
  for (auto& [key, queue] : queues) {
    auto mutex = queues.find({key.first, Kind::kSemaphoreMutex});
    if (key.second == Kind::kSemaphore && mutex != queues.end()) {
      std::erase_if(queue, [&mutex](const Contender& lease) {
        return is_in_the_making(lease, mutex->second);
      });
    }
    mark_held(tree, queue);
    for (const Contender& contender : queue) {
      bool readable = !may_read || may_read(*contender.node, contender.path);
      text += line_of(contender, directory, readable);
    }
  }
  return text;
}

}  // namespace zabfs::fsd
