// Makes the kernel look names up again, one by one, before a commit that changes them is visible.
//
// A name that is forgotten so is only asked for once more. Where its file is the same, everything
// that hangs on the name stays: a filesystem that is mounted on it, a working directory. If instead
// all names were forgotten, the kernel would detach those.
//
// The kernel takes the lock of the name's directory for it. A program that makes or removes a name
// there holds that lock until its request is answered, and that answer may be for the strand to
// give. So threads of this class's own do it, and the strand waits for them for a short time only.
// Where that is no way, the caller has the kernel forget all names, which never waits. Example:
//
//   1. A program makes d/a here. Its thread holds the lock of d, and waits for the commit.
//   2. Another node's removal of d/b is committed before that, and this kernel has d/b in its
//   cache.
//   3. A thread of this class would wait for the lock of d, the strand for the thread, and the
//      program for the strand.
//
// The caller asks beforehand whether a directory is locked so. If a lock comes just after that, the
// strand goes on after kLimit.
//
// While a thread has the lock, no look-up of a name that the kernel does not have is under way in
// that directory: its answer came before, or its question comes after.
#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "fsd/fuse/node_table.h"
#include "fsd/fuse/notifications.h"

namespace zabfs::fsd {

class NameForgetter {
 public:
  virtual ~NameForgetter() = default;
  // On the strand. False if not all of them are forgotten, because a directory is locked for too
  // long, there are too many, or this kernel can't (before 6.2).
  virtual bool forget(const std::vector<NodeTable::HeldName>& names) = 0;
};

class NameForgetterThreads final : public NameForgetter {
 public:
  static constexpr std::chrono::milliseconds kLimit{20};
  static constexpr size_t kMaxNames = 1'000;  // in one commit

  explicit NameForgetterThreads(Notifications& notifications) : notifications_(notifications) {}
  ~NameForgetterThreads() override { stop(); }

  bool forget(const std::vector<NodeTable::HeldName>& names) override;
  // While requests are still answered: waits for the threads.
  void stop();

 private:
  static constexpr size_t kThreads = 4;  // as many directories can be locked, and others go on

  Notifications& notifications_;
  std::atomic<size_t> waiting_{0};  // directories that are yet to be done
  boost::asio::thread_pool threads_{kThreads};
};

}  // namespace zabfs::fsd
