#include "sim/sim_disk.h"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace zabfs::sim {

using consensus::DiskStatus;
using consensus::File;

namespace {

constexpr size_t kSectorBytes = 512;

void write_into(std::string& image, uint64_t offset, std::string_view bytes) {
  if (image.size() < offset + bytes.size()) image.resize(offset + bytes.size(), '\0');
  image.replace(offset, bytes.size(), bytes);
}

bool has_one_of(const std::vector<std::string>& prefixes, const std::string& name) {
  return std::any_of(prefixes.begin(), prefixes.end(),
                     [&](const std::string& prefix) { return name.starts_with(prefix); });
}

}  // namespace

class SimFile : public File {
 public:
  SimFile(SimDisk& disk, std::shared_ptr<SimDisk::Inode> inode)
      : disk_(disk), inode_(std::move(inode)) {}

  DiskStatus read_at(uint64_t offset, size_t size, std::string& out) override {
    out = offset >= inode_->current.size() ? std::string() : inode_->current.substr(offset, size);
    auto broken = inode_->broken.lower_bound(offset / kSectorBytes);
    bool fails = broken != inode_->broken.end() && *broken * kSectorBytes < offset + out.size();
    return fails ? DiskStatus{EIO, "read"} : DiskStatus{};
  }
  DiskStatus write_at(uint64_t offset, std::string_view bytes) override {
    uint64_t end = offset + bytes.size();
    if (end > inode_->current.size() && !disk_.has_room(end - inode_->current.size())) {
      return DiskStatus{ENOSPC, "write"};
    }
    std::erase_if(inode_->broken, [&](uint64_t sector) {
      return sector >= offset / kSectorBytes && sector * kSectorBytes < end;
    });
    write_into(inode_->current, offset, bytes);
    inode_->unsynced.push_back({offset, std::string(bytes)});
    disk_.count_operation();
    return {};
  }
  DiskStatus sync() override {
    disk_.count_operation();
    if (std::exchange(disk_.fail_sync_, false)) {
      // As Linux: the pages count as clean from now on, and a sync that succeeds proves nothing.
      inode_->unsynced.clear();
      return DiskStatus{EIO, "sync", true};
    }
    for (const SimDisk::Write& write : inode_->unsynced) {
      write_into(inode_->durable, write.offset, write.bytes);
    }
    inode_->unsynced.clear();
    disk_.count_operation();
    return {};
  }
  uint64_t size() const override { return inode_->current.size(); }

 private:
  SimDisk& disk_;
  std::shared_ptr<SimDisk::Inode> inode_;
};

void SimDisk::count_operation() {
  if (crash_countdown_ != 0 && --crash_countdown_ == 0) throw CrashNow();
}

DiskStatus SimDisk::open(const std::string& name, bool create, std::unique_ptr<File>& file) {
  auto place = current_.find(name);
  if (place == current_.end()) {
    if (!create) return DiskStatus{ENOENT, "open " + name};
    place = current_.emplace(name, std::make_shared<Inode>()).first;
    unsynced_directory_.push_back(current_);
  }
  file = std::make_unique<SimFile>(*this, place->second);
  return {};
}

std::vector<std::string> SimDisk::list() {
  std::vector<std::string> names;
  for (const auto& [name, inode] : current_) names.push_back(name);
  return names;
}

DiskStatus SimDisk::rename(const std::string& from, const std::string& to) {
  auto place = current_.find(from);
  if (place == current_.end()) return DiskStatus{ENOENT, "rename " + from};
  current_[to] = place->second;
  current_.erase(from);
  unsynced_directory_.push_back(current_);
  count_operation();
  return {};
}

DiskStatus SimDisk::remove(const std::string& name) {
  if (current_.erase(name) == 0) return DiskStatus{ENOENT, "remove " + name};
  unsynced_directory_.push_back(current_);
  count_operation();
  return {};
}

DiskStatus SimDisk::sync_directory() {
  count_operation();
  durable_ = current_;
  unsynced_directory_.clear();
  count_operation();
  return {};
}

uint64_t SimDisk::used_bytes() const {
  uint64_t used = 0;
  for (const auto& [name, inode] : current_) used += inode->current.size();
  return used;
}

bool SimDisk::has_room(uint64_t bytes) {
  if (scarce_ && random_() % 2 == 0) return false;
  return capacity_ == 0 || used_bytes() + bytes <= capacity_;
}

void SimDisk::wipe() {
  current_.clear();
  durable_.clear();
  unsynced_directory_.clear();
}

void SimDisk::rot(const std::string& name, uint64_t offset) {
  Inode& inode = *current_.at(name);
  for (std::string* image : {&inode.current, &inode.durable}) {
    if (offset < image->size()) (*image)[offset] = static_cast<char>((*image)[offset] ^ 0x10);
  }
}

void SimDisk::break_sector(const std::string& name, uint64_t offset) {
  current_.at(name)->broken.insert(offset / kSectorBytes);
}

SimDisk SimDisk::after_worst_crash(const std::vector<std::string>& prefixes) const {
  SimDisk copy(1);
  for (const auto& [name, inode] : durable_) {
    if (!has_one_of(prefixes, name)) continue;
    auto kept = std::make_shared<Inode>();
    kept->durable = kept->current = inode->durable;
    kept->broken = inode->broken;
    copy.current_[name] = copy.durable_[name] = std::move(kept);
  }
  return copy;
}

void SimDisk::crash() {
  crash_countdown_ = 0;
  fail_sync_ = false;
  size_t kept = random_() % (unsynced_directory_.size() + 1);
  if (kept > 0) durable_ = unsynced_directory_[kept - 1];
  unsynced_directory_.clear();
  current_ = durable_;
  for (auto& [name, inode] : current_) {
    for (const Write& write : inode->unsynced) {
      uint64_t fate = random_() % 3;
      if (fate == 0) continue;
      if (fate == 1) {
        write_into(inode->durable, write.offset, write.bytes);
        continue;
      }
      for (size_t at = 0; at < write.bytes.size(); at += kSectorBytes) {
        if (random_() % 2 == 0) continue;
        write_into(inode->durable, write.offset + at,
                   std::string_view(write.bytes).substr(at, kSectorBytes));
      }
    }
    inode->unsynced.clear();
    inode->current = inode->durable;
  }
}

}  // namespace zabfs::sim
