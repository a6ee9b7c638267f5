// The kernel's side of the mount: the FUSE session, the mount point, the threads that serve it, and
// the notifications (FUSE.md).
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <atomic>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "consensus/mutex.h"
#include "fsd/fuse/connection_guard.h"
#include "fsd/fuse/notifications.h"
#include "tree/status.h"

namespace zabfs::fsd {

class Kernel : public Notifications {
 public:
  ~Kernel() override;

  // Mounts. `userdata` is what the operations get. On the thread whose end is the daemon's end.
  Status mount(const std::string& point, const std::string& options,
               const fuse_lowlevel_ops& operations, void* userdata);
  // Serves requests until the mount is gone. `before` sees each request before it is handled, and
  // before any later one is read.
  void serve(int threads, std::function<void(const void* request, size_t size)> before,
             std::function<void()> on_end);
  void unmount();
  void join();

  bool forget_attributes(KernelNode node) override;
  void forget_pages(KernelNode node, std::string_view data) override;
  bool forget_name(KernelNode parent, const std::string& name) override;
  bool forget_names() override;
  const std::string& point() const { return point_; }

 private:
  void run();
  int receive(fuse_buf& buffer) REQUIRES(receive_mutex_);

  ConnectionGuard guard_;
  fuse_session* session_ = nullptr;
  std::string point_;
  Mutex unmount_mutex_;
  bool mounted_ GUARDED_BY(unmount_mutex_) = false;
  // One thread reads at a time, so that `before` sees requests in their order.
  Mutex receive_mutex_;
  // In a row, each soon after the one before.
  int dense_requests_ GUARDED_BY(receive_mutex_) = 0;
  bool has_cpus_ = std::thread::hardware_concurrency() > 1;
  std::function<void(const void*, size_t)> before_;
  std::function<void()> on_end_;
  std::vector<std::thread> threads_;
  std::atomic<int> running_{0};
  std::atomic<bool> unmounted_{false};
};

}  // namespace zabfs::fsd
