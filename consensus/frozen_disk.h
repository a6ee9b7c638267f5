// A Disk that keeps nothing of what is written to it: who reads a stopped node's files through it
// sees what the node would at its next start, and changes nothing.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "consensus/disk.h"

namespace zabfs::consensus {

class FrozenDisk : public Disk {
 public:
  explicit FrozenDisk(Disk& disk) : disk_(disk) {}

  DiskStatus open(const std::string& name, bool, std::unique_ptr<File>& file) override {
    std::unique_ptr<File> opened;
    DiskStatus status = disk_.open(name, false, opened);
    if (status.ok()) file = std::make_unique<Frozen>(std::move(opened));
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
    explicit Frozen(std::unique_ptr<File> file) : file_(std::move(file)) {}
    DiskStatus read_at(uint64_t offset, size_t size, std::string& out) override {
      return file_->read_at(offset, size, out);
    }
    DiskStatus write_at(uint64_t, std::string_view) override { return {}; }
    DiskStatus sync() override { return {}; }
    uint64_t size() const override { return file_->size(); }

   private:
    std::unique_ptr<File> file_;
  };
  Disk& disk_;
};

}  // namespace zabfs::consensus
