// One open handle on a znode's data (DESIGN.md, "Reads and writes"): what it reads, what it has
// written (`WriteBuffer`), and who waits for the commit of that.
//
// Reading handles are used by any thread (their own mutex); everything about writing is on the
// strand.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "consensus/mutex.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/orphan.h"
#include "fsd/fuse/write_buffer.h"
#include "fsd/session/session.h"
#include "fsd/view/file_error.h"
#include "tree/bytes.h"
#include "tree/types.h"

namespace zabfs::fsd {

struct OpenFile {
  OpenFile() = default;
  explicit OpenFile(tree::Bytes contents) : shown(std::move(contents)) {}

  uint64_t number = 0;
  KernelNode node = 0;
  pid_t opener = 0;
  // Who opened it; and the program that was the first to write to it. A shell opens a file for the
  // program that it then becomes.
  ClientSession::Actor user;
  std::atomic<bool> has_writer{false};
  bool writable = false;

  // Reading: the version this pass over the file sees.
  Mutex shown_mutex;
  tree::Bytes shown GUARDED_BY(shown_mutex);
  bool end_told GUARDED_BY(shown_mutex) = false;  // the last read found the end
  bool cached = false;  // it reads through the page cache, which decides what it sees
  // The version of which it was told the end while there was another one. On the page cache's lane.
  tree::Zxid end_seen;

  // Its place among the readers or writers of its node (page_cache.h).
  std::shared_ptr<void> mark;

  // Writing.
  WriteBuffer written;
  // What `written` says of that, for the thread that reads a RELEASE.
  std::atomic<bool> is_only_truncated{false};
  // Its RELEASE was read while it was only truncated: requests on this path wait until that is
  // committed.
  std::string release_noted;
  bool marked_dirty = false;  // counted in the node table, under `dirty_path`
  std::string dirty_path;
  uint64_t made_inode = 0;  // the file's inode number, if the open made the file; else 0
  // Its contents, once it has no name any more; null before. Shared with the node's other handles.
  OrphanSlot orphan;
  std::atomic<bool> lost{false};  // a lock taken through it was lost with its session

  std::vector<std::function<void(FileError)>> after_commit;  // with the result of the one under way
  bool flush_timer = false;                                  // an append commits itself soon
};

}  // namespace zabfs::fsd
