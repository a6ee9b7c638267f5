// A file that gets its name when it is whole, and only if nothing has that name by then.
#pragma once

#include <string>

#include "fsd/beneath.h"
#include "tree/status.h"

namespace zabfs::archive {

class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)) {}
  // What was not finished is gone.
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  // For its owner alone: a copy has what only some may read. Fails if there is a file of that name.
  Status open();
  int fd() const { return file_.get(); }
  // Durably.
  Status finish();

 private:
  Status failed() const;

  const std::string path_;
  std::string name_;    // in `directory_`
  std::string beside_;  // its name there so far; empty: it has none
  fsd::Descriptor directory_, file_;
};

}  // namespace zabfs::archive
