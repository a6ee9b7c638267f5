// Through what `zabfs members` reads and changes the members: the files of a mount, or a server.
#pragma once

#include <memory>
#include <string>

#include "fsd/tool/cluster.h"
#include "fsd/tool/server.h"
#include "tree/status.h"

namespace zabfs::tool {

class MembersDoor {
 public:
  virtual ~MembersDoor() = default;
  // The configuration: lines `server.N=...`, groups and weights, `version=`.
  virtual StatusOr<std::string> configuration() = 0;
  // That text in the place of the one of its version. Gives errno.
  virtual int reconfigure(const std::string& text) = 0;
  virtual StatusOr<Cluster> cluster() = 0;
  // Why that node says EACCES or EPERM, and what to do about it.
  virtual std::string permission_hint() const = 0;
};

// Of the mount, the first one if that is empty; or of the server, if it has an address.
StatusOr<std::unique_ptr<MembersDoor>> open_members(const std::string& mount,
                                                    const ServerOptions& server);

}  // namespace zabfs::tool
