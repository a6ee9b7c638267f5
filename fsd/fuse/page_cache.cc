#include "fsd/fuse/page_cache.h"

#include <fmt/format.h>
#include <sys/syscall.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>

namespace zabfs::fsd {

namespace {

constexpr int64_t kTogetherUs = 5'000;  // publications that count as one

}  // namespace

PageCache::Readers* PageCache::find(KernelNode node) {
  auto place = readers_.find(node);
  return place == readers_.end() ? nullptr : &place->second;
}

void PageCache::age(int64_t now_us) {
  while (!published_.empty() && published_.front().last_us + calm_us_ <= now_us) {
    calm_ = published_.front().last;
    published_.pop_front();
  }
}

void PageCache::published(tree::Zxid last, int64_t now_us) {
  std::lock_guard lock(mutex_);
  age(now_us);
  if (published_.empty() || now_us - published_.back().first_us >= kTogetherUs) {
    published_.push_back({now_us, now_us, last});
  } else {
    published_.back().last_us = now_us;
    published_.back().last = last;
  }
}

bool PageCache::is_calm(tree::Zxid zxid, int64_t now_us) {
  std::lock_guard lock(mutex_);
  age(now_us);
  return zxid <= calm_;
}

PageCache::Use PageCache::open(KernelNode node, uint64_t handle, const Version& current,
                               int64_t now_us) {
  std::lock_guard lock(mutex_);
  age(now_us);
  if (current.mzxid > calm_) return Use::kDirect;
  if (writers_.contains(node)) return Use::kDirect;
  auto [place, is_first] = readers_.try_emplace(node);
  Readers& readers = place->second;
  if (is_first) {
    readers.shown = current;
    auto left = left_.find(node);
    readers.clean = left != left_.end() && left->second == current.mzxid;
  } else if (readers.shown.mzxid != current.mzxid || readers.spoiled || readers.showing) {
    return Use::kDirect;
  }
  readers.handles.insert(handle);
  return readers.clean ? Use::kWarm : Use::kCold;
}

void PageCache::close(KernelNode node, uint64_t handle) {
  std::lock_guard lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return;
  readers->handles.erase(handle);
  if (!readers->handles.empty()) return;
  left_.erase(node);
  if (readers->clean && readers->cut && !readers->spoiled) left_[node] = readers->shown.mzxid;
  readers_.erase(node);
}

void PageCache::writer_opened(KernelNode node) {
  std::lock_guard lock(mutex_);
  ++writers_[node];
  left_.erase(node);
  if (Readers* readers = find(node)) readers->spoiled = true;
}

void PageCache::writer_closed(KernelNode node) {
  std::lock_guard lock(mutex_);
  auto place = writers_.find(node);
  if (place != writers_.end() && --place->second == 0) writers_.erase(place);
}

void PageCache::forget(KernelNode node) {
  std::lock_guard lock(mutex_);
  left_.erase(node);
}

bool PageCache::has_readers(KernelNode node) const {
  std::lock_guard lock(mutex_);
  return readers_.contains(node);
}

bool PageCache::readers_stay(KernelNode node) {
  std::lock_guard lock(mutex_);
  Readers* readers = find(node);
  return readers != nullptr && readers->stay;
}

void PageCache::set_readers_stay(KernelNode node) {
  std::lock_guard lock(mutex_);
  if (Readers* readers = find(node)) readers->stay = true;
}

PageCache::Told PageCache::tell(KernelNode node, tree::Zxid current, int64_t now_us,
                                const std::function<void()>& forget) {
  std::lock_guard lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return Told::kTake;
  if (readers->showing) return Told::kWait;
  if (readers->shown.mzxid == current && !readers->spoiled) {
    if (readers->changing || !readers->is_settled(now_us)) return Told::kOnce;
    readers->asks = false;
    return Told::kTake;
  }
  if (!readers->is_settled(now_us) && now_us < readers->shown_us + kStayingUs) return Told::kWait;
  forget();
  return Told::kApart;
}

int64_t PageCache::wait_to_tell(KernelNode node, int64_t now_us) {
  std::lock_guard lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return 0;
  int64_t at_us = std::max(now_us, readers->shown_us) + kApartUs;
  readers->tell_us = at_us + kApartUs;
  return at_us - now_us;
}

std::optional<Version> PageCache::unordered(KernelNode node, tree::Zxid current, int64_t now_us) {
  std::lock_guard lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return std::nullopt;
  readers->wrote_us = now_us;
  if (readers->shown.mzxid == current && !readers->spoiled) return std::nullopt;
  readers->spoiled = true;
  return readers->shown;
}

bool PageCache::must_forget(KernelNode node) {
  std::lock_guard lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return true;
  readers->changing = true;
  changing_.push_back(node);
  return !std::exchange(readers->asks, true);
}

void PageCache::end_change() {
  std::lock_guard lock(mutex_);
  for (KernelNode node : changing_) {
    if (Readers* readers = find(node)) readers->changing = false;
  }
  changing_.clear();
}

std::optional<tree::Bytes> PageCache::pages(KernelNode node, uint64_t handle, int64_t now_us) {
  std::lock_guard lock(mutex_);
  auto place = readers_.find(node);
  if (place == readers_.end()) {
    left_.erase(node);
    return std::nullopt;
  }
  Readers& readers = place->second;
  // Its open is over, and with it the end of the pages that were there before.
  readers.read_us = now_us;
  if (!readers.showing) {
    if (readers.handles.contains(handle)) readers.clean = true;
    if (!std::exchange(readers.cut, true)) readers.shown_us = now_us;
  }
  return readers.shown.data;
}

std::optional<PageCache::Found> PageCache::asked(KernelNode node, tree::Zxid current) {
  std::lock_guard lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return std::nullopt;
  bool spoiled = readers->spoiled || !readers->measured;
  if (readers->shown.mzxid == current && !spoiled && !readers->showing) return std::nullopt;
  return Found{readers->shown, spoiled};
}

int64_t PageCache::wait_to_show(KernelNode node, int64_t since_us, int64_t now_us) {
  std::lock_guard lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return 0;
  int64_t written = readers->wrote_us == 0 ? 0 : readers->wrote_us + kWriterUs;
  readers->waiting_us = written > now_us ? written + kWriterUs : 0;
  int64_t from = std::max(written, readers->tell_us);
  if (readers->handles.size() > 1) {
    int64_t others_us = readers->share ? kStayingUs : kOthersUs;
    from = std::max({from, since_us + others_us, readers->read_us + kApartUs});
  }
  return std::max<int64_t>(from - now_us, 0);
}

std::optional<Version> PageCache::show(KernelNode node, const std::optional<Version>& version,
                                       int64_t now_us) {
  std::lock_guard lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return std::nullopt;
  if (version) readers->shown = *version;
  readers->showing = readers->measured = readers->asks = true;
  readers->clean = readers->cut = false;
  readers->waiting_us = 0;
  readers->share = readers->share || (version && readers->handles.size() > 1);
  readers->spoiled = writers_.contains(node);
  readers->read_us = readers->shown_us = now_us;
  return readers->shown;
}

void PageCache::showed(KernelNode node, int64_t now_us) {
  std::lock_guard lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return;
  readers->showing = false;
  readers->clean = true;
  readers->shown_us = now_us;
}

int64_t PageCache::wait_to_write(KernelNode node, int64_t now_us) {
  std::lock_guard lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return 0;
  if (now_us < readers->waiting_us) return kApartUs;
  return readers->read_us == 0 ? 0 : std::max<int64_t>(readers->read_us + kWriterUs - now_us, 0);
}

void PageCache::wrote(KernelNode node, int64_t now_us) {
  std::lock_guard lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return;
  readers->wrote_us = now_us;
  readers->spoiled = true;
}

// proc(5): /proc/PID/syscall has the number and the arguments of the system call that a thread is
// blocked in, /proc/PID/fdinfo/FD the offset of an open file, which read(2) moves when it ends.
std::optional<uint64_t> reading_at(pid_t thread) {
  std::ifstream call(fmt::format("/proc/{}/syscall", thread));
  long number = -1;
  if (!(call >> number)) return std::nullopt;  // "running", or it may not be known
  uint64_t arguments[4] = {};
  for (uint64_t& argument : arguments) {
    if (!(call >> std::hex >> argument)) return std::nullopt;
  }
  if (number == SYS_pread64 || number == SYS_preadv || number == SYS_preadv2) return arguments[3];
  if (number != SYS_read && number != SYS_readv) return std::nullopt;
  std::ifstream info(fmt::format("/proc/{}/fdinfo/{}", thread, arguments[0]));
  std::string key;
  uint64_t offset = 0;
  if (info >> key >> offset && key == "pos:") return offset;
  return std::nullopt;
}

}  // namespace zabfs::fsd
