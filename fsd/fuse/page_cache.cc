#include "fsd/fuse/page_cache.h"

#include <algorithm>
#include <utility>

namespace zabfs::fsd {

namespace {

constexpr int64_t kTogetherUs = 5'000;  // publications that count as one
constexpr size_t kMaxInodes = 64;       // older ones the kernel has long replaced

std::vector<AnsweredThread> answered(const std::map<pid_t, uint64_t>& answers) {
  std::vector<AnsweredThread> threads;
  for (auto [thread, answer] : answers) threads.emplace_back(thread, answer);
  return threads;
}

}  // namespace

PageCache::Readers* PageCache::find(KernelNode node) {
  auto found = readers_.find(node);
  return found == readers_.end() ? nullptr : &found->second;
}

bool PageCache::Readers::are_in_it() const {
  return std::all_of(handles.begin(), handles.end(),
                     [this](const auto& handle) { return handle.second.own.mzxid == shown.mzxid; });
}

bool PageCache::Reader::turns() const {
  return std::all_of(threads.begin(), threads.end(),
                     [](const auto& thread) { return thread.second.wait == Wait::kTurn; });
}

void PageCache::age(int64_t now_us) {
  while (!published_.empty() && published_.front().last_us + calm_us_ <= now_us) {
    calm_ = published_.front().last;
    published_.pop_front();
  }
}

void PageCache::published(tree::Zxid last, int64_t now_us) {
  MutexLock lock(mutex_);
  age(now_us);
  if (published_.empty() || now_us - published_.back().first_us >= kTogetherUs) {
    published_.push_back({now_us, now_us, last});
  } else {
    published_.back().last_us = now_us;
    published_.back().last = last;
  }
}

bool PageCache::is_calm(tree::Zxid zxid, int64_t now_us) {
  MutexLock lock(mutex_);
  age(now_us);
  return zxid <= calm_;
}

PageCache::Use PageCache::open(KernelNode node, uint64_t handle, pid_t thread,
                               const Version& current, int64_t now_us) {
  MutexLock lock(mutex_);
  age(now_us);
  if (current.mzxid > calm_) return Use::kDirect;
  if (writers_.contains(node)) return Use::kDirect;
  auto [entry, is_first] = readers_.try_emplace(node);
  Readers& readers = entry->second;
  if (is_first) {
    readers.shown = current;
    readers.inodes = {current.inode};
    auto left = left_.find(node);
    bool are_left = left != left_.end() && left->second == current.mzxid;
    readers.pages = are_left ? Pages::kWarm : Pages::kCold;
  } else if (readers.shown.mzxid != current.mzxid || readers.spoiled ||
             readers.pages == Pages::kTurning) {
    return Use::kDirect;
  }
  Reader& reader = readers.handles[handle];
  reader.own = current;
  reader.threads[thread].answer = ++answers_;
  return readers.is_clean() ? Use::kWarm : Use::kCold;
}

void PageCache::close(KernelNode node, uint64_t handle) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return;
  readers->handles.erase(handle);
  if (!readers->handles.empty()) return;
  left_.erase(node);
  if (readers->is_clean() && readers->is_cut() && !readers->spoiled)
    left_[node] = readers->shown.mzxid;
  readers_.erase(node);
}

void PageCache::writer_opened(KernelNode node) {
  MutexLock lock(mutex_);
  ++writers_[node];
  left_.erase(node);
  if (Readers* readers = find(node)) readers->spoiled = true;
}

void PageCache::writer_closed(KernelNode node) {
  MutexLock lock(mutex_);
  auto found = writers_.find(node);
  if (found != writers_.end() && --found->second == 0) writers_.erase(found);
}

void PageCache::forget(KernelNode node) {
  MutexLock lock(mutex_);
  left_.erase(node);
}

bool PageCache::has_readers(KernelNode node) const {
  MutexLock lock(mutex_);
  return readers_.contains(node);
}

bool PageCache::readers_stay(KernelNode node) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  return readers != nullptr && readers->stay;
}

void PageCache::set_readers_stay(KernelNode node) {
  MutexLock lock(mutex_);
  if (Readers* readers = find(node)) readers->stay = true;
}

PageCache::Told PageCache::tell(KernelNode node, tree::Zxid current, int64_t now_us,
                                const std::function<void()>& forget) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return Told::kTake;
  if (readers->pages == Pages::kTurning) return Told::kWait;
  if (readers->shown.mzxid == current && !readers->spoiled) {
    bool is_changing = readers->attributes == Attributes::kChanging;
    if (is_changing || !readers->is_settled(now_us) || !readers->are_in_it()) return Told::kOnce;
    readers->attributes = Attributes::kKept;
    return Told::kTake;
  }
  int64_t since_us = std::max(readers->shown_us, readers->read_us);
  if (!readers->is_settled(now_us) && now_us < since_us + kStayingUs) return Told::kWait;
  forget();
  return Told::kApart;
}

int64_t PageCache::wait_to_tell(KernelNode node, int64_t now_us) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return 0;
  int64_t at_us = std::max(now_us, readers->shown_us) + kApartUs;
  readers->tell_us = at_us + kApartUs;
  return at_us - now_us;
}

std::optional<Version> PageCache::unordered(KernelNode node, tree::Zxid current, pid_t thread,
                                            int64_t now_us) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return std::nullopt;
  readers->wrote_us = now_us;
  readers->landing[thread] = ++answers_;
  if (readers->shown.mzxid == current && !readers->spoiled) return std::nullopt;
  readers->spoiled = true;
  return readers->shown;
}

