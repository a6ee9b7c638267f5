// The entries of a directory of the filesystem, whatever that is.
//
// Others may change it meanwhile, and who copies may be root: everything is found below the
// directory that was opened first, past no symlink (fsd/beneath.h). Special files other than FIFOs
// are refused.
#pragma once

#include <string>
#include <vector>

#include "fsd/archive/ends.h"
#include "fsd/beneath.h"

namespace zabfs::archive {

class DirectorySource : public Source {
 public:
  // `directory` is open; `name` is for messages.
  DirectorySource(fsd::Descriptor directory, std::string name);

  // Looks through it, so that `total` is known.
  void measure();
  Taken next() override;
  uint64_t done() const override { return done_; }
  uint64_t total() const override { return total_; }

 private:
  Taken failed(const std::string& path) const;
  Taken enter(const std::string& path);
  Taken take(const std::string& name);
  Status read_file(int directory, const std::string& name, const std::string& path, Entry& entry);

  const fsd::Descriptor top_;
  const std::string name_;
  fsd::Descriptor here_;  // the directory whose files are taken
  std::string path_;
  std::vector<std::string> names_;        // of these, the next one last
  std::vector<std::string> directories_;  // that come later, the next one last
  std::vector<std::string> found_;        // in this directory
  uint64_t done_ = 0, total_ = 0, entries_ = 0, bytes_ = 0;
};

}  // namespace zabfs::archive
