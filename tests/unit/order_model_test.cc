// The order promise (FUSE.md), over random interleavings: whoever saw the second of two changes
// sees the first, through every cache of the kernel.
//
// The mount's parts are real, on a real replica. The kernel is a model: its names with their epoch,
// its attributes with their versions, its locks of directories, and threads of programs that ask,
// are answered, and may get to the answer much later. Whatever the mount tells the kernel or waits
// for lets other threads take random steps. One thread runs all of it; so a seed says what
// happened.
#include <linux/fuse.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <random>

#include "fsd/fuse/names.h"
#include "tree/path.h"
#include "unit/files_fixture.h"

namespace zabfs::fsd {
namespace {

constexpr int kSeeds = 5'000;        // or as many as ZABFS_ORDER_SEEDS says
constexpr int kRounds = 5;           // of a seed
constexpr int kSteps = 120;          // of a round
constexpr int kDrainSteps = 20'000;  // until all threads have ended what they do
constexpr int kThreads = 4;
constexpr int64_t kAbsent = -1;
constexpr size_t kLately = 3;  // changed paths, of which the next calls are more often
constexpr size_t kShownEvents = 150;

// ---- what the kernel has

struct Inode {
  off_t size = 0;
  bool has_size = false;
  uint64_t version = 0;
};

struct Dentry {
  KernelNode node = 0;  // 0: there is no such file
  uint64_t epoch = 0;
  bool is_valid = false;  // may be used unasked
};
using DentryPtr = std::shared_ptr<Dentry>;

struct Lock {
  int shared = 0;
  bool is_exclusive = false;
};

struct Answer {
  int error = 0;
  fuse_entry_param entry = {};
};

class Answers : public RecordedReplies {
 public:
  Asker asker(fuse_req_t req) override { return {askers.at(req), 0, 0}; }
  int done(fuse_req_t req, int error) override { return note(req, {error, {}}); }
  int entry(fuse_req_t req, const fuse_entry_param& entry) override {
    return note(req, {0, entry});
  }
  int attributes(fuse_req_t req, const struct stat& st, double seconds) override {
    Answer answer;
    answer.entry.attr = st;
    answer.entry.attr_timeout = seconds;
    return note(req, answer);
  }

  std::map<fuse_req_t, pid_t> askers;
  std::map<fuse_req_t, Answer> given;

 private:
  int note(fuse_req_t req, const Answer& answer) {
    given[req] = answer;
    return 0;
  }
};

// A program's thread: it can go on with `next` once `is_ready`.
struct Thread {
  pid_t id = 0;
  bool is_idle = true;
  bool changes_names = false;
  std::function<bool()> is_ready;
  std::function<void()> next;
  int64_t seen_before = 0;  // the zxid that somebody had seen when this call began
};

// How often a run came to what the rules are for.
struct Reached {
  int64_t overtaken = 0;   // answers that a commit overtook
  int64_t waits = 0;       // for threads
  int64_t epochs = 0;      // all names forgotten
  int64_t expired = 0;     // single names
  int64_t locked = 0;      // directories that could not be locked in time
  int64_t from_cache = 0;  // names and sizes that were shown unasked
};

// Where names are changed by others only, by programs here only, and by both.
const Strings kDirectories = {"/others", "/here", "/both"};
const Strings kNames = {"a", "b"};

class Model : public NameForgetter, public CallerThreads, public Notifications, public FilesTest {
 public:
  Model(unsigned seed, Reached& reached)
      : FilesTest(*this, *this, *this), random_(seed), reached_(reached) {
    for (const std::string& directory : kDirectories)
      submit(OpCode::kCreate, create_body(directory, 0));
    for (const std::string& directory : kDirectories) {
      bool cacheable = false;
      const tree::ZNode* znode = replica_->tree().find(directory);
      nodes_of_[directory] =
          nodes_.look_up(directory, znode->stat.czxid, tree::Kind::kDirectory, cacheable);
      inodes_[nodes_of_[directory]];
      for (const std::string& name : kNames) history_[directory + "/" + name] = {{0, kAbsent}};
    }
    for (pid_t id = 1; id <= kThreads; ++id) threads_.emplace_back().id = id;
    is_running_ = true;
  }
  ~Model() override { answers_given_->close(); }

