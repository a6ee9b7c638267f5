// One open handle on a znode's data: what it reads, what it has written and not committed, and how
// that is committed (DESIGN.md, "Reads and writes").
//
// Reading handles are used by any thread (their own mutex); everything about writing is on the
// strand.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "fsd/fuse/node_table.h"
#include "tree/bytes.h"
#include "tree/request.h"

namespace zabfs::fsd {

struct OpenFile {
  uint64_t number = 0;
  KernelNode node = 0;
  int flags = 0;
  pid_t opener = 0;
  bool writable = false;

  // Reading: the version this pass over the file sees.
  std::mutex shown_mutex;  // guards shown and end_told
  tree::Bytes shown;
  bool end_told = false;  // the last read found the end
  bool cached = false;    // it reads through the page cache, which decides what it sees
  // The version of which it was told the end while there was another one. On the page cache's lane.
  tree::Zxid end_seen;

  // Its place among the readers or writers of its node (page_cache.h).
  std::shared_ptr<void> mark;

  // Writing.
  tree::Zxid czxid;
  bool unconditional = false;  // opened with O_TRUNC: whole contents, whatever they replace
  int32_t base_version = 0;    // else: the version it edits
  tree::Bytes base;
  std::optional<std::string> content;  // this handle's own image, once it has written
  std::string appended;                // O_APPEND writes not yet committed
  bool dirty_content = false;
  std::optional<tree::Time> set_mtime;  // by utimens, while data was uncommitted
  bool stale = false;                   // lost a compare-and-set, for good
  // The error of the first change of its contents that was refused. From there on all are, and
  // nothing is committed: neither half of the new contents, nor their truncation alone.
  int failed = 0;
  bool dropped = false;  // what had been taken before was dropped with it: close and fsync say so
  int append_error = 0;  // of an append that was refused while nobody waited for it
  // A truncation by open, alone so far.
  std::atomic<bool> bare_truncation{false};
  int opener_flushes = 0;
  // Its RELEASE was read while it was bare: requests on this path wait until it is committed.
  std::string release_noted;
  bool marked_dirty = false;  // counted in the node table, under `dirty_path`
  std::string dirty_path;

  // In which a lock is held through it: what is written under that is committed in this session or
  // not at all, because by the next session somebody else may hold the lock.
  tree::SessionId lock_session;
  std::atomic<bool> lost{false};  // a lock taken through it was lost with its session

  bool committing = false;
  std::vector<std::function<void(int)>> after_commit;  // with the result of the one under way
  bool flush_timer = false;                            // an append commits itself soon

  bool is_dirty() const { return dirty_content || !appended.empty(); }
};

}  // namespace zabfs::fsd
