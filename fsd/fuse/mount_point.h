// The directory that the mount lies on: whether it can be used, and that nobody writes to it while
// zabfsd isn't there. Called at the daemon's start, by one thread.
#pragma once

#include <string>

#include "fsd/beneath.h"
#include "tree/status.h"

namespace zabfs::fsd {

// The directory under a mount, by a descriptor that is opened before anything is mounted on it. As
// root follows its path, no symbolic link is followed in it.
class MountPoint {
 public:
  explicit MountPoint(const std::string& point);

  // Whether it can be mounted on; a dead FUSE mount there is cleared. `is_configuration`: if not,
  // the configuration is to be changed.
  static Status check(const std::string& point, bool& is_configuration);

  // Makes the directory immutable, or its mode 0000 where that can't be done. The log says which,
  // and what can't be done.
  void protect();
  // Takes both back.
  Status unprotect();

 private:
  std::string point_;
  Descriptor directory_;
  int error_ = 0;  // why there is none
};

}  // namespace zabfs::fsd
