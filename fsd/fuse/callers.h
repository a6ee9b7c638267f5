// Who asks: for permissions that the kernel can't check. Thread-safe.
#pragma once

#include <sys/types.h>

#include <string>

#include "fsd/fuse/request.h"
#include "fsd/recipes/handle.h"
#include "fsd/session/session.h"
#include "fsd/view/view.h"

namespace zabfs::fsd {

// With all groups.
Caller caller_of(const Request& request);
// Who opens a file of the control room, with which flags of open(2).
Opener opener_of(const Request& request, int flags);
// The same, as the ensemble is told who made a txn.
ClientSession::Actor actor_of(const Request& request);
// What /proc calls a process, without spaces; `-` if it is gone.
std::string program_name(pid_t pid);

}  // namespace zabfs::fsd
