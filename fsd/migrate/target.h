// The directory that a migration writes: DIRECTORY/NAME, there whole or not at all.
//
// It is filled as DIRECTORY/NAME.new, which the next migration removes if this one was killed.
#pragma once

#include <string>

#include "tree/status.h"

namespace zabfs::migrate {

class Target {
 public:
  Target(std::string directory, std::string name);
  // Removes what was not finished.
  ~Target();
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  // Fails if DIRECTORY/NAME is there.
  Status is_free() const;
  // Makes both directories. Fails as `is_free` does.
  Status prepare();
  // DIRECTORY/NAME.new, which is to be filled.
  const std::string& path() const { return unfinished_; }
  // All in it has been synced: it gets its name, durably.
  Status finish();

 private:
  const std::string directory_, name_, unfinished_;
  bool is_open_ = false;
};

// What root makes in somebody else's directory is that user's, and is made with that user's rights:
// the user could lead root elsewhere by a symlink. For the rest of the process.
Status act_as_owner_of(const std::string& directory);

// A server's number, in its dataDir's `myid`: copied to `to`, unless there is one.
Status copy_myid(const std::string& from, const std::string& to);

}  // namespace zabfs::migrate
