#include "fsd/fuse/kernel.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "fsd/fuse/mount_point.h"

namespace zabfs::fsd {
namespace {

constexpr int kNotifyIncEpoch = 8;  // FUSE_NOTIFY_INC_EPOCH, since protocol 7.44

// Requests come densely if so many in a row come so soon after what was done before. A write's are
// fewer, then there is a commit to wait for.
constexpr int kDenseRow = 6;
constexpr auto kDense = std::chrono::microseconds(60);
constexpr auto kLookFor = std::chrono::microseconds(30);  // before a thread sleeps

struct NotifyHeader {  // fuse_out_header of a notification
  uint32_t length;
  int32_t code;
  uint64_t unique;
};

}  // namespace

Kernel::~Kernel() {
  unmount();
  join();
  if (session_ != nullptr) fuse_session_destroy(session_);
}

Status Kernel::mount(const std::string& point, const std::string& options,
                     const fuse_lowlevel_ops& operations, void* userdata) {
  std::error_code error;
  point_ = std::filesystem::canonical(point, error).string();
  std::vector<std::string> texts = {"zabfsd", "-o", options};
  std::vector<char*> argv;
  for (std::string& text : texts) argv.push_back(text.data());
  fuse_args args = FUSE_ARGS_INIT(static_cast<int>(argv.size()), argv.data());
  session_ = fuse_session_new(&args, &operations, sizeof(operations), userdata);
  fuse_opt_free_args(&args);
  if (session_ == nullptr) return Status::failed("can't start a FUSE session");
  if (fuse_session_mount(session_, point_.c_str()) != 0) {
    const char* remedy = ::geteuid() == 0
                             ? ""
                             : "; fusermount3 mounts for a user who is not root: is the package "
                               "fuse3 installed, and the directory this user's?";
    return Status::failed(
        fmt::format("can't mount at {}: {}{}", point, std::strerror(errno), remedy));
  }
  if (Status guarded = guard_.start(point_); !guarded.ok()) {
    spdlog::warn(
        "{}: nobody ends the connection if this daemon is killed while it waits for the kernel: "
        "{}. "
        "If programs hang there after a kill -9, run umount -f {}",
        point_, guarded.why(), point_);
  }
  MutexLock lock(unmount_mutex_);
  mounted_ = true;
  return {};
}

void Kernel::serve(int threads, std::function<void(const void*, size_t)> before,
                   std::function<void()> on_end) {
  before_ = std::move(before);
  on_end_ = std::move(on_end);
  struct sigaction wake = {};
  wake.sa_handler = [](int) {};
  ::sigaction(SIGUSR2, &wake, nullptr);
  running_ = threads;
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] { run(); });
    pthread_setname_np(threads_.back().native_handle(), "zabfs-fuse");
  }
}

// One who does one operation after the other waits for two wake-ups each time. While requests come
// densely the next one is looked for before this thread sleeps, which saves one of them, and the
// CPU's way out of its idle state.
int Kernel::receive(fuse_buf& buffer) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point began = Clock::now();
  if (dense_requests_ >= kDenseRow) {
    pollfd device = {fuse_session_fd(session_), POLLIN, 0};
    while (::poll(&device, 1, 0) == 0 && Clock::now() - began < kLookFor) {
    }
  }
  int size = fuse_session_receive_buf(session_, &buffer);
  bool is_dense = has_cpus_ && Clock::now() - began < kDense;
  dense_requests_ = is_dense ? dense_requests_ + 1 : 0;
  return size;
}

void Kernel::run() {
  fuse_buf buffer = {};
  while (!fuse_session_exited(session_)) {
    int size = 0;
    {
      MutexLock lock(receive_mutex_);
      size = receive(buffer);
      if (size > 0) before_(buffer.mem, static_cast<size_t>(size));
    }
    if (size == -EINTR) continue;
    if (size <= 0) break;
    fuse_session_process_buf(session_, &buffer);
  }
  std::free(buffer.mem);
  --running_;
  fuse_session_exit(session_);
  // Not by us, so from outside: the first thread to notice says so.
  if (!unmounted_.exchange(true) && on_end_) on_end_();
}

void Kernel::unmount() {
  MutexLock lock(unmount_mutex_);
  if (!std::exchange(mounted_, false)) return;
  unmounted_ = true;
  fuse_session_exit(session_);
  // Detached at once, so that nothing new begins.
  if (Status detached = MountPoint::detach(point_); !detached.ok()) {
    spdlog::error("{} can't be unmounted: {}; run fusermount3 -uz {}", point_, detached.why(),
                  point_);
  }
}

void Kernel::join() {
  // A thread that waits for a request is woken by a signal; one that was about to wait, by the
  // next.
  while (running_ > 0) {
    for (std::thread& thread : threads_) pthread_kill(thread.native_handle(), SIGUSR2);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  threads_.clear();
}

bool Kernel::forget_attributes(KernelNode node) {
  // A negative offset: attributes only, which never waits for anything (FUSE.md).
  return fuse_lowlevel_notify_inval_inode(session_, node, -1, 0) != -ENOENT;
}

void Kernel::forget_pages(KernelNode node, std::string_view data) {
  if (!data.empty()) {
    char last = data.back();
    fuse_bufvec buffer = FUSE_BUFVEC_INIT(1);
    buffer.buf[0].mem = &last;
    fuse_lowlevel_notify_store(session_, node, static_cast<off_t>(data.size() - 1), &buffer,
                               static_cast<fuse_buf_copy_flags>(0));
  }
  fuse_lowlevel_notify_inval_inode(session_, node, 0, 0);
}

bool Kernel::forget_name(KernelNode parent, const std::string& name) {
  int error = fuse_lowlevel_notify_expire_entry(session_, parent, name.data(), name.size(),
                                                FUSE_LL_EXPIRE_ONLY);
  return error == 0 || error == -ENOENT;  // it is not in the cache
}

bool Kernel::forget_names() {
  NotifyHeader header{sizeof(NotifyHeader), kNotifyIncEpoch, 0};
  return ::write(fuse_session_fd(session_), &header, sizeof(header)) ==
         static_cast<ssize_t>(sizeof(header));
}

}  // namespace zabfs::fsd