  void run_seed() {
    for (int round = 0; round < kRounds; ++round) {
      may_begin_ = true;
      programs_only_look_ = one_in(2);
      names_time_out_ = one_in(2);
      for (int step = 0; step < kSteps; ++step) {
        if (one_in(4)) {
          strand_step();
        } else {
          kernel_step();
        }
      }
      may_begin_ = false;
      for (int step = 0; step < kDrainSteps && !are_all_idle(); ++step) {
        kernel_step();
        if (step % 4 == 0) strand_step();
      }
      EXPECT_TRUE(are_all_idle()) << "a call does not end";
      settle();
      check_all_that_is_kept();
    }
  }

 private:
  void TestBody() override {}

  // ---- chance

  bool one_in(int n) { return pick(n) == 0; }
  int pick(int n) { return std::uniform_int_distribution<int>(0, n - 1)(random_); }
  const std::string& one_of(const Strings& all) {
    return all[static_cast<size_t>(pick(static_cast<int>(all.size())))];
  }

  // ---- the strand

  void strand_step() {
    switch (pick(4)) {
      case 0:
        return wait(pick(2));
      case 1:
        return others_change();
      case 2:
        return look_on_the_wire();
      default:
        if (!jobs_.empty()) run_one();
    }
  }

  void others_change() {
    on_strand([this] {
      for (int n = pick(3); n >= 0; --n) {
        std::string path = a_path();
        std::string directory(tree::parent_path(path));
        if (directory == kDirectories[1]) continue;
        const tree::ZNode* znode = replica_->tree().find(path);
        if (znode == nullptr) {
          others_send(OpCode::kCreate, create_body(path, next_size_++));
        } else if (one_in(3)) {
          others_send(OpCode::kDelete, tree::delete_body(path, tree::kAnyVersion));
        } else if (one_in(3)) {
          std::string to = directory + "/" + one_of(kNames);
          if (to != path) others_send(OpCode::kExtRename, encode(rename_of(path, to, *znode)));
        } else {
          others_send(OpCode::kSetData,
                      tree::set_data_body(path, std::string(next_size_++, 'x'), tree::kAnyVersion));
        }
      }
    });
  }
  static std::string create_body(const std::string& path, size_t size) {
    tree::AclList acl =
        acl_for_new(size > 0 ? tree::Kind::kFile : tree::Kind::kDirectory, 0755, 0, 0);
    return tree::create_body(path, std::string(size, 'x'), acl, tree::kCreatePersistent);
  }
  static tree::ExtRename rename_of(const std::string& from, const std::string& to,
                                   const tree::ZNode& znode) {
    tree::ExtRename op;
    op.from = from;
    op.to = to;
    op.from_czxid = znode.stat.czxid;
    return op;
  }
  void others_send(OpCode type, std::string body) {
    replica_->submit(tree::superuser_request(SessionId{}, -1, type, std::move(body)), nullptr);
  }

  // A client of this node's port, behind a barrier.
  void look_on_the_wire() {
    cache_.catch_up();
    std::string path = a_path();
    saw(path, value_of(path), seen_);
  }

  // What happened, for whoever has to understand a failure.
  template <class... Args>
  void note(fmt::format_string<Args...> format, Args&&... args) {
    events_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }

  std::string story() const {
    std::string story;
    for (size_t n = events_.size() - std::min(events_.size(), kShownEvents); n < events_.size();
         ++n) {
      story += events_[n] + "\n";
    }
    return story;
  }

  std::string a_path() {
    if (!lately_.empty() && one_in(2)) {
      return lately_[static_cast<size_t>(pick(static_cast<int>(lately_.size())))];
    }
    return one_of(kDirectories) + "/" + one_of(kNames);
  }

  // ---- what is in the tree, and what was seen of it

