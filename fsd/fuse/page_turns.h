// Contents through the kernel's page cache (page_cache.h): who may use it, and how readers and
// writers of one file are kept apart.
//
// The rules are PageCache's. This class gives them the time and the threads, and does what they ask
// for: it waits, and it changes a node's size and pages in the kernel (a node's "turn" to another
// version). An example, on one node:
//
//   1. `tail -f` has f open through the page cache, at version 1, and has read it to its end.
//   2. Version 2 of f is committed. The kernel forgets the attributes that it had.
//   3. `tail` reads on. The kernel asks for the attributes first (GETATTR), by tail's handle:
//   `ask`.
//   4. The lane turns f: READs give version 2 from here on, and the kernel's size and pages are
//      changed. Then the GETATTR is answered, and `tail` reads the new version.
//
// Turns are on a lane of their own, one at a time, because changing the pages waits for READs that
// FUSE workers have to answer. Thread-safe, unless a function says otherwise.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "consensus/lane.h"
#include "consensus/service.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/notifications.h"
#include "fsd/fuse/open_file.h"
#include "fsd/fuse/page_cache.h"
#include "fsd/fuse/reader_threads.h"
#include "fsd/fuse/request.h"

namespace zabfs::fsd {

class PageTurns {
 public:
  // Contents that did not change for `cache_after_ms` are read through the page cache; 0: never.
  PageTurns(consensus::Service& service, Notifications& notifications, const NodeTable& nodes,
            const NodeReader& reader, int64_t cache_after_ms);
  // While READs are still answered.
  void stop() { lane_.stop(); }

  // Under the tree's lock: a file is opened for reading. What it uses is over with its last holder.
  PageCache::Use open(const tree::Tree& tree, const Node& node, const tree::ZNode& znode,
                      OpenFile& file);
  // A file is open for writing, until the mark's last holder goes.
  std::shared_ptr<void> mark_writer(KernelNode id);

  // On the strand, before an open for writing is answered: `then` runs once readers have closed, or
  // know that they are to ask before they read.
  void before_writing(KernelNode id, std::function<void()> then);
  // On the strand, before the answer to what makes the kernel change a size by itself: first `then`
  // runs apart from reads, and right before it gives the answer it tells who gets it.
  void apart_from_reads(KernelNode id, std::function<void()> then);
  void kernel_wrote(KernelNode id, pid_t thread);

  // What a READ of the page cache gives; nothing where nobody reads through it. The caller tells
  // when it has answered.
  std::optional<tree::Bytes> shown(KernelNode id, uint64_t handle);
  void shown_answered(KernelNode id);
  // Under the tree's lock: how attributes are told to a thread, which `st` has of version
  // `current`. `ordered`: the kernel drops this answer if it is told to forget meanwhile.
  PageCache::Told tell(KernelNode id, tree::Zxid current, pid_t thread, bool ordered,
                       struct stat& st);
  // Attributes that the kernel takes in any case, of a file that was removed: where it has pages of
  // it, it must get the size of those.
  void tell_shown(KernelNode id, struct stat& st) const;
  // For `Told::kWait`.
  void tell_later(KernelNode id, std::function<void()> then);
  // A GETATTR by a handle that reads through the page cache: the kernel asks so before it looks at
  // the pages. `answer` answers it if the current version is shown.
  using Answer = std::function<void(const RequestPtr& request)>;
  void ask(const RequestPtr& request, KernelNode id, const std::shared_ptr<OpenFile>& file,
           Answer answer);

  // Whether a znode did not change for so long that no answer from before can be on its way.
  bool is_calm(const tree::ZNode& znode);
  // On the strand. The kernel is to forget a node's attributes before a change of it, if true.
  bool must_forget(KernelNode id) { return pages_->must_forget(id); }
  // On the strand: the change is visible.
  void end_change();
  // The kernel has forgotten the node.
  void forget(KernelNode id) { pages_->forget(id); }

 private:
  struct Question {
    RequestPtr request;
    KernelNode id;
    std::shared_ptr<OpenFile> file;
    pid_t thread;
    ThreadWait wait;
    Answer answer;
    bool at_end = false;  // of the handle's own version, while there is another one
  };
  Version version_of(const tree::Tree& tree, const tree::ZNode& znode,
                     const std::string& path) const;
  std::optional<Version> current_version(KernelNode id) const;
  void wait_for_readers(KernelNode id, int tries, std::function<void()> then);
  void apart_from_reads(KernelNode id, std::shared_ptr<ThreadWait> wait,
                        std::function<void()> then);
  bool may_copy(KernelNode id, pid_t but, ThreadWait& wait) const;
  bool may_land(KernelNode id, pid_t but, ThreadWait& wait) const;
  void ask_again(const std::shared_ptr<Question>& question);
  void turn(const std::shared_ptr<Question>& question);
  static bool is_in_middle(Question& question, std::optional<uint64_t> offset, const Version& own,
                           const Version& current);
  void reply_shown(const Question& question, const Version& shown);

  consensus::Service& service_;
  Notifications& notifications_;
  const NodeTable& nodes_;
  const NodeReader& reader_;
  const bool is_on_;
  const std::shared_ptr<PageCache> pages_;  // open files that outlive the mount leave it
  consensus::Lane lane_{"zabfs-pages"};
};

}  // namespace zabfs::fsd
