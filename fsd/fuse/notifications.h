// What the mount tells the kernel without being asked (FUSE.md). `Kernel` does it in the daemon,
// and a test records it. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "fsd/fuse/node_table.h"

namespace zabfs::fsd {

class Notifications {
 public:
  virtual ~Notifications() = default;

  // The attributes of a node. Never waits. False if the kernel does not have that node: it was
  // never looked up, the kernel has forgotten it, or the answer to its first look-up has not got to
  // who asked.
  virtual bool forget_attributes(KernelNode node) = 0;
  // Makes the kernel read a file's pages again, and believe that there are at least as many bytes
  // as in `data`: the last READ tells it if there are fewer. Waits for READs of that node under
  // way; so not for threads that READs need.
  virtual void forget_pages(KernelNode node, std::string_view data) = 0;
  // Makes the kernel look this name up again, and keep what hangs on it until then. Waits for
  // whoever makes or removes a name in that directory: so not for threads that answer those. False
  // if this kernel can't (before 6.2).
  virtual bool forget_name(KernelNode parent, const std::string& name) = 0;
  // Makes the kernel look every name up again; false if it can't (before 6.16). Never waits.
  virtual bool forget_names() = 0;
};

}  // namespace zabfs::fsd