  int64_t value_of(const std::string& path) {
    const tree::ZNode* znode = replica_->tree().find(path);
    return znode == nullptr ? kAbsent : static_cast<int64_t>(znode->data.size());
  }
  void note_history() {
    for (auto& [path, versions] : history_) {
      int64_t value = value_of(path);
      const tree::ZNode* znode = replica_->tree().find(path);
      bool is_same = value == versions.back().second &&
                     (znode == nullptr || znode->stat.czxid == czxids_[path]);
      if (znode != nullptr) czxids_[path] = znode->stat.czxid;
      if (is_same) continue;
      versions.emplace_back(replica_->tree().last_zxid().value, value);
      lately_.push_back(path);
      if (lately_.size() > kLately) lately_.pop_front();
      note("committed {:x}: {} has {}", replica_->tree().last_zxid().value, path, value);
    }
  }
  // A program was shown that value. It is right if some state of the path had it that was not
  // replaced before `seen_before`. Then everybody may know that state.
  void saw(const std::string& path, int64_t value, int64_t seen_before) {
    saw_one_of(
        path, [value](int64_t other) { return other == value; }, seen_before,
        value == kAbsent ? "that it is not there" : std::to_string(value) + " bytes");
  }
  // The same of a file that was found by the first of the paths; it may have been moved since.
  void saw_size(const Strings& paths, int64_t size, int64_t seen_before) {
    auto matches = [size](int64_t other) { return other == size; };
    saw(paths[right(paths[0], matches, seen_before) ? 0 : 1], size, seen_before);
  }
  void saw_that_it_is_there(const std::string& path, int64_t seen_before) {
    saw_one_of(
        path, [](int64_t other) { return other != kAbsent; }, seen_before, "that it is there");
  }
  using Matches = std::function<bool(int64_t)>;
  void saw_one_of(const std::string& path, const Matches& matches, int64_t seen_before,
                  const std::string& what) {
    if (std::optional<int64_t> zxid = right(path, matches, seen_before)) {
      seen_ = std::max(seen_, *zxid);
      return note("seen: {} {}, so {:x}", path, what, seen_);
    }
    ADD_FAILURE() << path << " was shown with " << what << " after somebody had seen zxid "
                  << std::hex << seen_before << "\n"
                  << story();
  }
  // Since when the path was in the first such state that was not replaced before `seen_before`.
  std::optional<int64_t> right(const std::string& path, const Matches& matches,
                               int64_t seen_before) {
    const auto& versions = history_[path];
    for (size_t n = 0; n < versions.size(); ++n) {
      bool is_replaced = n + 1 < versions.size() && versions[n + 1].first <= seen_before;
      if (!is_replaced && matches(versions[n].second)) return versions[n].first;
    }
    return std::nullopt;
  }

  // ReplicaListener
  void before_publish(const std::vector<tree::Txn>& txns) override {
    if (!is_running_) return FilesTest::before_publish(txns);
    TxnBatch batch(txns, replica_->tree());
    std::vector<std::optional<RenameSeen>> renames;
    for (size_t n = 0; n < txns.size(); ++n) {
      renames.push_back(batch.rename_in(n));
      if (const LocalChange* own = writes_.local_change(txns[n])) {
        committed_[own->thread] = txns[n].header.zxid.value;
      }
    }
    run_others();
    note("about to commit {:x}", txns.empty() ? 0 : txns.back().header.zxid.value);
    cache_.begin_change(txns, renames, txns.empty() ? nullptr : writes_.local_change(txns.back()));
    run_others();
    is_tree_locked_ = true;
  }
  void publishing(std::span<const tree::Change> changes) override {
    cache_.publishing(changes);
    if (is_running_) note_history();
  }
  void published(const std::vector<tree::Change>&) override {
    is_tree_locked_ = false;
    if (is_running_) run_others();
    cache_.end_change();
  }

  // ---- the kernel's threads

  void run_others() {
    for (int n = pick(4); n > 0; --n) kernel_step();
  }
  void kernel_step() {
    if (!is_running_) return;
    std::vector<std::function<void()>> possible;
    for (Thread& thread : threads_) {
      if (thread.is_idle && may_begin_) {
        possible.emplace_back([this, &thread] { begin(thread); });
      } else if (!thread.is_idle && thread.is_ready()) {
        possible.emplace_back([&thread] { std::exchange(thread.next, nullptr)(); });
      }
    }
    for (size_t n = 0; n < asked_.size() && !is_tree_locked_; ++n) {
      possible.emplace_back([this, n] { serve(n); });
    }
    for (size_t n = 0; n < expiries_.size(); ++n) {
      if (is_free(expiries_[n].directory)) possible.emplace_back([this, n] { expire(n); });
    }
    if (names_time_out_ && !dentries_.empty()) possible.emplace_back([this] { time_out(); });
    if (!possible.empty()) possible[static_cast<size_t>(pick(static_cast<int>(possible.size())))]();
  }
  // A name that was kept for its whole time is asked for again.
  void time_out() {
    auto entry = dentries_.begin();
    std::advance(entry, pick(static_cast<int>(dentries_.size())));
    entry->second->is_valid = false;
  }
  bool are_all_idle() const {
    return std::all_of(threads_.begin(), threads_.end(), [](const Thread& t) { return t.is_idle; });
  }
  void then(Thread& thread, std::function<bool()> is_ready, std::function<void()> next) {
    thread.is_ready = std::move(is_ready);
    thread.next = std::move(next);
  }
  void end(Thread& thread) {
    thread.is_idle = true;
    thread.changes_names = false;
  }

