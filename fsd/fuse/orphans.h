// Requests on files that have no name any more (orphan.h).
//
// A file becomes an orphan when its znode goes while handles are open: `gone` gives them its
// contents. A file that nobody has open is remembered for a little while, too:
//
//   1. A program calls open. The kernel looks the name up, and the mount answers.
//   2. Another node removes the file.
//   3. The kernel asks to open the node that it has found. On a local filesystem that succeeds. So
//   it
//      does here.
//
// Requests come on FUSE workers; `gone` and `write` are on the strand.
#pragma once

#include <deque>
#include <memory>
#include <string_view>
#include <utility>

#include "consensus/mutex.h"
#include "fsd/fuse/file_commits.h"
#include "fsd/fuse/handle_table.h"
#include "fsd/fuse/node_answers.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/open_files.h"
#include "fsd/fuse/orphan.h"
#include "fsd/fuse/page_turns.h"
#include "fsd/fuse/request.h"

namespace zabfs::fsd {

class Orphans {
 public:
  Orphans(NodeTable& nodes, OpenFiles& open, NodeAnswers& answers, PageTurns& turns,
          FileCommits& commits, HandleNumbers& numbers, size_t max_file_bytes)
      : nodes_(nodes),
        open_(open),
        answers_(answers),
        turns_(turns),
        commits_(commits),
        numbers_(numbers),
        space_(max_file_bytes) {}

  // The file of a node has no name any more; it had these contents last. Under the tree's lock.
  void gone(KernelNode id, const tree::Bytes& last);
  // False if the contents of that node are not known.
  bool open(const RequestPtr& request, KernelNode id, const fuse_file_info& info);
  // Its size, mode, owner or times (FUSE_SET_ATTR_*). False if it is not open.
  bool set_attributes(const RequestPtr& request, KernelNode id, const struct stat& wanted, int set);
  // Through a handle that has an orphan.
  void write(const RequestPtr& request, OpenFile& file, std::string_view bytes, off_t offset,
             int flags);

 private:
  std::shared_ptr<Orphan> find(KernelNode id);

  NodeTable& nodes_;
  OpenFiles& open_;
  NodeAnswers& answers_;
  PageTurns& turns_;
  FileCommits& commits_;
  HandleNumbers& numbers_;
  OrphanSpace space_;
  static constexpr size_t kMaxLately = 64;
  Mutex mutex_;
  std::deque<std::pair<KernelNode, tree::Bytes>> lately_ GUARDED_BY(mutex_);  // the newest last
};

}  // namespace zabfs::fsd
