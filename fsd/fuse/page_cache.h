// Which version of a file the kernel's page cache shows, so that readers can use the cache and see
// nothing but whole versions, in their order.
//
// The kernel keeps two things of a file apart: its size, which comes with attributes, and its
// pages, which come with READs. It lets readers in between the two. Left to itself it tears one
// change in ten under a reader (with AUTO_INVAL_DATA). So the mount changes size and pages of a
// node together.
//
// For each node that is open through the page cache this class remembers the version that the
// kernel's size and pages are of (`shown`). READs are answered from that version. When another
// version is committed, two things happen:
//
// - The kernel is made to forget the attributes, and the next answer with attributes is outdated on
//   its way: the kernel drops an answer that a notification overtook. A file that is opened now
//   bypasses the page cache.
// - A reader that reads on makes the kernel ask for attributes first, by the reader's handle. The
//   kernel waits for the answer. A reader in the middle of the file goes on in the version that is
//   shown. For a reader at the beginning, or past an end that it was told, the node is turned to
//   the new version: NOTIFY_STORE stretches the size, the pages are dropped, and the short READ
//   that follows cuts the size. Until then nothing may outdate that READ.
//
// A local writer's process changes the kernel's size by itself, when it gets to the answer of its
// WRITE. So a node has either readers through the page cache or writers. An open for writing waits
// a few milliseconds for the readers to close. If they stay open (`tail -f`), WRITEs and the READs
// are kept kWriterUs apart, and longer while the writer's thread waits for a CPU. Answers to chmod
// and the like carry a size as well. So a version is
// cached only after it was visible for so long that no older answer can still be on its way.
//
// Size and pages must not change while a reader that was answered is still copying. So before a
// change the mount looks at the threads that use the node (reader_threads.h).
//
// Two processes may have one node open over a change, where one sleeps in the middle of the file
// and the other starts over. Each handle has the version that its pass through the file began with.
// So the node is turned back to the old version when the sleeper reads on, and forward again for
// the other.
//
// One case remains. `splice` and `mmap` don't ask. Through a handle that was opened before a change
// they see the version that was shown last, until somebody reads.
//
// Pure but for its lock: the time is given, in microseconds of any steady clock. Thread-safe. Lock
// order: the tree's lock, then this.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "consensus/mutex.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/reader_threads.h"
#include "tree/bytes.h"

namespace zabfs::fsd {

// One version of a file's contents. A file's zxids of modification differ.
struct Version {
  tree::Zxid mzxid;
  tree::Bytes data;
  timespec mtime;
  uint64_t inode = 0;
};

class PageCache {
 public:
  // How far apart a read of pages and a change of their size are kept.
  static constexpr int64_t kApartUs = 2'000;
  // The same where the size is changed by a local writer's process, when that gets to it.
  static constexpr int64_t kWriterUs = 50'000;
  // How long a node that is to be turned waits for its other readers to close, who may be in the
  // middle of the file; and for those that stayed the last time.
  static constexpr int64_t kOthersUs = 500'000;
  static constexpr int64_t kStayingUs = 10'000;

  // kCold and kWarm: through the page cache, and what pages there are can't, or can, be used.
  enum class Use { kDirect, kCold, kWarm };

  // A version must have been visible for `calm_us`: answers made before it was, which the kernel
  // doesn't order, are all over by then.
  explicit PageCache(int64_t calm_us) : calm_us_(calm_us) {}

  // All versions up to that one are visible.
  void published(tree::Zxid last, int64_t now_us);
  // Whether all of that was visible for long enough.
  bool is_calm(tree::Zxid zxid, int64_t now_us);
  Use open(KernelNode node, uint64_t handle, pid_t thread, const Version& current, int64_t now_us);
  void close(KernelNode node, uint64_t handle);
  void writer_opened(KernelNode node);
  void writer_closed(KernelNode node);
  // The kernel has forgotten the node.
  void forget(KernelNode node);

  bool has_readers(KernelNode node) const;
  // They didn't close when somebody waited for it, and won't soon.
  bool readers_stay(KernelNode node);
  void set_readers_stay(KernelNode node);

  // How attributes of a version are to be told: kTake lets the kernel keep them, kOnce uses them
  // once. Those of kApart must be outdated on their way, for which the kernel was made to forget
  // them in here; kWait is for them, too, while that would outdate a READ that cuts a size.
  enum class Told { kTake, kOnce, kApart, kWait };
  Told tell(KernelNode node, tree::Zxid current, int64_t now_us,
            const std::function<void()>& forget);
  // How long kWait may last. The readers' next turn comes after it.
  int64_t wait_to_tell(KernelNode node, int64_t now_us);
  // What must be told in an answer that the kernel takes in any case; nothing if `current` may be.
  // The kernel takes it when `thread`, which gets it, runs.
  std::optional<Version> unordered(KernelNode node, tree::Zxid current, pid_t thread,
                                   int64_t now_us);
  // Whether the kernel is to forget the attributes before another version is committed: not if it
  // asks before each read anyway, for that would outdate a READ, too.
  bool must_forget(KernelNode node);
  // The change is visible.
  void end_change();

  // What a READ of pages gives; nothing where nobody reads through the page cache.
  std::optional<tree::Bytes> pages(KernelNode node, uint64_t handle, int64_t now_us);
  // The kernel has that answer, and with it has cut the size.
  void pages_answered(KernelNode node, int64_t now_us);