  void begin(Thread& thread) {
    thread.is_idle = false;
    thread.seen_before = seen_;
    note("thread {} begins, seen {:x}", thread.id, seen_);
    if (programs_only_look_ || one_in(2)) {
      std::string path = a_path();
      return begin_stat(thread, std::string(tree::parent_path(path)),
                        std::string(tree::base_name(path)));
    }
    thread.changes_names = true;
    const std::string& directory = one_in(2) ? kDirectories[1] : kDirectories[2];
    const std::string& name = one_of(kNames);
    then(
        thread, [this, directory] { return is_free(directory); },
        [this, &thread, directory, name, kind = pick(3)] {
          locks_of_[directory].is_exclusive = true;
          if (kind == 0) return make(thread, directory, name);
          if (kind == 1) return remove(thread, directory, name);
          rename(thread, directory, name, name == kNames[0] ? kNames[1] : kNames[0]);
        });
  }

  // ---- calls

  void begin_stat(Thread& thread, const std::string& directory, const std::string& name) {
    look_up(thread, directory, name, false, [=, this, &thread](KernelNode node) {
      std::string path = directory + "/" + name;
      if (node == 0) {
        saw(path, kAbsent, thread.seen_before);
        return end(thread);
      }
      saw_that_it_is_there(path, thread.seen_before);
      show_size(thread, directory, name, node);
    });
  }
  void show_size(Thread& thread, const std::string& directory, const std::string& name,
                 KernelNode node) {
    std::string path = directory + "/" + name;
    if (inodes_[node].has_size) {
      ++reached_.from_cache;
      saw_size({path, path_of(node)}, inodes_[node].size, thread.seen_before);
      return end(thread);
    }
    auto now_at = std::make_shared<std::string>();
    auto call = [=, this](const RequestPtr& request) {
      *now_at = path_of(node);
      names_.attributes(request, node, nullptr);
    };
    ask(thread, call, [=, this, &thread, version = version_](const Answer& answer) {
      if (answer.error != 0) {  // the path is walked again
        dentries_.erase(path);
        return begin_stat(thread, directory, name);
      }
      take_attributes(node, answer.entry, version);
      saw_size({path, *now_at}, answer.entry.attr.st_size, thread.seen_before);
      end(thread);
    });
  }
  std::string path_of(KernelNode node) const {
    std::optional<Node> found = nodes_.find(node);
    return found ? found->path : "";
  }

  // Where a change is refused the kernel keeps the names that it has. (Of some errors some kernels
  // drop them.)
  void make(Thread& thread, const std::string& directory, const std::string& name) {
    std::string path = directory + "/" + name;
    look_up(thread, directory, name, true, [=, this, &thread](KernelNode node) {
      if (node != 0) {
        saw_that_it_is_there(path, thread.seen_before);
        return unlock_and_end(thread, directory);
      }
      auto call = [=, this](const RequestPtr& request) {
        changes_.make_node(request, path, tree::Kind::kFile, 0644);
      };
      ask(thread, call, [=, this, &thread, epoch = epoch_](const Answer& answer) {
        if (answer.error == 0) {
          Inode& inode = inodes_[answer.entry.ino];  // it orders this against nothing
          inode = {answer.entry.attr.st_size, answer.entry.attr_timeout > 0, ++version_};
          install(path, answer.entry, epoch);
        }
        end_change(thread, directory, answer);
      });
    });
  }

