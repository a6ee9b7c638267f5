// The kernel's side of the mount: the FUSE session, the mount point, the threads that serve it, and
// the notifications (FUSE.md). Only notifications that never block are sent (attributes of one
// node, the epoch of all names), but for `forget_pages`.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace zabfs::fsd {

class Kernel {
 public:
  ~Kernel();

  // Mounts. `userdata` is what the operations get.
  std::string mount(const std::string& point, const std::string& options,
                    const fuse_lowlevel_ops& operations, void* userdata);
  // Serves requests until the mount is gone. `before` sees each request before it is handled, and
  // before any later one is read.
  void serve(int threads, std::function<void(const void* request, size_t size)> before,
             std::function<void()> on_end);
  void unmount();
  void join();

  // False if the kernel does not have that node: it was never looked up, the kernel has forgotten
  // it, or the answer to its first look-up has not got to who asked.
  bool forget_attributes(fuse_ino_t node);
  // Makes the kernel read a file's pages again, and believe that there are at least `size` bytes:
  // the last READ tells it if there are fewer. Waits for READs of that node under way; so not for
  // threads that READs need.
  void forget_pages(fuse_ino_t node, std::string_view data);
  // Makes the kernel look every name up again; false if it can't (before 6.16).
  bool forget_names();
  const std::string& point() const { return point_; }

 private:
  void run();
  int receive(fuse_buf& buffer);

  fuse_session* session_ = nullptr;
  std::string point_;
  bool mounted_ = false;
  // One thread reads at a time, so that `before` sees them in order; guards dense_requests_.
  std::mutex receive_mutex_;
  int dense_requests_ = 0;  // in a row, each soon after the one before
  bool has_cpus_ = std::thread::hardware_concurrency() > 1;
  std::mutex unmount_mutex_;  // guards mounted_
  std::function<void(const void*, size_t)> before_;
  std::function<void()> on_end_;
  std::vector<std::thread> threads_;
  std::atomic<int> running_{0};
  std::atomic<bool> unmounted_{false};
};

}  // namespace zabfs::fsd
