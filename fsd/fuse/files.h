// Contents of files through open handles: open, create, read, write, truncate, close (DESIGN.md,
// "Reads and writes"; FUSE.md, "Shell writes").
//
// Each write of a program passes through here on its way to the handle's `WriteBuffer`. Commits go
// out by `FileCommits`. Files knows no locks: Operations composes "commit, then unlock", and
// FileLocks tells here what a handle has got or lost.
//
// Requests come on FUSE workers. Reading handles are answered there. Everything about writing is on
// the strand.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "consensus/service.h"
#include "fsd/fuse/file_commits.h"
#include "fsd/fuse/file_locks.h"
#include "fsd/fuse/handle_table.h"
#include "fsd/fuse/node_answers.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/notifications.h"
#include "fsd/fuse/open_file.h"
#include "fsd/fuse/open_files.h"
#include "fsd/fuse/orphans.h"
#include "fsd/fuse/own_writes.h"
#include "fsd/fuse/page_turns.h"
#include "fsd/fuse/release_gate.h"
#include "fsd/fuse/request.h"
#include "fsd/fuse/txn_view.h"
#include "fsd/session/session.h"

namespace zabfs::fsd {

class Files {
 public:
  using FilePtr = std::shared_ptr<OpenFile>;
  struct Parts {
    consensus::Service& service;
    Notifications& notifications;
    NodeTable& nodes;
    OpenFiles& open;
    const NodeReader& reader;
    NodeAnswers& answers;
    PageTurns& turns;
    OwnWrites& writes;
    FileCommits& commits;
    Orphans& orphans;
    ReleaseGate& gate;
    HandleNumbers& numbers;
    const ClientSession& session;
    const FileLocks& locks;
  };

  explicit Files(const Parts& parts) : parts_(parts) {}

  // ---- requests
  void open(const RequestPtr& request, const Node& node, fuse_file_info info);
  // Without O_EXCL a file that somebody else made in between is opened.
  void create(const RequestPtr& request, const std::string& path, mode_t mode, fuse_file_info info);
  void read(const RequestPtr& request, KernelNode id, size_t size, off_t offset,
            const fuse_file_info& info);
  void write(const RequestPtr& request, KernelNode id, std::string bytes, off_t offset,
             const fuse_file_info& info);
  // A close by a process; the handle may have others. `reply` gets what close(2) returns.
  void flush(uint64_t handle, pid_t by, FileCommits::Done reply);
  // False if that handle has nothing to commit, ever.
  bool fsync(const RequestPtr& request, uint64_t handle);
  // The handle is no more; `done` runs when what it wrote is committed. On the strand.
  void release(uint64_t handle, std::function<void()> done);

  // ---- sizes and attributes, on the strand
  // truncate(2), or ftruncate(2) by a handle. The request is answered if it fails; else `then`
  // runs.
  void resize(const RequestPtr& request, KernelNode id, off_t size, uint64_t handle,
              std::function<void()> then);
  // It was refused because there is no leader.
  void resize_refused(uint64_t handle, FileError error);
  // A change of attributes, as long as there is data to be committed that it can go with
  // (`WriteBuffer`). `change.base` is what is committed. Gives what is to be committed at once.
  tree::PosixChange defer(const Node& node, const tree::PosixChange& change);

  // ---- what happens to them
  // Before the nodes follow a rename: handles go along. Under the tree's lock.
  void follow(std::span<const tree::Change> changes, const RenameSeen& rename);
  void lock_granted(uint64_t handle);
  void lock_given_up(uint64_t handle);
  void lock_lost(uint64_t handle);
  // Before its lock is given up: commits what was written under it.
  void commit(uint64_t handle, std::function<void()> done);
  // A request was read: if it is the RELEASE of a handle that only truncated its file, requests on
  // that file wait for it. On a FUSE worker.
  void note_request(const void* request, size_t size);

  FilePtr find(uint64_t handle) const { return parts_.open.find(handle); }

 private:
  size_t max_file_bytes() const {
    return parts_.service.replica().config().prepare.limits.data_bytes();
  }
  FilePtr make(const Node& node, const fuse_file_info& info, const Asker& by,
               const tree::ZNode& znode, bool is_new);
  void open_znode(const RequestPtr& request, const Node& node, fuse_file_info info);
  // False if the kernel was told of an error, or nothing.
  bool reply_created(const RequestPtr& request, const std::string& path, fuse_file_info info,
                     bool is_new);
  void read_in_one_version(const RequestPtr& request, KernelNode id, OpenFile& file, size_t size,
                           off_t offset);
  void write_to(const RequestPtr& request, const FilePtr& file, const std::string& bytes,
                off_t offset, int flags);
  void truncate(const RequestPtr& request, KernelNode id, off_t size, int tries,
                std::function<void()> then);
  void truncate_for_appends(const RequestPtr& request, KernelNode id, const fuse_file_info& info,
                            std::function<void()> then);
  bool is_appended_by_others(const OpenFile& file, const WriteBuffer::Committed& now) const;
  void drop_setuid(const Node& node, std::function<void()> then);
  bool is_unheard_at_close(const OpenFile& file) const {
    return !file.writable && !parts_.locks.has_process_locks();
  }

  const Parts parts_;
};

}  // namespace zabfs::fsd
