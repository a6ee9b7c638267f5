// A node's directory on disk: whose it is, and that one process uses it at a time.
//
//   DIR/zabfs/{identity,lock,log.*,snapshot.*,accepted.*}
//
// `identity` is one line, `zabfs 1 server N`. Java's version-2 directory beside it is not touched.
#pragma once

#include <memory>
#include <string>

#include "tree/status.h"
#include "tree/types.h"

namespace zabfs::consensus {

class DataDirectory {
 public:
  // Looks whether the directory may be taken, and changes nothing. A failure names the remedy.
  Status check(const std::string& path, tree::ServerId me);
  // Takes the directory for this server, making it if it is new.
  Status open(const std::string& path, tree::ServerId me);
  // Whether a zabfsd has taken it. `storage` is DIR/zabfs.
  static bool is_in_use(const std::string& storage);
  // The last failure is the configuration's fault.
  bool is_misconfigured() const { return is_misconfigured_; }
  ~DataDirectory();
  DataDirectory() = default;
  DataDirectory(const DataDirectory&) = delete;
  DataDirectory& operator=(const DataDirectory&) = delete;

  const std::string& path() const { return path_; }  // DIR/zabfs

 private:
  std::string path_;
  int lock_fd_ = -1;
  bool is_misconfigured_ = false;
};

}  // namespace zabfs::consensus
