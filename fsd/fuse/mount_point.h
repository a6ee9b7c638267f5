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

  // Makes the directory if it is not there; never its parents. The directory is the caller's, mode
  // 0755.
  static Status make(const std::string& point);

  // Whether other users may be let into a mount of this user: root decides, in /etc/fuse.conf.
  static bool may_let_others_in();

  // Takes the mount away at once; who is still inside gets errors. A user who is not root does it
  // by fusermount3. Any thread, and at any time.
  static Status detach(const std::string& point);

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
