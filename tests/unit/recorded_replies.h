// What requests of a mount are answered. There is no libfuse behind it: a fuse_req_t is an address.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "fsd/fuse/request.h"

namespace zabfs::fsd {

class RecordedReplies : public Replies {
 public:
  Asker asker(fuse_req_t) override { return who; }
  bool groups(fuse_req_t, std::vector<gid_t>& groups) override {
    groups.clear();
    return true;
  }

  int done(fuse_req_t req, int error) override {
    return note(req, "done " + std::to_string(error));
  }
  int entry(fuse_req_t req, const fuse_entry_param& entry) override {
    return note(req, "entry " + std::to_string(entry.ino));
  }
  int attributes(fuse_req_t req, const struct stat& st, double) override {
    return note(req, "size " + std::to_string(st.st_size));
  }
  int link(fuse_req_t req, const std::string& target) override {
    return note(req, "link " + target);
  }
  int opened(fuse_req_t req, const fuse_file_info& info) override {
    handle = info.fh;
    return note(req, "opened " + std::to_string(info.fh));
  }
  int created(fuse_req_t req, const fuse_entry_param& entry, const fuse_file_info& info) override {
    node = entry.ino;
    handle = info.fh;
    return note(req, "created " + std::to_string(info.fh));
  }
  int written(fuse_req_t req, size_t size) override {
    return note(req, "written " + std::to_string(size));
  }
  int bytes(fuse_req_t req, std::string_view bytes) override {
    return note(req, "bytes " + std::string(bytes));
  }
  int xattr_size(fuse_req_t req, size_t size) override {
    return note(req, "xattr_size " + std::to_string(size));
  }
  int lock(fuse_req_t req, const struct flock&) override { return note(req, "lock"); }
  int filesystem(fuse_req_t req, const struct statvfs&) override { return note(req, "filesystem"); }
  int polled(fuse_req_t req, unsigned events) override {
    return note(req, "polled " + std::to_string(events));
  }
  void heed_interrupts(fuse_req_t, uint64_t number) override { numbers.push_back(number); }

  Asker who;
  std::vector<std::pair<fuse_req_t, std::string>> answers;
  std::vector<uint64_t> numbers;  // of requests that can be interrupted
  int result = 0;                 // what each answer returns
  uint64_t node = 0, handle = 0;  // of the last open or create

 private:
  int note(fuse_req_t req, std::string answer) {
    answers.emplace_back(req, std::move(answer));
    return result;
  }
};

}  // namespace zabfs::fsd