  void remove(Thread& thread, const std::string& directory, const std::string& name) {
    std::string path = directory + "/" + name;
    look_up(thread, directory, name, true, [=, this, &thread](KernelNode node) {
      if (node == 0) {
        saw(path, kAbsent, thread.seen_before);
        return unlock_and_end(thread, directory);
      }
      auto call = [=, this](const RequestPtr& request) { changes_.remove(request, path, false); };
      ask(thread, call, [=, this, &thread](const Answer& answer) {
        if (answer.error == 0) dentries_.erase(path);
        end_change(thread, directory, answer);
      });
    });
  }

  void rename(Thread& thread, const std::string& directory, const std::string& name,
              const std::string& other) {
    look_up(thread, directory, name, true, [=, this, &thread](KernelNode node) {
      if (node == 0) {
        saw(directory + "/" + name, kAbsent, thread.seen_before);
        return unlock_and_end(thread, directory);
      }
      look_up(thread, directory, other, true, [=, this, &thread](KernelNode) {
        rename_found(thread, directory, directory + "/" + name, directory + "/" + other);
      });
    });
  }
  void rename_found(Thread& thread, const std::string& directory, const std::string& from,
                    const std::string& to) {
    auto call = [=, this](const RequestPtr& request) { changes_.rename(request, from, to, 0); };
    ask(thread, call, [=, this, &thread](const Answer& answer) {
      if (answer.error == 0) {
        auto moved = dentries_.extract(from);
        dentries_.erase(to);
        if (moved) dentries_[to] = moved.mapped();
      }
      end_change(thread, directory, answer);
    });
  }

  void end_change(Thread& thread, const std::string& directory, const Answer& answer) {
    note("thread {} has landed: {}", thread.id, answer.error);
    if (answer.error == 0) seen_ = std::max(seen_, committed_[thread.id]);
    unlock_and_end(thread, directory);
  }
  void unlock_and_end(Thread& thread, const std::string& directory) {
    locks_of_[directory].is_exclusive = false;
    end(thread);
  }

  // Nothing is under way: all that the kernel would show unasked is so in the tree.
  void check_all_that_is_kept() {
    for (const auto& [path, dentry] : dentries_) {
      if (!dentry->is_valid || dentry->epoch != epoch_) continue;
      ++reached_.from_cache;
      int64_t value = value_of(path);
      EXPECT_EQ(dentry->node, nodes_.held(path)) << path << " has another node\n" << story();
      EXPECT_EQ(dentry->node != 0, value != kAbsent) << path << "\n" << story();
      if (dentry->node == 0 || !inodes_[dentry->node].has_size) continue;
      EXPECT_EQ(inodes_[dentry->node].size, value) << path << "\n" << story();
    }
  }

  // ---- names

  using Found = std::function<void(KernelNode)>;

