// flock(2), and fcntl(2) of a whole file, cluster-wide (file_locks.h); flock on `@/lock` is the
// directory's mutex.
//
// Data that was written through a handle under its lock is committed before the lock is given up:
// so who gets the lock next reads it.
//
// Requests come on FUSE workers; locks are on the strand.
#pragma once

#include <functional>
#include <optional>

#include "consensus/service.h"
#include "fsd/fuse/file_locks.h"
#include "fsd/fuse/files.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/own_writes.h"
#include "fsd/fuse/request.h"
#include "fsd/session/lock.h"

namespace zabfs::fsd {

class LockRequests {
 public:
  struct Parts {
    consensus::Service& service;
    const NodeReader& reader;
    OwnWrites& writes;
    Interrupts& interrupts;
    Files& files;
    FileLocks& locks;
  };

  explicit LockRequests(const Parts& parts) : parts_(parts) {}

  // `operation` is flock(2)'s.
  void flock(const RequestPtr& request, KernelNode id, const fuse_file_info& info, int operation);
  // F_SETLK, or F_SETLKW if it waits.
  void set(const RequestPtr& request, KernelNode id, const fuse_file_info& info,
           const struct flock& wanted, bool wait);
  // F_GETLK. The holder may be on another node, whose pids mean nothing here: then the pid is 0.
  void get(const RequestPtr& request, KernelNode id, const fuse_file_info& info,
           const struct flock& wanted);

 private:
  void lock(const RequestPtr& request, const Node& node, const FileLocks::Key& key, uint64_t handle,
            std::optional<LockMode> mode, bool wait);
  void take(const RequestPtr& request, const Node& node, const FileLocks::Key& key, uint64_t handle,
            LockMode mode, bool wait);
  void give_up(const FileLocks::Key& key, uint64_t handle, std::function<void()> done);

  const Parts parts_;
};

}  // namespace zabfs::fsd
