// A new directory of the filesystem, to be filled with entries.
//
// Who copies may be root, and the entries' owners may be there meanwhile: a directory that is being
// filled is its maker's alone, and gets its owner, mode and time at the end, from the lowest up.
// What is below it is reached past no symlink (fsd/beneath.h). Owners are set as far as this user
// may, as with `cp -p`.
#pragma once

#include <sys/stat.h>

#include <map>
#include <string>

#include "fsd/archive/ends.h"
#include "fsd/beneath.h"

namespace zabfs::archive {

class DirectorySink : public Sink {
 public:
  // `directory` is open and empty; `name` is for messages.
  DirectorySink(fsd::Descriptor directory, std::string name)
      : top_(std::move(directory)), name_(std::move(name)) {}

  Status put(const Entry& entry) override;
  Status finish() override;
  uint64_t incomplete() const override { return incomplete_; }

 private:
  Status failed(const std::string& path) const;
  Status put_directory(const Entry& entry);
  Status put_leaf(const Entry& entry, int directory, const std::string& name);
  Status write_file(int directory, const std::string& name, const Entry& entry, bool is_own_data);
  // The directory that a path is in.
  int parent_of(const std::string& path);
  void set_attributes(int fd, const Entry& entry);

  const fsd::Descriptor top_;
  const std::string name_;
  fsd::Descriptor parent_;  // of the last entry
  std::string parent_path_;
  std::map<std::string, Entry> directories_;  // without their data
  uint64_t incomplete_ = 0;
};

}  // namespace zabfs::archive
