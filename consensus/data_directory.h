// A node's directory on disk: whose it is, and that one process uses it at a time.
//
//   DIR/zabfs/{identity,lock,log.*,snapshot.*,accepted.*}
//
// `identity` is one line, `zabfs 1 server N`. Java's version-2 directory beside it is not touched.
// A directory that has only that is not taken: who starts there wants the data that is in it.
#pragma once

#include <memory>
#include <string>

#include "consensus/disk.h"
#include "tree/status.h"
#include "tree/types.h"

namespace zabfs::consensus {

class DataDirectory {
 public:
  // Looks whether the directory may be taken, and changes nothing. A failure names the remedy.
  Status check(const std::string& path, tree::ServerId me);
  // Takes the directory for this server, making it if it is new.
  Status open(const std::string& path, tree::ServerId me);
  // Fails if Apache ZooKeeper's data is there and none of zabfsd's, and names the command that
  // takes it over. An empty `log_directory` is the same one.
  static Status check_taken_over(const std::string& path, const std::string& log_directory,
                                 tree::ServerId me);
  // A new one, `storage`, for that server; its files are to be put in.
  static DiskStatus create(const std::string& storage, tree::ServerId me);
  // DIR/zabfs.
  static std::string storage_in(const std::string& directory) { return directory + "/zabfs"; }
  // The storage that a person names: a dataDir that has one, or the storage itself. Fails if it
  // holds no data of zabfsd's.
  static StatusOr<std::string> find_storage(const std::string& directory);
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