  // A name that the kernel has in this epoch, but may not use unasked, it asks for without a lock.
  // One that it does not have it asks for with the directory's, which callers may have already.
  void look_up(Thread& thread, const std::string& directory, const std::string& name,
               bool is_locked, const Found& found) {
    note("thread {} looks {}/{} up", thread.id, directory, name);
    std::string path = directory + "/" + name;
    auto entry = dentries_.find(path);
    bool is_of_now = entry != dentries_.end() && entry->second->epoch == epoch_;
    if (is_of_now && entry->second->is_valid) {
      ++reached_.from_cache;
      return found(entry->second->node);
    }
    if (is_of_now && entry->second->node != 0) {
      return ask_again(thread, directory, name, is_locked, entry->second, found);
    }
    dentries_.erase(path);
    if (is_locked) return ask_anew(thread, directory, name, found);
    then(
        thread,
        [this, directory, path] {
          return !locks_of_[directory].is_exclusive && !looked_up_.contains(path);
        },
        [this, &thread, directory, name, path, found] {
          if (dentries_.contains(path)) return look_up(thread, directory, name, false, found);
          ++locks_of_[directory].shared;
          looked_up_.insert(path);
          ask_anew(thread, directory, name, [this, directory, path, found](KernelNode node) {
            --locks_of_[directory].shared;
            looked_up_.erase(path);
            found(node);
          });
        });
  }
  void ask_again(Thread& thread, const std::string& directory, const std::string& name,
                 bool is_locked, const DentryPtr& dentry, const Found& found) {
    uint64_t version = version_;
    ask_for_name(thread, directory, name, [=, this, &thread](const Answer& answer) {
      std::string path = directory + "/" + name;
      if (answer.error != 0 || answer.entry.ino != dentry->node) {
        auto entry = dentries_.find(path);
        if (entry != dentries_.end() && entry->second == dentry) dentries_.erase(entry);
        return look_up(thread, directory, name, is_locked, found);
      }
      take_attributes(answer.entry.ino, answer.entry, version);
      dentry->is_valid = answer.entry.entry_timeout > 0;
      found(dentry->node);
    });
  }
  void ask_anew(Thread& thread, const std::string& directory, const std::string& name,
                const Found& found) {
    uint64_t version = version_, epoch = epoch_;
    ask_for_name(thread, directory, name, [=, this](const Answer& answer) {
      std::string path = directory + "/" + name;
      if (answer.error != 0) return found(0);
      if (epoch != epoch_) ++reached_.overtaken;
      if (answer.entry.ino != 0) {
        bool is_new = !inodes_.contains(answer.entry.ino);
        if (is_new) inodes_[answer.entry.ino];
        take_attributes(answer.entry.ino, answer.entry, is_new ? version_ : version);
      }
      install(path, answer.entry, epoch);
      found(answer.entry.ino);
    });
  }
  void ask_for_name(Thread& thread, const std::string& directory, const std::string& name,
                    const std::function<void(const Answer&)>& taken) {
    ask(
        thread,
        [this, directory, name](const RequestPtr& request) {
          names_.lookup(request, nodes_of_[directory], name);
        },
        taken);
  }
  void install(const std::string& path, const fuse_entry_param& entry, uint64_t epoch) {
    dentries_[path] = std::make_shared<Dentry>(Dentry{entry.ino, epoch, entry.entry_timeout > 0});
    note("name {}: node {}, epoch {} of {}, kept {}", path, entry.ino, epoch, epoch_,
         entry.entry_timeout);
  }
  // As of `version`: what the kernel has heard of since then is newer.
  void take_attributes(KernelNode node, const fuse_entry_param& entry, uint64_t version) {
    Inode& inode = inodes_[node];
    note("attributes of node {}: {} bytes, kept {}{}", node, entry.attr.st_size, entry.attr_timeout,
         inode.version > version ? ", but overtaken" : "");
    if (inode.version > version) {
      ++reached_.overtaken;
      return;
    }
    inode.version = ++version_;
    inode.size = entry.attr.st_size;
    inode.has_size = entry.attr_timeout > 0;
  }

  // ---- requests

  struct Asked {
    pid_t thread;
    fuse_req_t req;
    std::function<void(const RequestPtr&)> call;
  };
  void ask(Thread& thread, std::function<void(const RequestPtr&)> call,
           const std::function<void(const Answer&)>& taken) {
    addresses_.push_back(std::make_unique<char>());
    auto req = reinterpret_cast<fuse_req_t>(addresses_.back().get());
    answers_given_->askers[req] = thread.id;
    asked_.push_back({thread.id, req, std::move(call)});
    then(
        thread, [this, req] { return answers_given_->given.contains(req); },
        [this, req, taken] { taken(answers_given_->given.at(req)); });
  }
  // A FUSE worker reads one of them.
  void serve(size_t n) {
    Asked asked = asked_[n];
    asked_.erase(asked_.begin() + static_cast<std::ptrdiff_t>(n));
    fuse_in_header head = {};
    head.opcode = FUSE_LOOKUP;
    head.pid = static_cast<uint32_t>(asked.thread);
    cache_.note_request(&head, sizeof(head));
    note("served: thread {}", asked.thread);
    asked.call(std::make_shared<Request>(asked.req, answers_given_));
  }

  // ---- what the mount tells and asks

  bool is_free(const std::string& directory) {
    return !locks_of_[directory].is_exclusive && locks_of_[directory].shared == 0;
  }

  bool forget_attributes(KernelNode node) override {
    run_others();
    auto inode = inodes_.find(node);
    note("forget attributes of node {}{}", node, inode == inodes_.end() ? ": it has none" : "");
    if (inode == inodes_.end()) return false;
    inode->second.has_size = false;
    inode->second.version = ++version_;
    return true;
  }
  void forget_pages(KernelNode, std::string_view) override {}
  bool forget_name(KernelNode, const std::string&) override { return true; }  // `forget` does it
  bool forget_names() override {
    run_others();
    ++epoch_;
    ++reached_.epochs;
    note("forget all names");
    return true;
  }

