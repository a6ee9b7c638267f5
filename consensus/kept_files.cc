#include "consensus/kept_files.h"

#include <algorithm>
#include <cerrno>

#include "consensus/kept_history.h"

namespace zabfs::consensus {

DiskStatus KeptFiles::open(const std::string& name, bool create, std::unique_ptr<File>& file) {
  if (create) return DiskStatus{EROFS, "create " + name};
  DiskStatus status = disk_.open(name, false, file);
  if (status.error != ENOENT) return status;
  return disk_.open(std::string(kHistoryPrefix) + name, false, file);
}

std::vector<std::string> KeptFiles::list() {
  // What is renamed between two looks is in one of them.
  std::vector<std::string> names;
  for (int look = 0; look < 2; ++look) {
    for (const std::string& name : disk_.list()) {
      bool is_kept = name.starts_with(kHistoryPrefix);
      names.push_back(is_kept ? name.substr(kHistoryPrefix.size()) : name);
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

DiskStatus KeptFiles::rename(const std::string& from, const std::string&) {
  return DiskStatus{EROFS, "rename " + from};
}

DiskStatus KeptFiles::remove(const std::string& name) {
  return DiskStatus{EROFS, "remove " + name};
}

DiskStatus KeptFiles::sync_directory() { return {}; }

}  // namespace zabfs::consensus
