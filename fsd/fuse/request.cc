#include "fsd/fuse/request.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace zabfs::fsd {

namespace {

constexpr int kSomeGroups = 64;  // that most users are in fewer than

class FuseReplies : public Replies {
 public:
  explicit FuseReplies(fuse_interrupt_func_t interrupted) : interrupted_(interrupted) {}

  Asker asker(fuse_req_t req) override {
    const fuse_ctx* context = fuse_req_ctx(req);
    return {context->pid, context->uid, context->gid};
  }
  bool groups(fuse_req_t req, std::vector<gid_t>& groups) override {
    groups.resize(kSomeGroups);
    int count = fuse_req_getgroups(req, kSomeGroups, groups.data());
    if (count > kSomeGroups) {
      groups.resize(static_cast<size_t>(count));
      count = std::min(count, fuse_req_getgroups(req, count, groups.data()));
    }
    groups.resize(static_cast<size_t>(std::max(count, 0)));
    return count >= 0;
  }

  int done(fuse_req_t req, int error) override { return fuse_reply_err(req, error); }
  int entry(fuse_req_t req, const fuse_entry_param& entry) override {
    return fuse_reply_entry(req, &entry);
  }
  int attributes(fuse_req_t req, const struct stat& st, double seconds) override {
    return fuse_reply_attr(req, &st, seconds);
  }
  int link(fuse_req_t req, const std::string& target) override {
    return fuse_reply_readlink(req, target.c_str());
  }
  int opened(fuse_req_t req, const fuse_file_info& info) override {
    return fuse_reply_open(req, &info);
  }
  int created(fuse_req_t req, const fuse_entry_param& entry, const fuse_file_info& info) override {
    return fuse_reply_create(req, &entry, &info);
  }
  int written(fuse_req_t req, size_t size) override { return fuse_reply_write(req, size); }
  int bytes(fuse_req_t req, std::string_view bytes) override {
    return fuse_reply_buf(req, bytes.data(), bytes.size());
  }
  int xattr_size(fuse_req_t req, size_t size) override { return fuse_reply_xattr(req, size); }
  int filesystem(fuse_req_t req, const struct statvfs& st) override {
    return fuse_reply_statfs(req, &st);
  }
  int polled(fuse_req_t req, unsigned events) override { return fuse_reply_poll(req, events); }
  int lock(fuse_req_t req, const struct flock& lock) override {
    return fuse_reply_lock(req, &lock);
  }
  void heed_interrupts(fuse_req_t req, uint64_t number) override {
    fuse_req_interrupt_func(req, interrupted_, reinterpret_cast<void*>(number));
  }

 private:
  fuse_interrupt_func_t interrupted_;
};

}  // namespace

std::shared_ptr<Replies> make_replies(fuse_interrupt_func_t interrupted) {
  return std::make_shared<FuseReplies>(interrupted);
}

// ---- interrupts

uint64_t Interrupts::add(std::function<void()> cancel) {
  uint64_t number = next_++;
  cancels_[number] = std::move(cancel);
  return number;
}

void Interrupts::interrupt(uint64_t number) {
  auto found = cancels_.find(number);
  if (found == cancels_.end()) return;
  std::function<void()> cancel = std::move(found->second);
  cancels_.erase(found);
  cancel();
}

// ---- a request

Request::~Request() {
  if (is_answered() || replies_->is_closed()) return;
  spdlog::error("a request was forgotten: it is answered with an input/output error");
  reply(EIO);
}

fuse_req_t Request::unanswered() const {
  if (!is_answered()) return req_;
  spdlog::critical("a request was used after it was answered");
  spdlog::shutdown();
  std::abort();
}

void Request::on_interrupt(Interrupts& interrupts, std::function<void()> cancel) {
  fuse_req_t req = unanswered();
  interrupts_ = &interrupts;
  number_ = interrupts.add(std::move(cancel));
  replies_->heed_interrupts(req, number_);
}

fuse_req_t Request::take() {
  fuse_req_t req = unanswered();
  if (interrupts_ != nullptr) interrupts_->erase(number_);
  req_ = nullptr;
  replies_->times().note(kind_, MountTimes::Clock::now() - since_);
  return req;
}

}  // namespace zabfs::fsd
