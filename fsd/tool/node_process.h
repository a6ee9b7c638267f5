// The zabfsd of a mount, as /proc shows it.
//
// Any user can run a program of that name with any arguments. So the configuration is only that of
// a process that is root's or this user's own: root is not led to files by others.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "tree/status.h"

namespace zabfs::tool {

struct NodeProcess {
  pid_t pid = 0;
  std::string config;  // the path of its zoo.cfg; empty: it has none, or is another user's
  std::string unit;    // of systemd; empty: none
};

// All that run on this machine.
std::vector<NodeProcess> node_processes();
// The one whose zoo.cfg says that mount; the only one there is, if it can't be told.
StatusOr<NodeProcess> node_of(const std::string& mount);

}  // namespace zabfs::tool
