// Which part of the mount answers which request, and the table through which libfuse calls it.
//
// A request may be for a znode, for a file of the control room, or come from the helper that does
// other nodes' changes once more for inotify. Here they part. Some are for several parts, and are
// put together here: a close commits what was written, and then gives up the process's locks.
//
// All functions are called on FUSE workers; none waits.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "consensus/service.h"
#include "fsd/fuse/changes.h"
#include "fsd/fuse/control_files.h"
#include "fsd/fuse/directories.h"
#include "fsd/fuse/file_locks.h"
#include "fsd/fuse/files.h"
#include "fsd/fuse/kernel_cache.h"
#include "fsd/fuse/lock_requests.h"
#include "fsd/fuse/names.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/orphans.h"
#include "fsd/fuse/past_files.h"
#include "fsd/fuse/release_gate.h"
#include "fsd/fuse/replay_feed.h"
#include "fsd/fuse/request.h"
#include "fsd/fuse/staging.h"
#include "fsd/fuse/xattrs.h"
#include "fsd/session/writer.h"

namespace zabfs::fsd {

class Operations {
 public:
  struct Parts {
    consensus::Service& service;
    const NodeReader& reader;
    NodeAnswers& answers;
    Names& names;
    Directories& directories;
    Xattrs& xattrs;
    Files& files;
    Orphans& orphans;
    Changes& changes;
    ControlFiles& control;
    Staging& staging;
    LockRequests& lock_requests;
    FileLocks& locks;
    ReplayFeed& replays;
    PastFiles& past;
    ReleaseGate& gate;
    KernelCache& cache;
    HandleNumbers& numbers;
    Writer& writer;
    Interrupts& interrupts;
    std::string data_dir;  // whose disk statfs tells of
  };

  Operations(Parts parts, std::shared_ptr<Replies> replies)
      : parts_(std::move(parts)), replies_(std::move(replies)) {}

  // libfuse's table. Its user data is an Operations*.
  static const fuse_lowlevel_ops& table();

  static void init(fuse_conn_info* connection);
  // The request with that number; on any thread of libfuse's.
  void interrupted(uint64_t number);
  RequestPtr request(fuse_req_t req, MountTimes::Kind kind) const {
    return std::make_shared<Request>(req, replies_, kind);
  }
  Names& names() { return parts_.names; }
  LockRequests& locks() { return parts_.lock_requests; }
  ControlFiles& control() { return parts_.control; }

  void getattr(const RequestPtr& request, KernelNode id, const fuse_file_info* info);
  void setattr(const RequestPtr& request, KernelNode id, const struct stat& wanted, int set,
               const fuse_file_info* info);
  void mknod(const RequestPtr& request, KernelNode parent, const std::string& name, mode_t mode);
  void mkdir(const RequestPtr& request, KernelNode parent, const std::string& name, mode_t mode);
  void symlink(const RequestPtr& request, const std::string& target, KernelNode parent,
               const std::string& name);
  void remove(const RequestPtr& request, KernelNode parent, const std::string& name,
              bool is_directory);
  void rename(const RequestPtr& request, KernelNode parent, const std::string& name,
              KernelNode new_parent, const std::string& new_name, unsigned flags);
  void create(const RequestPtr& request, KernelNode parent, const std::string& name, mode_t mode,
              const fuse_file_info& info);
  void open(const RequestPtr& request, KernelNode id, fuse_file_info info);
  void read(const RequestPtr& request, KernelNode id, size_t size, off_t offset,
            const fuse_file_info& info);
  void write(const RequestPtr& request, KernelNode id, std::string_view bytes, off_t offset,
             const fuse_file_info& info);
  void flush(const RequestPtr& request, KernelNode id, const fuse_file_info& info);
  void release(const RequestPtr& request, KernelNode id, uint64_t handle);
  void fsync(const RequestPtr& request, uint64_t handle);
  // fsync of a directory: all that was committed before, by anybody, is visible after it.
  void barrier(const RequestPtr& request);
  void statfs(const RequestPtr& request);
  void open_directory(const RequestPtr& request, KernelNode id, const fuse_file_info& info);
  void read_directory(const RequestPtr& request, KernelNode id, size_t size, off_t offset,
                      uint64_t handle);
  void close_directory(const RequestPtr& request, uint64_t handle);
  void get_xattr(const RequestPtr& request, KernelNode id, std::string_view name, size_t size);

 private:
  bool is_helper(const RequestPtr& request) const {
    return parts_.replays.is_helper(request->asker());
  }
  // None: the request is answered, with why there can be no such name.
  std::optional<std::string> child_path(const RequestPtr& request, KernelNode parent,
                                        const std::string& name) const;
  // A node of the past.
  std::optional<Node> past_node(KernelNode id) const;
  // If it is an `@/txn`.
  std::optional<Node> staging_room(KernelNode id) const;

  const Parts parts_;
  const std::shared_ptr<Replies> replies_;
};

}  // namespace zabfs::fsd