bool PageCache::must_forget(KernelNode node) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return true;
  changing_.push_back(node);
  return std::exchange(readers->attributes, Attributes::kChanging) == Attributes::kKept;
}

void PageCache::end_change() {
  MutexLock lock(mutex_);
  for (KernelNode node : changing_) {
    Readers* readers = find(node);
    if (readers != nullptr && readers->attributes == Attributes::kChanging) {
      readers->attributes = Attributes::kAsked;
    }
  }
  changing_.clear();
}

std::optional<tree::Bytes> PageCache::pages(KernelNode node, uint64_t handle, int64_t now_us) {
  MutexLock lock(mutex_);
  auto found = readers_.find(node);
  if (found == readers_.end()) {
    left_.erase(node);
    return std::nullopt;
  }
  Readers& readers = found->second;
  // Its open is over, and with it the end of the pages that were there before.
  readers.read_us = now_us;
  if (readers.pages == Pages::kCold && readers.handles.contains(handle)) {
    readers.pages = Pages::kWarm;
  }
  return readers.shown.data;
}

void PageCache::pages_answered(KernelNode node, int64_t now_us) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr || readers->pages != Pages::kStretched) return;
  readers->pages = Pages::kTurned;
  readers->shown_us = now_us;
}

std::optional<PageCache::Found> PageCache::asked(KernelNode node, uint64_t handle, pid_t thread,
                                                 tree::Zxid current) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return std::nullopt;
  auto reader = readers->handles.find(handle);
  bool reads = reader != readers->handles.end();
  if (reads) reader->second.threads[thread].answer = ++answers_;
  const Version& own = reads ? reader->second.own : readers->shown;
  bool spoiled = readers->spoiled || !readers->is_measured();
  bool is_shown = readers->shown.mzxid == current && own.mzxid == current;
  if (is_shown && !spoiled && readers->pages != Pages::kTurning) return std::nullopt;
  return Found{readers->shown, own, spoiled};
}

void PageCache::set_waiting(KernelNode node, uint64_t handle, pid_t thread, Wait wait) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return;
  auto reader = readers->handles.find(handle);
  if (reader != readers->handles.end()) reader->second.threads[thread].wait = wait;
}

int64_t PageCache::wait_to_show(KernelNode node, uint64_t handle, Wait wait, int64_t since_us,
                                int64_t now_us) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return 0;
  int64_t written = readers->wrote_us == 0 ? 0 : readers->wrote_us + kWriterUs;
  readers->waiting_us = written > now_us ? written + kWriterUs : 0;
  int64_t from = std::max(written, readers->tell_us);
  for (const auto& [number, reader] : readers->handles) {
    if (wait == Wait::kSame || number == handle || reader.turns()) continue;
    int64_t others_us = reader.stays ? kStayingUs : kOthersUs;
    from = std::max({from, since_us + others_us, readers->read_us + kApartUs});
  }
  return std::max<int64_t>(from - now_us, 0);
}

std::vector<AnsweredThread> PageCache::threads(KernelNode node, pid_t but) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return {};
  std::map<pid_t, uint64_t> threads;
  for (const auto& [number, reader] : readers->handles) {
    for (const auto& [id, thread] : reader.threads) {
      if (thread.wait != Wait::kNone || id == but) continue;
      threads[id] = std::max(threads[id], thread.answer);
    }
  }
  return answered(threads);
}

std::optional<Version> PageCache::shown(KernelNode node) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return std::nullopt;
  return readers->shown;
}

std::set<uint64_t> PageCache::inodes(KernelNode node) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  return readers == nullptr ? std::set<uint64_t>() : readers->inodes;
}

void PageCache::begin_pass(KernelNode node, uint64_t handle) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return;
  auto reader = readers->handles.find(handle);
  if (reader != readers->handles.end()) reader->second.own = readers->shown;
}

bool PageCache::show(KernelNode node, uint64_t handle, const Version& version, int64_t now_us) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return false;
  bool is_other = readers->shown.mzxid != version.mzxid;
  readers->shown = version;
  if (readers->inodes.size() >= kMaxInodes) readers->inodes.clear();
  readers->inodes.insert(version.inode);
  for (auto& [number, reader] : readers->handles) {
    if (number == handle) {
      reader.own = version;
    } else if (is_other) {
      reader.stays = true;
    }
  }
  readers->pages = Pages::kTurning;
  if (readers->attributes == Attributes::kKept) readers->attributes = Attributes::kAsked;
  readers->waiting_us = 0;
  readers->spoiled = writers_.contains(node);
  readers->read_us = readers->shown_us = now_us;
  return true;
}

void PageCache::showed(KernelNode node, int64_t now_us) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return;
  if (readers->pages == Pages::kTurning) readers->pages = Pages::kStretched;
  readers->shown_us = now_us;
}

int64_t PageCache::wait_to_write(KernelNode node, int64_t now_us) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return 0;
  if (now_us < readers->waiting_us) return kApartUs;
  return readers->read_us == 0 ? 0 : std::max<int64_t>(readers->read_us + kWriterUs - now_us, 0);
}

void PageCache::wrote(KernelNode node, pid_t thread, int64_t now_us) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return;
  readers->wrote_us = now_us;
  readers->landing[thread] = ++answers_;
  readers->spoiled = true;
}

std::vector<AnsweredThread> PageCache::landing(KernelNode node) {
  MutexLock lock(mutex_);
  Readers* readers = find(node);
  if (readers == nullptr) return {};
  return answered(readers->landing);
}

void PageCache::landed(KernelNode node, pid_t thread) {
  MutexLock lock(mutex_);
  if (Readers* readers = find(node)) readers->landing.erase(thread);
}

}  // namespace zabfs::fsd
