// A Disk that keeps nothing of what is written to it: who reads a stopped node's files through it
// sees what the node would at its next start, and changes nothing. It can tell how much was read.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "consensus/disk.h"

namespace zabfs::consensus {

class FrozenDisk : public Disk {
 public:
  using Read = std::function<void(size_t bytes)>;

  explicit FrozenDisk(Disk& disk, Read read = nullptr) : disk_(disk), read_(std::move(read)) {}

  DiskStatus open(const std::string& name, bool, std::unique_ptr<File>& file) override {
    std::unique_ptr<File> opened;
    DiskStatus status = disk_.open(name, false, opened);
    if (status.ok()) file = std::make_unique<Frozen>(std::move(opened), read_);
    return status;
  }
  std::vector<std::string> list() override { return disk_.list(); }
  DiskStatus rename(const std::string&, const std::string&) override { return {}; }
  DiskStatus remove(const std::string&) override { return {}; }
  DiskStatus sync_directory() override { return {}; }
  std::string path_of(const std::string& name) const override { return disk_.path_of(name); }

 private:
  class Frozen : public File {
   public:
    Frozen(std::unique_ptr<File> file, Read read)
        : file_(std::move(file)), read_(std::move(read)) {}
    DiskStatus read_at(uint64_t offset, size_t size, std::string& out) override {
      DiskStatus status = file_->read_at(offset, size, out);
      if (status.ok() && read_) read_(out.size());
      return status;
    }
    DiskStatus write_at(uint64_t, std::string_view) override { return {}; }
    DiskStatus sync() override { return {}; }
    uint64_t size() const override { return file_->size(); }

   private:
    std::unique_ptr<File> file_;
    const Read read_;
  };
  Disk& disk_;
  const Read read_;
};

}  // namespace zabfs::consensus
