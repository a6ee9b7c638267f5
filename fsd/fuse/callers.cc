#include "fsd/fuse/callers.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

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

ClientSession::Actor actor_of(const Request& request) {
  Asker asker = request.asker();
  return {asker.uid, program_name(asker.pid)};
}

// Of every change through the mount: so by system calls alone.
std::string program_name(pid_t pid) {
  char text[64];  // the kernel has at most 15 bytes
  *fmt::format_to_n(text, sizeof(text) - 1, "/proc/{}/comm", pid).out = 0;
  int file = pid > 0 ? ::open(text, O_RDONLY | O_CLOEXEC) : -1;
  ssize_t size = file < 0 ? 0 : ::read(file, text, sizeof(text));
  if (file >= 0) ::close(file);
  std::string name(text, static_cast<size_t>(std::max<ssize_t>(size, 0)));
  name.resize(std::min(name.find('\n'), name.size()));
  // Whatever its user called it: one word, that can be shown.
  auto is_odd = [](unsigned char c) { return c <= ' ' || c >= 0x7f; };
  std::replace_if(name.begin(), name.end(), is_odd, '_');
  return name.empty() ? "-" : name;
}

}  // namespace zabfs::fsd
