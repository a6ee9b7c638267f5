#include "fsd/fuse/callers.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>

namespace zabfs::fsd {

Caller caller_of(const Request& request) {
  Asker asker = request.asker();
  Caller caller{{asker.uid, {asker.gid}}, asker.gid};
  if (caller.uid == 0) return caller;  // may do everything
  caller.knows_groups = request.groups(caller.groups);
  caller.groups.push_back(caller.gid);
  return caller;
}

Opener opener_of(const Request& request, int flags) {
  Opener opener;
  static_cast<Caller&>(opener) = caller_of(request);
  opener.pid = request.asker().pid;
  opener.program = program_name(opener.pid);
  opener.flags = flags;
  opener.wait = (flags & O_NONBLOCK) == 0;
  return opener;
}

std::string program_name(pid_t pid) {
  std::ifstream in(fmt::format("/proc/{}/comm", pid));
  std::string name;
  std::getline(in, name);
  // Whatever its user called it: one word, that can be shown.
  auto is_odd = [](unsigned char c) { return c <= ' ' || c >= 0x7f; };
  std::replace_if(name.begin(), name.end(), is_odd, '_');
  return name.empty() ? "-" : name;
}

}  // namespace zabfs::fsd