  // For a reader that asks before it reads, and must not be told of `current` just so.
  struct Found {
    Version shown;
    Version own;   // that its pass through the file began with
    bool spoiled;  // the kernel may have another size
  };
  std::optional<Found> asked(KernelNode node, uint64_t handle, pid_t thread, tree::Zxid current);
  // What a question waits for, and its thread with it: to go on in the version that is shown, or
  // for the node's turn.
  enum class Wait { kNone, kSame, kTurn };
  void set_waiting(KernelNode node, uint64_t handle, pid_t thread, Wait wait);
  // How long one that was asked at `since_us` has to wait before size and pages change.
  int64_t wait_to_show(KernelNode node, uint64_t handle, Wait wait, int64_t since_us,
                       int64_t now_us);
  // The threads that may be reading, as far as they are known: by opens and questions. Not those
  // that wait, nor `but`.
  std::vector<AnsweredThread> threads(KernelNode node, pid_t but);
  // The version that is shown; nothing where nobody reads through the page cache.
  std::optional<Version> shown(KernelNode node);
  // The inode numbers that /proc may give to the node: of the versions that were shown. A file that
  // was renamed over it has another number.
  std::set<uint64_t> inodes(KernelNode node);
  // A handle begins another pass, in the version that is shown.
  void begin_pass(KernelNode node, uint64_t handle);
  // From here on READs give that version, and the handle is in it; false if the node has no readers
  // any more. The kernel's size and pages are to be changed then, and `showed` tells that they
  // were.
  bool show(KernelNode node, uint64_t handle, const Version& version, int64_t now_us);
  void showed(KernelNode node, int64_t now_us);
  // How long an operation has to wait that makes the kernel change the size by itself.
  int64_t wait_to_write(KernelNode node, int64_t now_us);
  // It is answered: the kernel changes the size when `thread` runs.
  void wrote(KernelNode node, pid_t thread, int64_t now_us);
  // The threads that may have to hear of such an answer yet; and that one has.
  std::vector<AnsweredThread> landing(KernelNode node);
  void landed(KernelNode node, pid_t thread);

 private:
  struct Reader {
    Version own;
    struct Thread {
      Wait wait = Wait::kNone;
      uint64_t answer = 0;
    };
    std::map<pid_t, Thread> threads;
    bool stays = false;  // it didn't close for another one that the node was to be turned for
    bool turns() const;
  };
  // What pages and size the kernel has of a node. One that nobody reads has no state.
  //
  //              READ by one of them            show            READ (it cuts the size)
  //     kCold ------------------------> kWarm ----+  +--> kStretched --------> kTurned
  //       |                                       |  |                            |
  //       |  show                                 v  | showed                     | show
  //       +-----------------------------------> kTurning <------------------------+
  //
  // The first open begins with kWarm if the last readers left pages of that version, else with
  // kCold. `show` can come in any state.
  enum class Pages {
    kCold,       // pages may be of another version; the size is as some attributes told
    kWarm,       // all pages are of `shown`; the size is as some attributes told
    kTurning,    // size and pages are being changed to those of `shown`
    kStretched,  // that is done, but for the READ that cuts a size which was larger before
    kTurned,     // all pages are of `shown`, and so is the size
  };
  //
  //                must_forget               end_change
  //     kKept ----------------> kChanging ---------------> kAsked
  //       ^                         ^   must_forget          |  ^
  //       |                         +------------------------+  | show
  //       +--------------------------------------------------+  |
  //       |     `tell` of the version that all are in: kTake    |
  //       +-----------------------------------------------------+
  enum class Attributes {
    kKept,      // the kernel may take those that it has for valid
    kChanging,  // others are about to be visible: none are to be kept
    kAsked,     // it has none, so it asks before each read
  };
  struct Readers {
    Version shown;
    std::set<uint64_t> inodes;  // of those that were shown
    std::map<uint64_t, Reader> handles;
    // Were given answers that let the kernel change the size by itself; the last of each.
    std::map<pid_t, uint64_t> landing;
    Pages pages = Pages::kCold;
    Attributes attributes = Attributes::kKept;
    bool spoiled = false;    // a writer's process or an unordered answer may have set another size
    bool stay = false;       // they didn't close for a writer
    int64_t read_us = 0;     // the last READ
    int64_t shown_us = 0;    // the size was changed last
    int64_t wrote_us = 0;    // the last answer that lets the kernel change the size by itself
    int64_t tell_us = 0;     // attributes wait to be told then
    int64_t waiting_us = 0;  // until then writers pause for a reader
    bool is_clean() const { return pages != Pages::kCold && pages != Pages::kTurning; }
    bool is_measured() const { return pages != Pages::kCold && pages != Pages::kWarm; }
    bool is_cut() const { return pages != Pages::kTurning && pages != Pages::kStretched; }
    // All handles are in that version. One that is in another has to ask before it reads on.
    bool are_in_it() const;
    bool is_settled(int64_t now_us) const { return is_cut() && now_us >= shown_us + kApartUs; }
  };
  struct Published {
    int64_t first_us, last_us;  // of the publications in it
    tree::Zxid last;
  };
  Readers* find(KernelNode node) REQUIRES(mutex_);
  void age(int64_t now_us) REQUIRES(mutex_);

  const int64_t calm_us_;
  mutable Mutex mutex_;
  std::deque<Published> published_ GUARDED_BY(mutex_);
  tree::Zxid calm_ GUARDED_BY(mutex_);  // all up to here were visible for long enough
  std::unordered_map<KernelNode, Readers> readers_ GUARDED_BY(mutex_);
  std::unordered_map<KernelNode, int> writers_ GUARDED_BY(mutex_);
  std::vector<KernelNode> changing_ GUARDED_BY(mutex_);
  uint64_t answers_ GUARDED_BY(mutex_) = 0;
  std::unordered_map<KernelNode, tree::Zxid> left_
      GUARDED_BY(mutex_);  // pages of nodes without readers: of what
};

}  // namespace zabfs::fsd