  struct Expiry {
    std::string directory;
    Strings paths;
    std::shared_ptr<size_t> left;  // directories of that call
  };
  bool forget(const std::vector<NodeTable::HeldName>& names) override {
    std::map<std::string, Strings> by_directory;
    for (const NodeTable::HeldName& name : names) {
      std::string directory = nodes_.find(name.parent)->path;
      by_directory[directory].push_back(directory + "/" + name.name);
    }
    auto left = std::make_shared<size_t>(by_directory.size());
    for (const auto& [directory, paths] : by_directory)
      expiries_.push_back({directory, paths, left});
    for (int n = pick(8); n > 0 && *left > 0; --n) kernel_step();
    if (*left > 0) ++reached_.locked;
    return *left == 0;
  }
  void expire(size_t n) {
    Expiry expiry = expiries_[n];
    expiries_.erase(expiries_.begin() + static_cast<std::ptrdiff_t>(n));
    for (const std::string& path : expiry.paths) {
      auto entry = dentries_.find(path);
      if (entry == dentries_.end()) continue;
      entry->second->is_valid = false;
      ++reached_.expired;
      note("expired: {}", path);
    }
    --*expiry.left;
  }

  bool may_change_names(pid_t thread) override { return thread_of(thread).changes_names; }
  bool may_look_up(pid_t thread) override { return !thread_of(thread).is_idle; }
  Thread& thread_of(pid_t id) { return threads_[static_cast<size_t>(id - 1)]; }
  bool wait_until(const std::function<bool()>& condition) override {
    if (condition()) return true;
    ++reached_.waits;
    for (int n = pick(8); n > 0 && !condition(); --n) kernel_step();
    return condition();
  }

  std::mt19937 random_;
  Reached& reached_;
  bool is_running_ = false;
  bool may_begin_ = true;
  bool is_tree_locked_ = false;
  bool programs_only_look_ = false, names_time_out_ = false;  // in this round
  // The kernel's
  std::map<std::string, DentryPtr> dentries_;
  std::map<KernelNode, Inode> inodes_;
  std::map<std::string, Lock> locks_of_;
  std::set<std::string> looked_up_;  // anew, now
  uint64_t epoch_ = 1, version_ = 1;
  std::vector<Thread> threads_;
  std::vector<Asked> asked_;
  std::vector<Expiry> expiries_;
  std::vector<std::unique_ptr<char>> addresses_;
  std::shared_ptr<Answers> answers_given_ = std::make_shared<Answers>();
  // The test's
  std::vector<std::string> events_;
  std::map<std::string, KernelNode> nodes_of_;
  std::map<std::string, std::vector<std::pair<int64_t, int64_t>>> history_;  // zxid, value
  std::map<std::string, tree::Zxid> czxids_;
  std::deque<std::string> lately_;
  std::map<pid_t, int64_t> committed_;  // by that thread, last
  int64_t seen_ = 0;
  size_t next_size_ = 1;
  ReplayFeed replays_{*this, nodes_, reader_, writes_, answers_, replayer_, false};
  Names names_{
      {*this, nodes_, reader_, answers_, cache_, turns_, commits_, gate_, replays_, replayer_}};
};

int number_of(const char* variable, int otherwise) {
  const char* wanted = std::getenv(variable);
  return wanted == nullptr ? otherwise : std::atoi(wanted);
}

TEST(OrderModel, WhoeverSawTheSecondChangeSeesTheFirst) {
  int first = number_of("ZABFS_ORDER_FIRST", 1);
  int end = first + number_of("ZABFS_ORDER_SEEDS", kSeeds);
  Reached all;
  for (int seed = first; seed < end && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Model(static_cast<unsigned>(seed), all).run_seed();
  }
  if (testing::Test::HasFailure()) return;
  std::string what =
      fmt::format("overtaken {}, waits {}, epochs {}, expired {}, locked {}, from cache {}",
                  all.overtaken, all.waits, all.epochs, all.expired, all.locked, all.from_cache);
  std::printf("%s\n", what.c_str());
  // What the rules are for was there.
  for (int64_t count :
       {all.overtaken, all.waits, all.epochs, all.expired, all.locked, all.from_cache}) {
    EXPECT_GT(count, 0) << what;
  }
}

}  // namespace
}  // namespace zabfs::fsd
