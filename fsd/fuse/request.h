// A request of the kernel that waits for its answer.
//
// Some requests are answered on the spot, by the thread that read them. Others wait: for the
// strand, a leader, a commit, or a lock. All are held as a `RequestPtr`. So three rules are kept in
// one place:
//
//   - A request is answered exactly once. A second answer is a fault of the mount's: libfuse has
//     freed the request by then. It is logged and ends the daemon.
//   - No request is forgotten. If the last holder goes without an answer, the program that asked
//     would hang for good. So the request is answered with EIO, and the log says so.
//   - An interrupt reaches the request that it names, if that still waits. A race shows why it
//     names it by number (`Interrupts`):
//       1. A thread waits for a lock and gets a signal. A worker reads the INTERRUPT.
//       2. The strand grants the lock and answers, and libfuse frees the request.
//       3. The worker's interrupt gets to the strand. Its number is not known any more.
//
// Answers go through `Replies`. Behind it is libfuse in the daemon, and a record in a test.
//
// A request is handed from thread to thread; one at a time uses it.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fsd/fuse/errno.h"
#include "fsd/fuse/mount_times.h"
#include "fsd/view/file_error.h"

namespace zabfs::fsd {

// Who asks, as the kernel says with each request.
struct Asker {
  pid_t pid = 0;  // of the thread; 0: it is in a pid namespace that this daemon does not see
  uid_t uid = 0;
  gid_t gid = 0;
};

// Each answer returns what libfuse does: 0, or that the process which asked is gone.
class Replies {
 public:
  Replies() = default;
  virtual ~Replies() = default;
  Replies(const Replies&) = delete;
  Replies& operator=(const Replies&) = delete;

  virtual Asker asker(fuse_req_t req) = 0;
  // All groups of who asks, its own aside. False if they can't be known: the process is gone, or in
  // another pid namespace.
  virtual bool groups(fuse_req_t req, std::vector<gid_t>& groups) = 0;

  virtual int done(fuse_req_t req, int error) = 0;
  virtual int entry(fuse_req_t req, const fuse_entry_param& entry) = 0;
  virtual int attributes(fuse_req_t req, const struct stat& st, double seconds) = 0;
  virtual int link(fuse_req_t req, const std::string& target) = 0;
  virtual int opened(fuse_req_t req, const fuse_file_info& info) = 0;
  virtual int created(fuse_req_t req, const fuse_entry_param& entry,
                      const fuse_file_info& info) = 0;
  virtual int written(fuse_req_t req, size_t size) = 0;
  virtual int bytes(fuse_req_t req, std::string_view bytes) = 0;
  virtual int xattr_size(fuse_req_t req, size_t size) = 0;
  virtual int lock(fuse_req_t req, const struct flock& lock) = 0;
  virtual int filesystem(fuse_req_t req, const struct statvfs& st) = 0;
  virtual int polled(fuse_req_t req, unsigned events) = 0;
  // An interrupt of it is to be told of by this number.
  virtual void heed_interrupts(fuse_req_t req, uint64_t number) = 0;

  // The session with the kernel ends. Closures that are left over may be freed after it, with the
  // requests that they hold; those are not answered any more.
  void close() { is_closed_ = true; }
  bool is_closed() const { return is_closed_; }
  // How long requests took until they were answered.
  MountTimes& times() { return times_; }

 private:
  std::atomic<bool> is_closed_{false};
  MountTimes times_;
};

// Those of libfuse. It calls `interrupted` on any thread, with the number as its data.
std::shared_ptr<Replies> make_replies(fuse_interrupt_func_t interrupted);

// The requests that can be interrupted now. On the strand.
class Interrupts {
 public:
  uint64_t add(std::function<void()> cancel);
  void erase(uint64_t number) { cancels_.erase(number); }
  // Nothing happens if that request was answered meanwhile.
  void interrupt(uint64_t number);

 private:
  std::unordered_map<uint64_t, std::function<void()>> cancels_;
  uint64_t next_ = 1;
};

class Request {
 public:
  Request(fuse_req_t req, std::shared_ptr<Replies> replies,
          MountTimes::Kind kind = MountTimes::Kind::kOther)
      : req_(req), replies_(std::move(replies)), kind_(kind), since_(MountTimes::Clock::now()) {}
  ~Request();
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  bool is_answered() const { return req_ == nullptr; }
  // Until it is answered.
  Asker asker() const { return replies_->asker(unanswered()); }
  bool groups(std::vector<gid_t>& groups) const { return replies_->groups(unanswered(), groups); }

  // An errno; 0 if all went well and there is nothing more to say.
  int reply(int error) { return replies_->done(take(), error); }
  int reply(FileError error) { return reply(to_errno(error)); }
  int reply_entry(const fuse_entry_param& entry) { return replies_->entry(take(), entry); }
  // The kernel may keep them for so long.
  int reply_attributes(const struct stat& st, double seconds) {
    return replies_->attributes(take(), st, seconds);
  }
  int reply_link(const std::string& target) { return replies_->link(take(), target); }
  int reply_opened(const fuse_file_info& info) { return replies_->opened(take(), info); }
  int reply_created(const fuse_entry_param& entry, const fuse_file_info& info) {
    return replies_->created(take(), entry, info);
  }
  int reply_written(size_t size) { return replies_->written(take(), size); }
  int reply_bytes(std::string_view bytes) { return replies_->bytes(take(), bytes); }
  int reply_xattr_size(size_t size) { return replies_->xattr_size(take(), size); }
  int reply_lock(const struct flock& lock) { return replies_->lock(take(), lock); }
  int reply_filesystem(const struct statvfs& st) { return replies_->filesystem(take(), st); }
  int reply_polled(unsigned events) { return replies_->polled(take(), events); }

  // On the strand, as the answer is then. If the kernel interrupts it while it waits, `cancel`
  // runs: it makes whoever holds the request answer it with EINTR.
  void on_interrupt(Interrupts& interrupts, std::function<void()> cancel);

 private:
  fuse_req_t unanswered() const;
  fuse_req_t take();

  fuse_req_t req_;  // null: it is answered
  std::shared_ptr<Replies> replies_;
  const MountTimes::Kind kind_;
  const MountTimes::Clock::time_point since_;
  Interrupts* interrupts_ = nullptr;
  uint64_t number_ = 0;  // among them
};

using RequestPtr = std::shared_ptr<Request>;

}  // namespace zabfs::fsd
